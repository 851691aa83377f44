import { isStale, retryAt } from "../../domain/notify/retry.ts";
import type { ControlEnv } from "../env.ts";
import { logFailure } from "../log.ts";
import { type Keyring, readKeyring } from "../secrets/seal.ts";
import { type Db, runBatch, type Statement } from "../store/db.ts";
import { insertEvent } from "../store/events.ts";
import {
  type DeliveryRow,
  enqueue,
  nextDueAt,
  noteAttempt,
  paceOf,
  readDue,
  readUntold,
} from "../store/notify/deliveries.ts";
import { disableWebhook, quietWebhook, type WebhookRow } from "../store/notify/webhooks.ts";
import { sendToGitHub } from "./github/send.ts";
import { openKeys } from "./keys.ts";
import { deliveryFor } from "./message.ts";
import { sendTrace } from "./otlp/send-trace.ts";
import { failed, type Sent, send } from "./send-webhook.ts";
import { sendToSlack } from "./slack-app.ts";

const AT_ONCE = 5;
/** A Worker on the Free plan may make 50 in one run. */
const REQUESTS_IN_A_RUN = 42;
/** Two look-ups and itself; of GitHub's at most. */
const requestsOf = ({ kind }: WebhookRow): number => (kind === "github" ? 9 : 3);
const EVENTS_AT_ONCE = 200;

interface Row {
  readonly delivery: DeliveryRow;
  readonly webhook: WebhookRow;
}
interface At {
  readonly env: ControlEnv;
  readonly db: Db;
  readonly now: () => number;
}

/**
 * Looks at what targets were not asked about, and sends what is due, some of it. Answers when there is more to do: null when
 * nothing is, `targets` whether anybody is to be told of anything.
 */
export async function deliver(at: At): Promise<{ next: number | null; targets: boolean }> {
  const { more, targets } = await fanOut(at);
  const keyring = await readKeyring(at.env);
  // Without a key no target could be saved.
  if (keyring.ok) await sendDue(at, keyring.value);
  return { next: more ? at.now() : await nextDueAt(at.db), targets };
}

async function fanOut({ env, db, now }: At): Promise<{ more: boolean; targets: boolean }> {
  const { targets, untold } = await readUntold(db, EVENTS_AT_ONCE);
  const last = untold.at(-1);
  if (!last) return { more: false, targets: targets.length > 0 };
  const at = { env, now: now() };
  const rows = untold.flatMap((one) =>
    targets.flatMap((target) => {
      const row = deliveryFor(target, one, at);
      return row ? [row] : [];
    }),
  );
  await enqueue(db, { rows, targets, upTo: last.event.id });
  return { more: untold.length === EVENTS_AT_ONCE, targets: true };
}

/** A few at a time, one of a target: who answers late, or not at all, keeps no other one waiting. */
async function sendDue(at: At, keyring: Keyring): Promise<void> {
  const underWay = new Map<string, Promise<void>>();
  let left = REQUESTS_IN_A_RUN;
  for (;;) {
    const due = left > 0 ? await readDue(at.db, at.now(), AT_ONCE + underWay.size) : [];
    for (const row of due) {
      const pace = paceOf(row.webhook);
      if (underWay.has(pace) || underWay.size === AT_ONCE || left < requestsOf(row.webhook)) continue;
      left -= requestsOf(row.webhook);
      underWay.set(
        pace,
        sendOne(row, at, keyring).finally(() => underWay.delete(pace)),
      );
    }
    if (underWay.size === 0) return;
    await Promise.race(underWay.values());
  }
}

async function sendOne(row: Row, { env, db, now }: At, keyring: Keyring): Promise<void> {
  if (isStale(row.delivery.createdAt, now())) return void (await runBatch(db, stale(db, row, now())));
  const sent = await sendBy(row, { env, db, keyring, now: now() }).catch((error) => {
    logFailure("notify.send", error, { webhook: row.webhook.id });
    return failed(`not sent: ${String(error).slice(0, 200)}`);
  });
  // Dying before this is written sends it once more, under the same id.
  await runBatch(db, outcome(db, row, sent, now()));
}

