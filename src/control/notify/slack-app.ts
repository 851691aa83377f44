import { z } from "zod";
import type { ControlEnv } from "../env.ts";
import type { Db } from "../store/db.ts";
import type { DeliveryRow } from "../store/notify/deliveries.ts";
import { keepThread, readThread } from "../store/notify/threads.ts";
import type { SlackKeys } from "./keys.ts";
import { failed, type Sent } from "./send-webhook.ts";
import type { SlackAppBody, SlackMessage } from "./slack-blocks.ts";

const API = "https://slack.com/api";
const WITHIN_MS = 15_000;
/** Slack takes about one message a second in a channel (https://docs.slack.dev/apis/web-api/rate-limits). */
const QUIET_MS = 1_100;
/** Whatever it says: a mistake there is not to keep a channel silent for years. */
const LONGEST_PAUSE_MS = 3_600_000;
/** What no second try mends: somebody has to change something in Slack. */
const HOPELESS = new Set([
  ...["invalid_auth", "not_authed", "account_inactive", "token_revoked", "token_expired", "missing_scope"],
  ...["channel_not_found", "not_in_channel", "is_archived", "restricted_action", "org_login_required"],
]);
const answerSchema = z.object({
  ok: z.boolean(),
  error: z.string().max(200).optional(),
  ts: z.string().optional(),
  channel: z.string().optional(),
});

interface At {
  readonly env: Pick<ControlEnv, "SLACK_API_URL">;
  readonly db: Db;
}

/**
 * One message per release, changed as it goes, with its events in the thread. Done again it changes the same message; only
 * where control dies between Slack's answer and the note of it does one come twice.
 */
export async function sendToSlack(delivery: DeliveryRow, slack: SlackKeys, at: At): Promise<Sent> {
  // Written by `slackAppBody`.
  const { parent, reply, broadcast, isAside } = JSON.parse(delivery.body) as SlackAppBody;
  const { webhookId, lane } = delivery;
  const thread = reply === null ? undefined : await readThread(at.db, { webhookId, lane });
  if (!thread) return post(delivery, { slack, parent, isThread: reply !== null }, at);
  const { ts, channel } = thread;
  if (!isAside) {
    const told = await callSlack(at.env, slack, "chat.update", { channel, ts, ...parent });
    // Somebody deleted it.
    if (told.error === "message_not_found") return post(delivery, { slack, parent, isThread: true }, at);
    if (!told.ok) return sentOf(told);
  }
  const more = { channel, thread_ts: ts, reply_broadcast: broadcast };
  return sentOf(await callSlack(at.env, slack, "chat.postMessage", { ...reply, ...more }));
}

async function post(
  { webhookId, lane }: DeliveryRow,
  what: { slack: SlackKeys; parent: SlackMessage; isThread: boolean },
  at: At,
): Promise<Sent> {
  const answer = await callSlack(at.env, what.slack, "chat.postMessage", what.parent);
  if (answer.ok && answer.ts !== undefined && what.isThread)
    await keepThread(at.db, {
      webhookId,
      lane,
      ts: answer.ts,
      channel: answer.channel ?? what.slack.channel,
    });
  return sentOf(answer);
}

export interface SlackAnswer {
  readonly ok: boolean;
  readonly status: number | null;
  readonly error: string | null;
  readonly ts: string | undefined;
  /** Of messages that were changed Slack wants the channel's id. */
  readonly channel: string | undefined;
  readonly retryAfterMs: number | null;
}

/** Calls a method of Slack's. Never throws: whatever goes wrong is how it went. */
export async function callSlack(
  { SLACK_API_URL }: At["env"],
  { token, channel }: SlackKeys,
  method: "chat.postMessage" | "chat.update" | "chat.postEphemeral",
  body: object,
): Promise<SlackAnswer> {
  const nothing = { ok: false, status: null, ts: undefined, channel: undefined, retryAfterMs: null };
  try {
    const response = await fetch(`${SLACK_API_URL ?? API}/${method}`, {
      method: "POST",
      redirect: "manual",
      signal: AbortSignal.timeout(WITHIN_MS),
      headers: { "content-type": "application/json; charset=utf-8", authorization: `Bearer ${token}` },
      body: JSON.stringify({ channel, unfurl_links: false, ...body }),
    });
    const { status } = response;
    if (status === 429) {
      await response.body?.cancel();
      const asked = Number(response.headers.get("retry-after") ?? 30) * 1_000 || 30_000;
      const retryAfterMs = Math.min(Math.max(asked, 1_000), LONGEST_PAUSE_MS);
      return { ...nothing, status, error: "ratelimited", retryAfterMs };
    }
    const read = answerSchema.safeParse(await response.json().catch(() => null));
    if (!read.success) return { ...nothing, status, error: `it answered ${status} and no JSON of Slack's` };
    const { ok, error = null, ts, channel: where } = read.data;
    return { ok, status, error, ts, channel: where, retryAfterMs: null };
  } catch (error) {
    return { ...nothing, error: `no answer: ${String(error).slice(0, 200)}` };
  }
}

function sentOf({ ok, status, error, retryAfterMs }: SlackAnswer): Sent {
  if (ok) return { ok, status, error: null, retryAfterMs: null, gone: false, quietMs: QUIET_MS };
  const said = `Slack said ${error}`;
  // Slack's own pace is no failure: the try doesn't count.
  if (retryAfterMs !== null)
    return failed(said, { status, retryAfterMs, quietMs: retryAfterMs, isPaced: true });
  return failed(said, { status, gone: HOPELESS.has(error ?? "") });
}
