import { HTTPException } from "hono/http-exception";
import { type NextStep, PROBLEM_TYPE, type Problem, type ProblemCode } from "../../protocol/problem.ts";
import type { Refusal } from "../refusal.ts";
import { wordsOf } from "../store/db.ts";

/** The one map from a refusal's code to what the wire says of it. */
const KINDS = {
  invalid_request: [400, "The request is not valid"],
  manifest_invalid: [422, "The manifest is not valid"],
  not_landed: [422, "Not available in this version"],
  https_required: [400, "Only over https"],
  unauthenticated: [401, "A valid token is needed"],
  token_expired: [401, "The token has expired"],
  token_revoked: [401, "The token was revoked"],
  oidc_refused: [403, "The CI system's token opens nothing here"],
  forbidden: [403, "The token may not do this"],
  not_found: [404, "Not found"],
  method_not_allowed: [405, "Method not allowed"],
  conflict: [409, "Conflict with the current state"],
  hostname_not_granted: [403, "The app may not have the hostname"],
  hostname_reserved: [422, "No app may have the hostname"],
  hostname_taken: [409, "The hostname belongs to another environment"],
  release_in_progress: [409, "Another release is in progress"],
  locked: [423, "The environment is locked"],
  stale_step: [409, "The release has moved on"],
  window_closed: [409, "Outside the deploy windows"],
  approval_needed: [409, "It waits for an approval"],
  own_release: [403, "Somebody else has to approve it"],
  precondition_failed: [412, "The resource has changed"],
  idempotency_conflict: [422, "The idempotency key was used for another request"],
  idempotency_in_flight: [409, "The first request with this idempotency key still runs"],
  weights_invalid: [422, "The weights are not valid"],
  release_not_serving: [409, "The release can't serve"],
  no_hosts: [409, "No host can take it"],
  no_slots: [409, "No slot is free"],
  rollback_impossible: [409, "Rollback is impossible"],
  nothing_to_roll_back: [409, "Nothing to roll back to"],
  enrollment_invalid: [403, "The enrolment token is not valid"],
  lease_lost: [409, "The lease is lost"],
  protocol_unsupported: [400, "The agent's protocol is not supported"],
  host_busy: [409, "The host is in use"],
  secrets_missing: [409, "Secrets are missing"],
  not_configured: [409, "This control plane is not set up for it"],
  cloudflare_refused: [502, "Cloudflare refused"],
  body_too_large: [413, "The body is too large"],
  rate_limited: [429, "Too many requests"],
  unavailable: [503, "Temporarily unavailable"],
  internal: [500, "Internal error"],
} as const satisfies Record<ProblemCode, readonly [number, string]>;

/** An expected refusal on its way to the one error handler. */
export class ProblemError extends Error {
  override readonly name = "ProblemError";
  readonly refusal: Refusal;

  constructor(refusal: Refusal) {
    super(refusal.detail);
    this.refusal = refusal;
  }
}

export const statusOf = (code: ProblemCode): number => KINDS[code][0];

/** The refusal as RFC 9457 problem details. `type` resolves to the list of codes on this control plane's own page. */
export function toResponse(refusal: Refusal, requestId: string): Response {
  const [status, title] = KINDS[refusal.code];
  const problem: Problem = {
    type: `/api/docs#problem-${refusal.code}`,
    title,
    status,
    code: refusal.code,
    detail: refusal.detail,
    ...(refusal.errors ? { errors: refusal.errors } : {}),
    next: [...(refusal.next ?? NEXT[refusal.code] ?? [])],
    requestId,
  };
  const headers = new Headers({
    "content-type": PROBLEM_TYPE,
    "cache-control": "no-store",
    ...refusal.headers,
  });
  if (refusal.retryAfterS !== undefined) headers.set("retry-after", String(refusal.retryAfterS));
  if (status === 401) headers.set("www-authenticate", 'Bearer realm="sluice"');
  return new Response(JSON.stringify(problem), { status, headers });
}

/** What to do where the one who refuses has nothing better to say. */
const NEXT: Partial<Record<ProblemCode, readonly NextStep[]>> = {
  unauthenticated: [{ command: "export SLUICE_TOKEN=slu_…", when: "you have a token" }],
  no_hosts: [{ command: "sluice hosts", when: "to see which hosts are online and their labels" }],
  no_slots: [{ command: "sluice hosts", when: "to see how many slots each host has free" }],
  window_closed: [{ command: "sluice deploy --override", when: "it can't wait; the override is audited" }],
  locked: [{ command: "sluice unlock", when: "whoever holds the lock agrees" }],
  stale_step: [{ command: "sluice status", when: "to see where the release is now" }],
};

/** Everything that was thrown, as a refusal. What isn't expected says nothing of its inside: that goes to the log. */
export function toRefusal(error: unknown): Refusal {
  if (error instanceof ProblemError) return error.refusal;
  if (error instanceof HTTPException) return fromHttp(error);
  if (isOutage(error)) {
    const detail = "the database or a coordinator did not answer: nothing was lost, try again";
    return { code: "unavailable", detail, retryAfterS: 2 };
  }
  return {
    code: "internal",
    detail: "control failed in a way it did not expect: the log has it under this requestId",
  };
}

function fromHttp(error: HTTPException): Refusal {
  if (error.status === 415)
    return { code: "invalid_request", detail: "the body must be sent with `Content-Type: application/json`" };
  if (error.status === 413) return { code: "body_too_large", detail: error.message };
  if (error.status < 500)
    return { code: "invalid_request", detail: error.message || "the request can't be read" };
  return {
    code: "internal",
    detail: "control failed in a way it did not expect: the log has it under this requestId",
  };
}

/** D1 or a Durable Object that can't be reached, as against one that was asked something wrong. */
function isOutage(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const flags = error as Error & { retryable?: unknown; overloaded?: unknown };
  if (flags.retryable === true || flags.overloaded === true) return true;
  const words = wordsOf(error);
  return /D1_ERROR|D1 DB/.test(words) && !/SQLITE_(ERROR|CONSTRAINT|MISMATCH|RANGE)/.test(words);
}