/** A bot and GitHub want more than one post of a body, and a trace is made when it is sent. */
async function sendBy(
  row: Row,
  at: { env: ControlEnv; db: Db; keyring: Keyring; now: number },
): Promise<Sent> {
  const { kind } = row.webhook;
  if (kind === "webhook" || kind === "slack") return send(row, at);
  const keys = await openKeys(at.keyring, row.webhook);
  if (!keys.ok) return failed(`its keys can't be opened: ${keys.error}`);
  const { slack, github } = keys.value;
  if (kind === "slack_app" && slack) return sendToSlack(row.delivery, slack, at);
  if (kind === "github" && github) return sendToGitHub(row.delivery, github, at);
  if (kind === "otlp") return sendTrace(row.delivery, keys.value, at);
  return failed("its keys are of another kind");
}

/** How it went, and how long its target is left in peace. */
function outcome(db: Db, row: Row, sent: Sent, now: number): Statement[] {
  const quiet = sent.quietMs === undefined ? [] : [quietWebhook(db, row.webhook.id, now + sent.quietMs)];
  if (!sent.isPaced) return [...quiet, ...ending(db, row, sent, now)];
  const { attempts, finishedAt } = row.delivery;
  const nextAttemptAt = now + (sent.retryAfterMs ?? 0);
  const { status, error } = sent;
  return [
    ...quiet,
    noteAttempt(db, row.delivery.id, {
      state: "pending",
      attempts,
      nextAttemptAt,
      finishedAt,
      status,
      error,
    }),
  ];
}

function ending(db: Db, { delivery, webhook }: Row, sent: Sent, now: number): Statement[] {
  const attempts = delivery.attempts + 1;
  const { status, error } = sent;
  const done = { attempts, nextAttemptAt: now, finishedAt: now, status, error };
  if (sent.ok) return [noteAttempt(db, delivery.id, { ...done, state: "delivered" })];
  const about = { at: now, actor: "sluice", app: webhook.app, environment: webhook.environment };
  const data = { webhook: webhook.id, delivery: delivery.id, error };
  if (sent.gone) {
    const cause = sent.status === 410 ? "it answered 410: it wants nothing any more" : String(error);
    const message = `messages to ${webhook.url} stopped: ${cause}`;
    return [
      noteAttempt(db, delivery.id, { ...done, state: "failed" }),
      disableWebhook(db, webhook.id, { now, cause }),
      insertEvent(db, { ...about, type: "webhook.disabled", message, data }),
    ];
  }
  const next = retryAt(attempts, { now, random: Math.random(), retryAfterMs: sent.retryAfterMs });
  if (next !== null && !sent.isFinal) {
    const again = { ...done, state: "pending", nextAttemptAt: next, finishedAt: null } as const;
    return [noteAttempt(db, delivery.id, again)];
  }
  const cause = `after ${attempts} ${attempts === 1 ? "try" : "tries"}: ${error}`;
  return givenUp(db, { delivery: { ...delivery, ...done }, webhook }, cause);
}

/** Its target paced it for days, which counts as no try: it isn't asked once more, so that what waits behind is over soon, too. */
function stale(db: Db, { delivery, webhook }: Row, now: number): Statement[] {
  const error = delivery.error ?? "others before it had the turn";
  const cause = `not taken within four days: ${error}`;
  return givenUp(db, { delivery: { ...delivery, error, finishedAt: now }, webhook }, cause);
}

function givenUp(db: Db, { delivery, webhook }: Row, cause: string): Statement[] {
  const { id, type, attempts, nextAttemptAt, finishedAt, status, error } = delivery;
  const { app, environment } = webhook;
  return [
    noteAttempt(db, id, { state: "failed", attempts, nextAttemptAt, finishedAt, status, error }),
    insertEvent(db, {
      ...{ at: finishedAt ?? nextAttemptAt, actor: "sluice", app, environment, type: "webhook.given_up" },
      message: `${type} was given up for ${webhook.url} ${cause}`,
      data: { webhook: webhook.id, delivery: id, error },
    }),
  ];
}
