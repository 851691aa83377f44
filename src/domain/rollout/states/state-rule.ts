import type { Draft } from "../draft.ts";
import type { ReleaseFacts } from "../release.ts";

/** What one state of a release means. A file each; advance.ts holds the table of them. */
export interface StateRule {
  /** Does what is due in this state now. Safe to run twice. */
  work(draft: Draft, release: ReleaseFacts): void;
  /** Its deadline has passed: ends it. Absent: a deadline ends nothing here, or there is none. */
  overdue?(draft: Draft, release: ReleaseFacts): void;
}
