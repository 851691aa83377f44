import { and, asc, desc, eq, gt, isNull, lt, sql } from "drizzle-orm";
import type { Db, Statement } from "../db.ts";
import type { EventRow } from "../events.ts";
import { events } from "../schema/events.ts";
import { hostnames } from "../schema/hostnames.ts";
import { releases } from "../schema/releases.ts";
import { deliveries, webhooks } from "../schema/webhooks.ts";
import type { WebhookRow } from "./webhooks.ts";

export type DeliveryRow = typeof deliveries.$inferSelect;

/** Of a target's: beyond that its events wait where they are. */
const MOST_PENDING = 1_000;
/** Finished ones are kept for this long, and so many of each target. */
const KEPT_MS = 30 * 86_400_000;
const KEPT_OF_EACH = 1_000;
const PIECE = 500;

export interface DeliveryQuery {
  readonly webhookId: string;
  readonly before: number | null;
  readonly limit: number;
  readonly failed: boolean;
}

/** Newest first. */
export const listDeliveries = (db: Db, query: DeliveryQuery): Promise<DeliveryRow[]> =>
  db
    .select()
    .from(deliveries)
    .where(
      and(
        eq(deliveries.webhookId, query.webhookId),
        query.before === null ? undefined : lt(deliveries.eventId, query.before),
        query.failed ? eq(deliveries.state, "failed") : undefined,
      ),
    )
    .orderBy(desc(deliveries.eventId))
    .limit(query.limit)
    .all();

/** Sends it again as it was, as if it were new: one, or all that were given up. Answers how many. */
export async function replay(
  db: Db,
  of: { readonly webhookId: string; readonly id: string | null },
  now: number,
): Promise<number> {
  const rows = await db
    .update(deliveries)
    .set({ state: "pending", attempts: 0, createdAt: now, nextAttemptAt: now, finishedAt: null, error: null })
    .where(
      and(
        eq(deliveries.webhookId, of.webhookId),
        of.id === null ? eq(deliveries.state, "failed") : eq(deliveries.id, of.id),
      ),
    )
    .returning({ id: deliveries.id });
  return rows.length;
}

/** As it is by now. */
export type TellableRelease = Pick<
  typeof releases.$inferSelect,
  "version" | "createdAt" | "by" | "state" | "approval" | "failure" | "failedRequest" | "git"
>;

/** An event that targets have not been asked about, with what of its release goes into a message. */
export interface Untold {
  readonly event: EventRow;
  readonly release: TellableRelease | null;
  readonly hostname: string | null;
}

/** Targets that can take more, and the events that the first of them has not been asked about. */
export async function readUntold(
  db: Db,
  limit: number,
): Promise<{ targets: WebhookRow[]; untold: Untold[] }> {
  const pending = sql`(SELECT count(*) FROM deliveries d WHERE d.webhook_id = ${webhooks.id} AND d.state = 'pending')`;
  const targets = await db
    .select()
    .from(webhooks)
    .where(and(isNull(webhooks.disabledAt), sql`${pending} < ${MOST_PENDING}`))
    .all();
  if (targets.length === 0) return { targets, untold: [] };
  const from = Math.min(...targets.map(({ cursor }) => cursor));
  const rows = await db
    .select({
      event: events,
      version: releases.version,
      createdAt: sql<number | null>`${releases.createdAt}`.as("release_created_at"),
      by: sql<string | null>`${releases.by}`.as("release_by"),
      state: sql<TellableRelease["state"] | null>`${releases.state}`.as("release_state"),
      approval: releases.approval,
      failure: releases.failure,
      failedRequest: releases.failedRequest,
      git: releases.git,
      hostname: sql<
        string | null
      >`(SELECT min(hostname) FROM ${hostnames} h WHERE h.environment_id = ${events.environmentId}
          AND hostname NOT LIKE '*.%')`.as("event_hostname"),
    })
    .from(events)
    .leftJoin(releases, eq(releases.id, events.releaseId))
    .where(gt(events.id, from))
    .orderBy(asc(events.id))
    .limit(limit)
    .all();
  const untold = rows.map(({ event, hostname, version, createdAt, by, state, ...rest }) => ({
    event,
    hostname,
    release:
      version === null || createdAt === null || by === null || state === null
        ? null
        : { version, createdAt, by, state, ...rest },
  }));
  return { targets, untold };
}

export type NewDelivery = Pick<
  DeliveryRow,
  "id" | "webhookId" | "eventId" | "type" | "lane" | "body" | "createdAt" | "nextAttemptAt"
>;

