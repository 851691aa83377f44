/** One attempt at one instance. Streams both ways; what an attempt did is judged here and nowhere else. */

import { type Attempt, type AttemptVerdict, CHALLENGE, verdictOf } from "../domain/routing/attempt.ts";
import type { RouteInstance } from "../domain/routing/choose.ts";
import { readBody, textOf } from "../streams/bounded-body.ts";
import { TIMED_OUT, type TimedOut, within } from "./deadline.ts";
import { appOrigin } from "./own-address.ts";
import { appTarget } from "./prefix.ts";
import { meetsShield, withAccess, withProof } from "./shield.ts";
import { startUpload, type Upload } from "./upload.ts";
import type { Visit } from "./visit.ts";

export interface Outgoing {
  readonly headers: Headers;
  /** Bytes were kept to be sent again. `stream` goes as it comes, and once. */
  readonly body: ArrayBuffer | "stream" | null;
  /** Ends the attempt: nobody waits for it any more. */
  readonly signal?: AbortSignal;
}

export interface Tried {
  readonly instance: RouteInstance;
  readonly attempt: Attempt;
  readonly verdict: AttemptVerdict;
  /** Null when there was no answer. */
  readonly response: Response | null;
  /** Until the answer's head, ms. */
  readonly durationMs: number;
  /** Epoch ms. */
  readonly endedAt: number;
}

/** From here on the limit is Cloudflare's own, which answers 524; a timer of ours would cost every request. */
const PLATFORM_TIMEOUT_MS = 100_000;
const PLATFORM_TIMED_OUT = 524;
/**
 * A slot's hostname outlives its release: nothing of one release may be served for the next. Not by `cache: "no-store"`, for
 * which the runtime sends the app a `Cache-Control: no-cache`: then none would answer 304 any more.
 */
const UNCACHED = { cacheTtl: -1 } as const;
const TUNNEL_DOWN = 530;
/** Cloudflare's own error pages are short texts; a longer body is not one. */
const TUNNEL_ERROR_MOST = { bytes: 16_384, ms: 1_000 };

export async function forward(visit: Visit, instance: RouteInstance, outgoing: Outgoing): Promise<Tried> {
  const upload = outgoing.body === "stream" ? startUpload(visit) : null;
  const startedAt = Date.now();
  let response: Response | null = null;
  let attempt: Attempt;
  try {
    const answer = await inTime(ask(visit, instance, outgoing, upload), visit, outgoing, upload);
    // Read once: each look at an answer is a crossing into the runtime.
    const status = answer === TIMED_OUT ? PLATFORM_TIMED_OUT : answer.status;
    if (answer === TIMED_OUT || status === PLATFORM_TIMED_OUT) attempt = { kind: "timeout" };
    else {
      attempt = { kind: "answered", status, tunnelError: null };
      response = answer;
    }
  } catch (error) {
    attempt = withoutAnswer(error, outgoing, upload);
  }
  const endedAt = Date.now();
  if (
    response !== null &&
    attempt.kind === "answered" &&
    isOthers(attempt.status, response, visit, instance)
  ) {
    const said = await readTunnelError(response);
    const tunnelError = attempt.status === TUNNEL_DOWN ? said : CHALLENGE;
    attempt = { kind: "answered", status: TUNNEL_DOWN, tunnelError };
    response = null;
  }
  return triedOf(instance, attempt, response, startedAt, endedAt);
}

/** What an attempt that began at `startedAt` (epoch ms) came to. */
export const triedOf = (
  instance: RouteInstance,
  attempt: Attempt,
  response: Response | null,
  startedAt: number,
  endedAt = Date.now(),
): Tried => ({
  instance,
  attempt,
  verdict: verdictOf(attempt),
  response,
  durationMs: endedAt - startedAt,
  endedAt,
});

function ask(
  visit: Visit,
  instance: RouteInstance,
  outgoing: Outgoing,
  upload: Upload | null,
): Promise<Response> {
  const headers = withAccess(outgoing.headers, instance.host, visit.env);
  if (!meetsShield(visit.hostname, instance.host, visit.env))
    return fetchFrom(visit, instance, headers, outgoing, upload);
  return withProof(headers, instance.host, visit.env).then((proven) =>
    fetchFrom(visit, instance, proven, outgoing, upload),
  );
}

function fetchFrom(
  visit: Visit,
  instance: RouteInstance,
  headers: Headers,
  { body, signal }: Outgoing,
  upload: Upload | null,
): Promise<Response> {
  const { method } = visit;
  const door = visit.env[instance.origin as `http://${string}`];
  const url = (door === undefined ? instance.origin : appOrigin(visit)) + appTarget(visit);
  // The request itself as source carries a body for GET too, which `body` may not.
  const isWhole = upload === null && body === "stream";
  const to = isWhole ? new Request(url, visit.request) : url;
  const init = { headers, redirect: "manual", cf: UNCACHED } as const;
  // What is said of a request costs a crossing each: a GET that is not its own source says nothing more.
  if (!isWhole && method !== "GET")
    Object.assign(init, { method, body: upload === null ? body : upload.body });
  if (signal !== undefined) Object.assign(init, { signal });
  return door === undefined ? fetch(to, init) : door.fetch(to, init);
}

/**
 * The app's time runs from when it has the whole request: a slow upload is the visitor's. Of one whose end can't be seen only
 * the platform keeps the time.
 */
function inTime(
  asked: Promise<Response>,
  visit: Visit,
  { body }: Outgoing,
  upload: Upload | null,
): Promise<Response | TimedOut> {
  const { responseMs } = visit.route.table.timeouts;
  if (responseMs >= PLATFORM_TIMEOUT_MS) return asked;
  if (upload !== null) return Promise.race([asked, upload.sent.then(() => within(asked, responseMs))]);
  return body === "stream" ? asked : within(asked, responseMs);
}

/**
 * Of the network the runtime says only "Network connection lost", whichever end it was, and whether refused or reset: the
 * verdict assumes the worse. A TypeError is its refusal to send this request at all.
 */
function withoutAnswer(error: unknown, { body }: Outgoing, upload: Upload | null): Attempt {
  if (error instanceof TypeError) return { kind: "unsendable", reason: error.message };
  const isUnclear = body === "stream" && (upload === null || upload.isBrokenOff);
  return isUnclear ? { kind: "broken-off", isTooSlow: false } : { kind: "disconnected" };
}

/** Not the app's: without a tunnel, or of Cloudflare's security, which answers so only at the front door of another zone. */
const isOthers = (status: number, response: Response, { hostname, env }: Visit, { host }: RouteInstance) =>
  status === TUNNEL_DOWN ||
  (status === 403 && response.headers.has("cf-mitigated") && meetsShield(hostname, host, env));

/** The number in `error code: 1033`, from Cloudflare's text or page. */
async function readTunnelError(response: Response): Promise<string | null> {
  try {
    const body = await readBody(response.body, TUNNEL_ERROR_MOST);
    if (body.end !== "whole") return null;
    return /error(?:\s+code)?:?\s+(1[0-9]{3})\b/i.exec(textOf(body))?.[1] ?? null;
  } catch {
    // The status alone already says that the path is at fault; only which fault stays unknown.
    return null;
  }
}
