import { APIConnectionError, APIError } from "cloudflare/error";

/** What the token must be allowed for a call, as Cloudflare's dashboard names it. */
export type Permission =
  | "Account › Cloudflare Tunnel › Edit"
  | "Account › Access: Apps and Policies › Edit"
  | "Account › Access: Service Tokens › Read"
  | "Zone › DNS › Edit"
  | "Zone › Workers Routes › Edit"
  | "Zone › Zone › Read";

export type RefusalKind =
  | "unfinished"
  | "limited"
  | "unreachable"
  | "forbidden"
  | "gone"
  | "exists"
  | "quota"
  | "refused";

/** Cloudflare did not do it: why, in words, and when to try again. On its way to the one place that writes it down. */
export class Refused extends Error {
  override readonly name = "Refused";
  readonly kind: RefusalKind;
  /** Null: as the back-off says. */
  readonly retryAfterMs: number | null;

  constructor(kind: RefusalKind, words: string, options: { retryAfterMs?: number; cause?: unknown } = {}) {
    super(words, { cause: options.cause });
    this.kind = kind;
    this.retryAfterMs = options.retryAfterMs ?? null;
  }
}

/** Cloudflare's limit is 1,200 calls in five minutes; without a `Retry-After` a minute is enough to have some of them back. */
const LIMITED_MS = 60_000;
/** A permission is not given within seconds. */
const FORBIDDEN_MS = 60_000;
const EXISTS = [1013, 10_020, 11_010, 81_053, 81_054, 81_057, 81_058];
const QUOTA = [10_034, 81_045];

/** Makes one call. `what` completes "Cloudflare refused to …". */
export async function ask<T>(what: string, permission: Permission, call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    throw toRefused(error, what, permission);
  }
}

/** Null for what isn't there: a deletion of what is gone already is done. */
export async function unlessGone<T>(work: Promise<T>): Promise<T | null> {
  try {
    return await work;
  } catch (error) {
    if (error instanceof Refused && error.kind === "gone") return null;
    throw error;
  }
}

function toRefused(cause: unknown, what: string, permission: Permission): unknown {
  if (cause instanceof APIConnectionError) {
    const words = `Cloudflare's API could not be reached to ${what}: ${cause.message}`;
    return new Refused("unreachable", words, { cause });
  }
  if (!(cause instanceof APIError)) return cause;
  const codes = cause.errors.map(({ code }) => code ?? 0);
  const said = wordsOf(cause);
  const refused = (kind: RefusalKind, words: string, retryAfterMs?: number) =>
    new Refused(kind, words, { cause, ...(retryAfterMs === undefined ? {} : { retryAfterMs }) });
  if (cause.status === 429) {
    const waitMs = retryAfterOf(cause) ?? LIMITED_MS;
    return refused(
      "limited",
      `Cloudflare's rate limit is reached, asked to ${what}: again in ${waitMs / 1_000} s`,
      waitMs,
    );
  }
  if (cause.status === 401 || codes.includes(1000)) {
    const words = `Cloudflare does not know the API token (asked to ${what}): make a new one and set CLOUDFLARE_API_TOKEN`;
    return refused("forbidden", words, FORBIDDEN_MS);
  }
  if (cause.status === 403) {
    const words = `the API token may not ${what}: give it the permission \`${permission}\` (Cloudflare said: ${said})`;
    return refused("forbidden", words, FORBIDDEN_MS);
  }
  const words = `Cloudflare refused to ${what}: ${said}`;
  if (codes.some((code) => QUOTA.includes(code))) return refused("quota", words, FORBIDDEN_MS);
  if (codes.some((code) => EXISTS.includes(code))) return refused("exists", words);
  if (cause.status === 404) return refused("gone", words);
  return refused(Number(cause.status) >= 500 ? "unreachable" : "refused", words);
}

function wordsOf(error: APIError): string {
  const said = error.errors.map(({ code, message }) => `${message} (${code})`).join("; ");
  return said || `status ${error.status ?? "none"}`;
}

/** Seconds or a date, as ms from now. */
function retryAfterOf(error: APIError): number | undefined {
  const header = error.headers?.get("retry-after");
  if (!header) return undefined;
  const seconds = Number(header);
  const ms = Number.isFinite(seconds) ? seconds * 1_000 : Date.parse(header) - Date.now();
  return Number.isFinite(ms) ? Math.max(1_000, ms) : undefined;
}
