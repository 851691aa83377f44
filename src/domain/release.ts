/**
 * A release's life, told by its states:
 *
 *   queued → preparing → starting → verifying → shifting → settling → live → superseded
 *
 * or on the way `rolling_back` → `rolled_back`, `failed` (never received traffic), `aborted` (a person), `superseded`
 * (a newer one took its place).
 */
export const RELEASE_STATES = [
  "queued",
  "preparing",
  "starting",
  "verifying",
  "shifting",
  "settling",
  "live",
  "rolling_back",
  "rolled_back",
  "failed",
  "aborted",
  "superseded",
] as const;
export type ReleaseState = (typeof RELEASE_STATES)[number];
