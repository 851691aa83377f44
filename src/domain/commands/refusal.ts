import type { Result } from "../result.ts";
import type { Decision } from "../rollout/decision.ts";

/** What people and CI ask for. Each answers what to change, or why not: a code and a sentence with the next step in it. */
export interface Refused {
  readonly code:
    | "conflict"
    | "release_in_progress"
    | "not_found"
    | "stale_step"
    | "weights_invalid"
    | "release_not_serving"
    | "rollback_impossible"
    | "nothing_to_roll_back"
    | "precondition_failed"
    | "window_closed"
    | "locked";
  readonly detail: string;
}
export type Outcome<T> = Result<T & { readonly decision: Decision }, Refused>;
