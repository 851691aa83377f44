import { interceptionOf } from "../../protocol/interception.ts";
import type { ControlEnv } from "../env.ts";
import type { Keyring } from "../secrets/seal.ts";
import type { DeliveryRow } from "../store/notify/deliveries.ts";
import type { WebhookRow } from "../store/notify/webhooks.ts";
import { targetProblem } from "./address.ts";
import { openKeys, secretsAt } from "./keys.ts";
import { signatureHeaders } from "./sign.ts";

/** How a try went. */
export interface Sent {
  readonly ok: boolean;
  readonly status: number | null;
  readonly error: string | null;
  /** What the target asked for before the next try. */
  readonly retryAfterMs: number | null;
  /** It wants nothing any more: 410; of Slack also what no second try mends. */
  readonly gone: boolean;
  /** No second try mends it: this message is given up. */
  readonly isFinal?: boolean;
  /** Nothing is sent to the target for so long. */
  readonly quietMs?: number;
  /** It was too early, and no failure: the try doesn't count. */
  readonly isPaced?: boolean;
}

const WITHIN_MS = 15_000;
/** After a target that did not answer: its next message would hold a place for as long. */
const QUIET_MS = 60_000;
/** Of an answer's body, for whoever looks why. */
const READ_BYTES = 300;
const GONE = 410;

export const failed = (error: string, more: Partial<Sent> = {}): Sent => ({
  ok: false,
  status: null,
  error,
  retryAfterMs: null,
  gone: false,
  ...more,
});

/** Tries once. Never throws: whatever goes wrong is how it went. */
export async function send(
  { delivery, webhook }: { delivery: DeliveryRow; webhook: WebhookRow },
  at: { env: ControlEnv; keyring: Keyring; now: number },
): Promise<Sent> {
  const keys = await openKeys(at.keyring, webhook);
  if (!keys.ok) return failed(`its keys can't be opened: ${keys.error}`);
  const headers = {
    "content-type": "application/json",
    "user-agent": "Sluice-Webhooks/1",
    ...(await signatureHeaders(delivery, secretsAt(keys.value, at.now), at.now)),
  };
  const answer = await post(keys.value.url, { headers, body: delivery.body }, at);
  return "answered" in answer ? answer.answered : answer;
}

/** What a target answered. */
export interface Answer {
  readonly answered: Sent;
  /** The beginning of its body. */
  readonly said: string;
}

/** Posts to a public address, once. How it went, with what was said where there was an answer. */
export async function post(
  url: string,
  message: { headers: Readonly<Record<string, string>>; body: string },
  at: { env: ControlEnv; now: number },
): Promise<Answer | Sent> {
  const problem = await targetProblem(url, at.env);
  if (problem !== undefined) return failed(`not sent: ${problem}`);
  try {
    const signal = AbortSignal.timeout(WITHIN_MS);
    const response = await fetch(url, { method: "POST", redirect: "manual", signal, ...message });
    const said = await beginningOf(response);
    return { answered: outcomeOf(response, said, at.now), said };
  } catch (error) {
    const isLate = error instanceof DOMException && error.name === "TimeoutError";
    return isLate
      ? failed(`no answer within ${WITHIN_MS / 1_000} s`, { quietMs: QUIET_MS })
      : failed(`no connection: ${String(error).slice(0, 200)}`);
  }
}

function outcomeOf(response: Response, said: string, now: number): Sent {
  const { status } = response;
  if (response.ok) return { ok: true, status, error: null, retryAfterMs: null, gone: false };
  const stopped = interceptionOf({ status, headers: response.headers, body: said });
  const isRedirect = status >= 300 && status < 400;
  const why = stopped ? `${stopped.words}. ${stopped.fix}` : isRedirect ? "redirects are not followed" : said;
  const error = `it answered ${status}${why === "" ? "" : `: ${why}`}`;
  return failed(error, { status, gone: status === GONE, retryAfterMs: retryAfter(response, now) });
}

/** Seconds, or a date (RFC 9110 §10.2.3). */
function retryAfter({ headers }: Response, now: number): number | null {
  const text = headers.get("retry-after");
  if (text === null) return null;
  const ms = /^\d{1,9}$/.test(text) ? Number(text) * 1_000 : Date.parse(text) - now;
  return Number.isFinite(ms) && ms > 0 ? ms : null;
}

/** No more than the first piece is read of what somebody else sends. */
async function beginningOf({ body }: Response): Promise<string> {
  if (!body) return "";
  const reader = body.getReader();
  const { value } = await reader.read();
  await reader.cancel().catch(() => {});
  const text = new TextDecoder().decode(value?.subarray(0, READ_BYTES));
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is taken out of somebody else's text.
  return text.replace(/[\u0000-\u001f\u007f]+/g, " ").trim();
}
