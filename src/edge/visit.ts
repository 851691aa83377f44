import type { Route } from "../domain/routing/choose.ts";
import type { SplitUrl } from "../domain/routing/hostname.ts";
import type { Env } from "./env.ts";

/** What the request brought along, read in one pass: each look into a `Headers` costs a crossing into the runtime. */
export interface Survey {
  readonly requestId: string;
  readonly cookies: string | null;
  readonly connection: string | null;
  /** The visitor's address, from Cloudflare; null where nobody vouches for one. */
  readonly address: string | null;
  readonly preview: string | null;
  /** What a page says it was built as. */
  readonly deployment: string | null;
  /** Bytes, if declared. */
  readonly contentLength: number | null;
  /** Where a WebDAV request copies or moves to (RFC 4918 §10.3). */
  readonly destination: string | null;
  readonly isUpgrade: boolean;
  /** It asks for marks on its answer. */
  readonly isTraced: boolean;
  /** Names that must not reach the app. */
  readonly dropped: readonly string[];
}

/** One request on its way through the edge. */
export interface Visit {
  readonly request: Request;
  readonly method: string;
  /** Changes nothing at the app, so that it may be sent again: a safe method, and no upgrade. */
  readonly isHarmless: boolean;
  readonly env: Env;
  readonly ctx: ExecutionContext;
  readonly url: SplitUrl;
  readonly hostname: string;
  readonly survey: Survey;
  /** Epoch ms. */
  readonly arrivedAt: number;
  readonly route: Route;
}

/** Who the visitor is to the rollout. */
export interface Visitor {
  /** Null: nobody had to know; `bucketFor` finds it. */
  readonly bucket: number | null;
  readonly eligible: boolean;
  /** A visitor id that the answer must set as a cookie. */
  readonly newId: string | null;
  /** Of a visitor who keeps to one instance: the number it is chosen by. */
  readonly keeper: number | null;
}
