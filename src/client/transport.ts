import { z } from "zod";
import { addressProblem } from "../protocol/address.ts";
import { interceptionOf } from "../protocol/interception.ts";
import { parseJson } from "../protocol/json.ts";
import { type Problem, type ProblemCode, problemSchema } from "../protocol/problem.ts";
import { ApiError, ConnectionError, ProtocolError } from "./errors.ts";

type Fetch = (url: string, init: RequestInit) => Promise<Response>;

export interface ClientOptions {
  /** Control's address, e.g. `https://sluice.example.com`. */
  readonly url: string;
  /** Or what gets one, asked before each call. */
  readonly token: string | (() => Promise<string>);
  readonly fetch?: Fetch;
  /** For one attempt, from the first byte sent to the last one read. Default 15 s. */
  readonly timeoutMs?: number;
  /** Further attempts of a GET or an idempotency-keyed POST. Default 3. */
  readonly retries?: number;
  readonly userAgent?: string;
  /** Sent with each call: the context of a trace. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Ends every call of this client when aborted; they throw its reason. */
  readonly signal?: AbortSignal;
  /** For a call with all its attempts. Default 30 s. */
  readonly totalMs?: number;
  /** Told once for each call that is still without an answer after `slowMs` (default 5 s), for whoever waits. */
  readonly onSlow?: (url: string, slowMs: number) => void;
  readonly slowMs?: number;
  readonly sleep?: (ms: number, signal?: AbortSignal) => Promise<void>;
}

export interface Call {
  readonly method: "GET" | "PUT" | "POST" | "DELETE";
  readonly path: string;
  readonly query?: Readonly<Record<string, string | number | undefined>>;
  readonly json?: unknown;
  readonly text?: { readonly body: string; readonly type: string };
  readonly bytes?: Uint8Array<ArrayBuffer>;
  /** Sent twice it does the same as sent once. */
  readonly isRepeatable?: boolean;
  readonly idempotencyKey?: string;
  readonly ifMatch?: string | undefined;
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal | undefined;
}

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  /** Somebody else's request with this key did it before, none of this call's own. */
  readonly isEarlier: boolean;
}

const BACKOFF_MS = 200;
const ATTEMPT_MS = 15_000;
const TOTAL_MS = 30_000;
const SLOW_MS = 5_000;
const RETRY_AFTER_MAX_MS = 10_000;
/** What a gateway in front of control answers while control is away or busy. */
const TRANSIENT = new Set([502, 503, 504]);

export const sleep = (ms: number, signal?: AbortSignal): Promise<void> =>
  new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const onAbort = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", onAbort);
      resolve();
    }, ms);
    signal?.addEventListener("abort", onAbort, { once: true });
  });

/**
 * Sends a call and reads its whole answer. Only calls that can't do a thing twice are sent again (GETs, POSTs with
 * an Idempotency-Key, and those that say so), after lost connections, 502–504, 429 and `idempotency_in_flight`. Throws ApiError,
 * ConnectionError, ProtocolError, or the signal's reason.
 */
export async function send(options: ClientOptions, call: Call): Promise<Answer> {
  return tellingWhenSlow(options, () => attemptAll(options, call));
}

async function attemptAll(options: ClientOptions, call: Call): Promise<Answer> {
  const attempts = isRepeatable(call) ? 1 + (options.retries ?? 3) : 1;
  const signal = call.signal ?? options.signal;
  const endsAt = performance.now() + (options.totalMs ?? TOTAL_MS);
  let mayBeOurs = false;
  for (let attempt = 1; ; attempt++) {
    const leftMs = endsAt - performance.now();
    const timeoutMs = Math.ceil(Math.min(options.timeoutMs ?? ATTEMPT_MS, leftMs));
    try {
      const answer = await attemptOnce({ ...options, timeoutMs }, { ...call, signal });
      return { ...answer, isEarlier: answer.isEarlier && !mayBeOurs };
    } catch (error) {
      mayBeOurs ||= !(error instanceof ApiError) || error.problem.status >= 500;
      const waitMs = retryDelay(error, attempt);
      const isLate = waitMs !== undefined && performance.now() + waitMs >= endsAt;
      if (attempt >= attempts || waitMs === undefined || isLate) throw error;
      await (options.sleep ?? sleep)(waitMs, signal);
    }
  }
}

