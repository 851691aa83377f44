import type { Result } from "../result.ts";
import type { Decision } from "../rollout/decision.ts";

/** Why a command changes nothing: a stable code, a sentence with the values in it, and what to do next. */
export interface Refusal<Code extends string = RefusalCode> {
  readonly code: Code;
  readonly detail: string;
  /** Commands a person can copy, and when each is the right one. */
  readonly next?: readonly { readonly command: string; readonly when: string }[];
}

/** What the domain refuses for. */
export type RefusalCode =
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
  | "approval_needed"
  | "own_release"
  | "locked";

/** What people and CI ask for answers what to change, or why not. */
export type Outcome<T> = Result<T & { readonly decision: Decision }, Refusal>;
