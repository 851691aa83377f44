/** What became of one attempt at one instance, and whether the request may be sent again. */
export type Attempt =
  | { readonly kind: "answered"; readonly status: number; readonly tunnelError: string | null }
  /** No answer: `fetch` failed. Refused and reset look alike, so the app may have seen the request. */
  | { readonly kind: "disconnected" }
  | { readonly kind: "timeout" }
  /** Its instance was called unready before it had answered. */
  | { readonly kind: "recalled" }
  /** Another instance, asked later, gave a head sooner. */
  | { readonly kind: "outrun" }
  /** The upload ended before its end: the visitor's doing, or, where nobody can tell, perhaps the app's. */
  | { readonly kind: "broken-off"; readonly isTooSlow: boolean }
  /** The runtime won't send such a request: the client's doing, and nothing was sent. */
  | { readonly kind: "unsendable"; readonly reason: string };

export interface AttemptVerdict {
  /** Says something about the instance. False: the visitor's doing, which is nobody's merit and nobody's fault. */
  readonly isTrial: boolean;
  /** Counts as an error of the instance. */
  readonly error: boolean;
  /** Of those: provably the path's, not the app's. */
  readonly pathFault: boolean;
  /** Speaks for taking the instance out: the app (or the way to it) is down, rather than one request unlucky. */
  readonly unhealthy: boolean;
  /** `any`: the app never saw it. `safe`: only a method without side effects may be sent again. */
  readonly resend: "any" | "safe" | "never";
}

const GOOD: AttemptVerdict = {
  isTrial: true,
  error: false,
  pathFault: false,
  unhealthy: false,
  resend: "never",
};
const NO_TRIAL: AttemptVerdict = { ...GOOD, isTrial: false };
const APP_ERROR: AttemptVerdict = { ...GOOD, error: true };
/** Slow, which is no error; thrice in a row is frozen. */
const OUTRUN: AttemptVerdict = { ...GOOD, unhealthy: true };
const TIMEOUT: AttemptVerdict = { ...APP_ERROR, unhealthy: true };
const GATEWAY: AttemptVerdict = { ...TIMEOUT, resend: "safe" };
const PATH: AttemptVerdict = { ...GATEWAY, pathFault: true };
const UNREACHED: AttemptVerdict = { ...PATH, resend: "any" };

/** Of a 530 that the zone's security gave in the slot's place. */
export const CHALLENGE = "challenge";
/** Cloudflare's 530 bodies name the cause: 1033 no tunnel connected, 1016 no DNS record. None of these reached the host. */
const UNREACHED_ERRORS = ["1033", "1016", CHALLENGE];

/**
 * What an attempt came to. A 502 is cloudflared's as likely as the app's (they look alike), so it speaks against the app and
 * is resent only when harmless; 52x and 530 can only be Cloudflare's.
 */
export function verdictOf(attempt: Attempt): AttemptVerdict {
  if (attempt.kind === "timeout") return TIMEOUT;
  if (attempt.kind === "disconnected" || attempt.kind === "recalled") return GATEWAY;
  if (attempt.kind === "outrun") return OUTRUN;
  if (attempt.kind === "unsendable" || attempt.kind === "broken-off") return NO_TRIAL;
  const { status, tunnelError } = attempt;
  if (status < 500) return GOOD;
  if (status === 530) {
    return tunnelError !== null && UNREACHED_ERRORS.includes(tunnelError) ? UNREACHED : PATH;
  }
  if (status >= 520 && status <= 527) return PATH;
  return status >= 502 && status <= 504 ? GATEWAY : APP_ERROR;
}

/** Methods that change nothing at the app (RFC 9110 §9.2.1). PUT and DELETE may be uploads: they are not sent twice. */
export function isSafe(method: string): boolean {
  return method === "GET" || method === "HEAD" || method === "OPTIONS";
}