/** Silence is said while it lasts, not when it is over. */
export async function tellingWhenSlow<T>(options: ClientOptions, work: () => Promise<T>): Promise<T> {
  const { onSlow, slowMs = SLOW_MS } = options;
  const timer = onSlow && setTimeout(() => onSlow(options.url, slowMs), slowMs);
  try {
    return await work();
  } finally {
    clearTimeout(timer);
  }
}

const isRepeatable = (call: Call) =>
  call.method === "GET" || call.idempotencyKey !== undefined || call.isRepeatable === true;

function retryDelay(error: unknown, attempt: number): number | undefined {
  const backoffMs = BACKOFF_MS * 2 ** (attempt - 1);
  if (error instanceof ConnectionError) return boundedWait(error.retryAfterMs, backoffMs);
  if (!(error instanceof ApiError)) return undefined;
  const { code, status } = error.problem;
  const again = TRANSIENT.has(status) || status === 429 || code === "idempotency_in_flight";
  return again ? boundedWait(error.retryAfterMs, backoffMs) : undefined;
}

/** Undefined: the server wants a longer pause than a person at a terminal should sit through unasked. */
function boundedWait(retryAfterMs: number | undefined, backoffMs: number): number | undefined {
  if (retryAfterMs === undefined) return backoffMs;
  return retryAfterMs > RETRY_AFTER_MAX_MS ? undefined : Math.max(retryAfterMs, backoffMs);
}

async function attemptOnce(given: ClientOptions, call: Call): Promise<Answer> {
  const options = await withToken(given);
  const timeout = AbortSignal.timeout(options.timeoutMs ?? ATTEMPT_MS);
  const signal = call.signal ? AbortSignal.any([call.signal, timeout]) : timeout;
  try {
    const response = await request(options, call, signal);
    const text = await response.text();
    const isEarlier = response.headers.get("idempotency-replayed") === "true";
    const answer = { status: response.status, headers: response.headers, text, isEarlier };
    refuseErrors(urlOf(options, call), answer);
    return answer;
  } catch (error) {
    throw asClientError(error, { options, call, timedOut: timeout.aborted });
  }
}

/** Before a call's own time begins; what a source of tokens throws is its own to word. */
export async function withToken(options: ClientOptions): Promise<ClientOptions & { readonly token: string }> {
  const { token } = options;
  return { ...options, token: typeof token === "string" ? token : await token() };
}

/** The bare fetch with this API's headers; the body is left to the caller. */
export function request(
  options: ClientOptions & { readonly token: string },
  call: Call,
  signal: AbortSignal,
): Promise<Response> {
  const problem = addressProblem(options.url);
  if (problem) return Promise.reject(new ProtocolError(problem));
  const doFetch: Fetch = options.fetch ?? ((url, init) => fetch(url, init));
  const headers: Record<string, string> = {
    accept: "application/json, application/problem+json",
    ...(options.token === "" ? {} : { authorization: `Bearer ${options.token}` }),
    "user-agent": options.userAgent ?? "sluice-client",
    ...(call.json === undefined ? {} : { "content-type": "application/json" }),
    ...(call.text ? { "content-type": call.text.type } : {}),
    ...(call.bytes ? { "content-type": "application/octet-stream" } : {}),
    ...(call.idempotencyKey === undefined ? {} : { "idempotency-key": `"${call.idempotencyKey}"` }),
    ...(call.ifMatch === undefined ? {} : { "if-match": call.ifMatch }),
    ...options.headers,
    ...call.headers,
  };
  const body = call.bytes ?? call.text?.body ?? (call.json === undefined ? null : JSON.stringify(call.json));
  // A redirect would drop the token or turn a PUT into a GET: the address is wrong, and the answer says so.
  return doFetch(urlOf(options, call), { method: call.method, headers, body, signal, redirect: "manual" });
}

