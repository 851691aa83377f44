/** One attempt at one instance. Streams both ways; what an attempt did is judged here and nowhere else. */

import { type Attempt, judge, type Verdict } from "../domain/routing/attempt.ts";
import type { RouteInstance } from "../domain/routing/choose.ts";
import { TIMED_OUT, within } from "./deadline.ts";
import { meetsShield, withAccess, withProof } from "./shield.ts";
import type { Visit } from "./visit.ts";

export interface Outgoing {
  readonly headers: Headers;
  /** Bytes were kept to be sent again. `stream` goes as it comes, and once. */
  readonly body: ArrayBuffer | "stream" | null;
}

export interface Tried {
  readonly instance: RouteInstance;
  readonly attempt: Attempt;
  readonly verdict: Verdict;
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
const TUNNEL_DOWN = 530;
/** Cloudflare's own error pages are short texts; a longer body is not one. */
const TUNNEL_ERROR_CHARS = 16_384;
const TUNNEL_ERROR_DEADLINE_MS = 1_000;

export async function forward(visit: Visit, instance: RouteInstance, outgoing: Outgoing): Promise<Tried> {
  const startedAt = Date.now();
  let response: Response | null = null;
  let attempt: Attempt;
  try {
    const { responseMs } = visit.route.table.timeouts;
    const { body } = outgoing;
    const headers = withAccess(outgoing.headers, instance.host, visit.env);
    const asked = meetsShield(visit.hostname, instance.host, visit.env)
      ? withProof(headers, instance.host, visit.env).then((proven) =>
          fetchFrom(visit, instance, { headers: proven, body }),
        )
      : fetchFrom(visit, instance, { headers, body });
    const answer = await (responseMs < PLATFORM_TIMEOUT_MS ? within(asked, responseMs) : asked);
    const status = answer === TIMED_OUT ? PLATFORM_TIMED_OUT : answer.status;
    if (status === PLATFORM_TIMED_OUT) attempt = { kind: "timeout" };
    else attempt = { kind: "answered", status, tunnelError: null };
    if (answer !== TIMED_OUT && status !== PLATFORM_TIMED_OUT) response = answer;
  } catch (error) {
    // Of the network the runtime says only "Network connection lost", whether refused or reset: the verdict assumes
    // the worse. A TypeError is its refusal to send this request at all.
    attempt =
      error instanceof TypeError ? { kind: "unsendable", reason: error.message } : { kind: "disconnected" };
  }
  const endedAt = Date.now();
  if (response !== null && attempt.kind === "answered" && attempt.status === TUNNEL_DOWN) {
    attempt = { kind: "answered", status: TUNNEL_DOWN, tunnelError: await readTunnelError(response) };
    response = null;
  }
  return { instance, attempt, verdict: judge(attempt), response, durationMs: endedAt - startedAt, endedAt };
}

function fetchFrom(visit: Visit, instance: RouteInstance, { headers, body }: Outgoing): Promise<Response> {
  const url = instance.origin + visit.url.target;
  // A slot's hostname outlives its release: nothing of one release may be served for the next.
  const cache = "no-store";
  const redirect = "manual";
  // The request itself as source carries a body for GET too, which `body` may not.
  if (body === "stream") return fetch(new Request(url, visit.request), { headers, redirect, cache });
  return fetch(url, { method: visit.request.method, headers, body, redirect, cache });
}

/** The number in `error code: 1033`, from Cloudflare's text or page. */
async function readTunnelError(response: Response): Promise<string | null> {
  try {
    const text = await within(response.text(), TUNNEL_ERROR_DEADLINE_MS);
    if (text === TIMED_OUT || text.length > TUNNEL_ERROR_CHARS) return null;
    return /error(?:\s+code)?:?\s+(1[0-9]{3})\b/i.exec(text)?.[1] ?? null;
  } catch {
    // The status alone already says that the path is at fault; only which fault stays unknown.
    return null;
  }
}
