import type { Route } from "../domain/routing/choose.ts";
import type { SplitUrl } from "../domain/routing/hostname.ts";
import type { Env } from "./env.ts";
import type { Survey } from "./headers.ts";

/** One request on its way through the edge. */
export interface Visit {
  readonly request: Request;
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
  readonly bucket: number;
  readonly eligible: boolean;
  /** A visitor id that the answer must set as a cookie. */
  readonly newId: string | null;
}