export function urlOf(options: ClientOptions, call: Call): string {
  const query = new URLSearchParams();
  for (const [key, value] of Object.entries(call.query ?? {}))
    if (value !== undefined) query.set(key, String(value));
  const search = query.toString();
  return `${options.url.replace(/\/+$/, "")}${call.path}${search ? `?${search}` : ""}`;
}

/** Turns what `fetch` threw into this client's family; an abort by the caller stays the caller's reason. */
export function asClientError(
  error: unknown,
  at: { options: ClientOptions; call: Call; timedOut: boolean },
): unknown {
  const { options, call, timedOut } = at;
  if (error instanceof ApiError || error instanceof ConnectionError || error instanceof ProtocolError)
    return error;
  if (call.signal?.aborted) return call.signal.reason;
  const url = options.url;
  if (timedOut) {
    const seconds = (options.timeoutMs ?? ATTEMPT_MS) / 1000;
    const message = `${url} did not answer ${call.method} ${call.path} within ${seconds} s`;
    return new ConnectionError(message, { url, cause: error, timedOut: true });
  }
  return new ConnectionError(`can't reach ${url}: ${networkReason(error)}`, { url, cause: error });
}

function networkReason(error: unknown): string {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  if (!(cause instanceof Error)) return String(cause);
  const code = "code" in cause ? String(cause.code) : "";
  const words: Record<string, string> = {
    ECONNREFUSED: "connection refused, nothing listens there",
    ENOTFOUND: "no such host name",
    EAI_AGAIN: "the name could not be resolved just now",
    ECONNRESET: "the connection was reset",
    UND_ERR_SOCKET: "the connection was closed",
    CERT_HAS_EXPIRED: "its certificate has expired",
  };
  return words[code] ?? ([cause.message, code].filter(Boolean).join(" ") || "unknown network error");
}

/** Throws what an answer above 299 means. */
export function refuseErrors(url: string, answer: Omit<Answer, "isEarlier">): void {
  const { status, headers, text } = answer;
  if (status >= 200 && status < 300) return;
  const retryAfterMs = retryAfter(headers.get("retry-after"));
  const problem = parseProblem(status, text);
  if (problem) throw new ApiError(problem, retryAfterMs);
  const where = new URL(url).origin;
  const stopped = interceptionOf({ status, headers, body: text });
  if (stopped) throw new ProtocolError(`${where} answered ${status}: ${stopped.words}. Mend: ${stopped.fix}`);
  if (TRANSIENT.has(status)) {
    const message = `${where} answered ${status}: something before Sluice answered in its place`;
    throw new ConnectionError(message, { url: where, retryAfterMs });
  }
  const location = headers.get("location");
  throw new ProtocolError(
    location
      ? `${url} redirects to ${location}: set the address to where Sluice's control plane itself answers`
      : `${url} answered ${status} (${headers.get("content-type") ?? "no content type"}), not Sluice's API: is the address right?`,
  );
}

const looseProblemSchema = problemSchema.extend({ code: z.string() });

/** A code this version doesn't know (control is newer) keeps its text and takes the nearest code of its status. */
function parseProblem(status: number, text: string): Problem | undefined {
  const loose = looseProblemSchema.safeParse(parseJson(text));
  if (!loose.success) return undefined;
  const exact = problemSchema.safeParse(loose.data);
  return exact.success ? exact.data : { ...loose.data, code: nearestCode(status) };
}

function nearestCode(status: number): ProblemCode {
  const byStatus: Record<number, ProblemCode> = {
    401: "unauthenticated",
    403: "forbidden",
    404: "not_found",
    409: "conflict",
    412: "precondition_failed",
    413: "body_too_large",
    429: "rate_limited",
    503: "unavailable",
  };
  return byStatus[status] ?? (status >= 500 ? "internal" : "invalid_request");
}

/** Seconds or an HTTP date, as milliseconds from now. */
function retryAfter(value: string | null): number | undefined {
  if (!value) return undefined;
  const seconds = Number(value);
  if (Number.isFinite(seconds)) return Math.max(0, seconds * 1000);
  const at = Date.parse(value);
  return Number.isNaN(at) ? undefined : Math.max(0, at - Date.now());
}