/** Writes what is to be sent and that it was looked at, together. What is there already stays as it is. */
export async function enqueue(
  db: Db,
  made: { rows: readonly NewDelivery[]; targets: readonly WebhookRow[]; upTo: number },
): Promise<void> {
  const rows = JSON.stringify(made.rows);
  const ids = JSON.stringify(made.targets.map(({ id }) => id));
  // As one value each: D1 binds 100 to a statement.
  await db.batch([
    db
      .insert(deliveries)
      .select(
        // In the order of the table's columns.
        sql`SELECT value ->> 'id', value ->> 'webhookId', value ->> 'eventId', value ->> 'type', value ->> 'lane',
          value ->> 'body', 'pending', 0, value ->> 'createdAt', value ->> 'nextAttemptAt', NULL, NULL, NULL
        FROM json_each(${rows}) WHERE value ->> 'webhookId' IN (SELECT id FROM webhooks)`,
      )
      .onConflictDoNothing(),
    db
      .update(webhooks)
      .set({ cursor: sql`max(${webhooks.cursor}, ${made.upTo})` })
      .where(sql`${webhooks.id} IN (SELECT value FROM json_each(${ids}))`),
  ]);
}

/** Of its release it is the first that is still to be sent, and its target takes messages. */
const isNext = sql`deliveries.state = 'pending' AND webhooks.disabled_at IS NULL
  AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.state = 'pending' AND d.webhook_id = deliveries.webhook_id
    AND d.lane = deliveries.lane AND d.event_id < deliveries.event_id)`;

/** What of the same pace is due goes one at a time: each target's messages, and all of GitHub's, which cost several requests each. */
export const paceOf = ({ kind, id }: WebhookRow): string => (kind === "github" ? kind : id);
const pace = sql`CASE webhooks.kind WHEN 'github' THEN 'github' ELSE webhooks.id END`;

/**
 * What is to be sent by now: of each release of each target the first that is still to be, so that they come in order. What waits
 * for its pace takes nobody's place.
 */
export const readDue = (db: Db, now: number, limit: number) =>
  db
    .select({ delivery: deliveries, webhook: webhooks })
    .from(deliveries)
    .innerJoin(webhooks, eq(webhooks.id, deliveries.webhookId))
    .where(
      sql`${deliveries.id} IN (
        SELECT id FROM (SELECT deliveries.id AS id, next_attempt_at AS at, event_id AS event,
            row_number() OVER (PARTITION BY ${pace} ORDER BY next_attempt_at, event_id) AS place
          FROM deliveries JOIN webhooks ON webhooks.id = webhook_id
          WHERE next_attempt_at <= ${now} AND ${isNext} AND ${isOpenAt(now)})
        WHERE place = 1 ORDER BY at, event LIMIT ${limit})`,
    )
    .orderBy(asc(deliveries.nextAttemptAt), asc(deliveries.eventId))
    .all();

/** Whether its target has been told of what came later in the same lane. */
export async function isOvertaken(db: Db, { webhookId, lane, eventId }: DeliveryRow): Promise<boolean> {
  const later = await db
    .select({ id: deliveries.id })
    .from(deliveries)
    .where(
      and(
        eq(deliveries.webhookId, webhookId),
        eq(deliveries.lane, lane),
        gt(deliveries.eventId, eventId),
        eq(deliveries.state, "delivered"),
      ),
    )
    .limit(1)
    .get();
  return later !== undefined;
}

const isOpenAt = (now: number) => sql`coalesce(webhooks.quiet_until, 0) <= ${now}`;

/** How a try went. */
export const noteAttempt = (
  db: Db,
  id: string,
  change: Pick<DeliveryRow, "state" | "attempts" | "nextAttemptAt" | "finishedAt" | "status" | "error">,
) => db.update(deliveries).set(change).where(eq(deliveries.id, id)) satisfies Statement;

/** When the next try of all is due; null: there is nothing to send. */
export async function nextDueAt(db: Db): Promise<number | null> {
  const rows = await db.all<{ at: number | null }>(sql`
    SELECT min(max(next_attempt_at, coalesce(quiet_until, 0))) AS at FROM deliveries JOIN webhooks ON webhooks.id = webhook_id WHERE ${isNext}`);
  return rows[0]?.at ?? null;
}

/** Whether something is owed: an event that a target was not asked about, or a try that is late. */
export async function isTellingDue(db: Db, now: number): Promise<boolean> {
  const rows = await db.all<{ due: number }>(sql`
    SELECT EXISTS (SELECT 1 FROM webhooks WHERE disabled_at IS NULL AND cursor < (SELECT max(id) FROM events))
      OR EXISTS (SELECT 1 FROM deliveries JOIN webhooks ON webhooks.id = webhook_id
        WHERE next_attempt_at <= ${now} AND ${isNext} AND ${isOpenAt(now)}) AS due`);
  return rows[0]?.due === 1;
}

/** Drops finished ones that are old, or more than are kept of a target; some of them, as it is called again. */
export const pruneDeliveries = (db: Db, now: number): Promise<unknown> =>
  db.run(sql`
    DELETE FROM deliveries WHERE id IN (
      SELECT id FROM deliveries WHERE finished_at < ${now - KEPT_MS} LIMIT ${PIECE})
    OR id IN (SELECT d.id FROM webhooks w JOIN deliveries d ON d.webhook_id = w.id
      WHERE d.finished_at IS NOT NULL AND d.event_id <= (
        SELECT e.event_id FROM deliveries e WHERE e.webhook_id = w.id ORDER BY e.event_id DESC LIMIT 1 OFFSET ${KEPT_OF_EACH})
      LIMIT ${PIECE})`);
