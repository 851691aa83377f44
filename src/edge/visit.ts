import type { Route } from "../domain/choose.ts";
import type { SplitUrl } from "../domain/hostname.ts";
import type { Env } from "./env.ts";

/** One request on its way through the edge. */
export interface Visit {
  readonly request: Request;
  readonly env: Env;
  readonly ctx: ExecutionContext;
  readonly url: SplitUrl;
  readonly hostname: string;
  readonly requestId: string;
  /** Epoch ms. */
  readonly arrivedAt: number;
  readonly route: Route;
  /** The `Cookie` header. */
  readonly cookies: string | null;
}

/** Who the visitor is to the rollout. */
export interface Visitor {
  readonly bucket: number;
  readonly eligible: boolean;
  /** A visitor id that the answer must set as a cookie. */
  readonly newId: string | null;
}
