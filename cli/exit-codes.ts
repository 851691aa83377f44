import type { ProblemCode } from "../src/protocol/problem.ts";

/**
 * What a script may rely on. The point of the table: "failed and put back", "failed and not put back" and "still
 * running, nobody knows" are three different mornings, so they are three different codes.
 */
export const EXIT = {
  ok: 0,
  usage: 1,
  refused: 2,
  restored: 3,
  notRestored: 4,
  waiting: 5,
  noAnswer: 6,
  interrupted: 130,
} as const;
export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

export const EXIT_MEANINGS = {
  0: "done: the release serves all its traffic, or got as far as --wait asked, or the answer was given",
  1: "wrong usage or configuration: flags, manifest, address, token; nothing was changed",
  2: "refused before any change: something is in the way (another release, a lock, a closed window, no free slot, a changed state)",
  3: "the release did not make it; the traffic is on the release before it, or was never touched",
  4: "the release did not make it and the traffic is NOT known to be back: act now",
  5: "the release waits for a person: promote or abort it (with --wait=approval: 0)",
  6: "no answer: timed out or lost contact; a release that was started goes on without this command",
  130: "interrupted (Ctrl-C): detached; a release that was started goes on without this command",
} as const satisfies Record<ExitCode, string>;

export const EXIT_OF_PROBLEM = {
  invalid_request: EXIT.usage,
  manifest_invalid: EXIT.usage,
  not_landed: EXIT.usage,
  https_required: EXIT.usage,
  unauthenticated: EXIT.usage,
  token_expired: EXIT.usage,
  token_revoked: EXIT.usage,
  oidc_refused: EXIT.usage,
  forbidden: EXIT.usage,
  not_found: EXIT.usage,
  method_not_allowed: EXIT.usage,
  weights_invalid: EXIT.usage,
  enrollment_invalid: EXIT.usage,
  protocol_unsupported: EXIT.usage,
  body_too_large: EXIT.usage,
  conflict: EXIT.refused,
  hostname_taken: EXIT.refused,
  hostname_not_granted: EXIT.refused,
  hostname_reserved: EXIT.usage,
  release_in_progress: EXIT.refused,
  locked: EXIT.refused,
  stale_step: EXIT.refused,
  window_closed: EXIT.refused,
  approval_needed: EXIT.refused,
  own_release: EXIT.usage,
  precondition_failed: EXIT.refused,
  idempotency_conflict: EXIT.refused,
  release_not_serving: EXIT.refused,
  no_hosts: EXIT.refused,
  no_slots: EXIT.refused,
  rollback_impossible: EXIT.refused,
  nothing_to_roll_back: EXIT.refused,
  lease_lost: EXIT.refused,
  host_busy: EXIT.refused,
  secrets_missing: EXIT.refused,
  not_configured: EXIT.refused,
  rate_limited: EXIT.refused,
  // Another request with this key is being worked on, or control broke in the middle: the outcome isn't known.
  idempotency_in_flight: EXIT.noAnswer,
  cloudflare_refused: EXIT.refused,
  unavailable: EXIT.noAnswer,
  internal: EXIT.noAnswer,
} as const satisfies Record<ProblemCode, ExitCode>;
