import { and, asc, eq, isNull, sql } from "drizzle-orm";
import type { Db, Statement } from "../db.ts";
import { webhooks } from "../schema/webhooks.ts";

export type WebhookRow = typeof webhooks.$inferSelect;

export const listWebhooks = (db: Db): Promise<WebhookRow[]> =>
  db.select().from(webhooks).orderBy(asc(webhooks.id)).limit(1_000).all();

export const readWebhook = (db: Db, id: string): Promise<WebhookRow | undefined> =>
  db.select().from(webhooks).where(eq(webhooks.id, id)).get();

/** It is told of what happens from now on. */
export const insertWebhook = (db: Db, row: Omit<WebhookRow, "cursor">) =>
  db
    .insert(webhooks)
    .values({ ...row, cursor: sql`(SELECT coalesce(max(id), 0) FROM events)` }) satisfies Statement;

export const deleteWebhook = (db: Db, id: string) =>
  db.delete(webhooks).where(eq(webhooks.id, id)) satisfies Statement;

/** Only over the keys that were read, so that of two rotations none is lost. */
export const rekeyWebhook = (
  db: Db,
  row: WebhookRow,
  next: { readonly sealed: string; readonly keyId: string },
) =>
  db
    .update(webhooks)
    .set(next)
    .where(and(eq(webhooks.id, row.id), eq(webhooks.sealed, row.sealed)))
    .returning({ id: webhooks.id }) satisfies Statement;

export const disableWebhook = (db: Db, id: string, at: { now: number; cause: string }) =>
  db
    .update(webhooks)
    .set({ disabledAt: at.now, disabledCause: at.cause })
    .where(and(eq(webhooks.id, id), isNull(webhooks.disabledAt))) satisfies Statement;

/** Nothing is sent to it before. */
export const quietWebhook = (db: Db, id: string, until: number) =>
  db.update(webhooks).set({ quietUntil: until }).where(eq(webhooks.id, id)) satisfies Statement;

/** Targets that nothing reaches any more, and how many messages were given up in the last while. */
export async function readBrokenWebhooks(
  db: Db,
  since: number,
): Promise<
  { id: string; url: string; disabledCause: string | null; failed: number; error: string | null }[]
> {
  return db.all(sql`
    SELECT w.id, w.url, w.disabled_cause AS disabledCause, count(d.id) AS failed, max(d.error) AS error
    FROM webhooks w LEFT JOIN deliveries d ON d.webhook_id = w.id AND d.state = 'failed' AND d.finished_at >= ${since}
    GROUP BY w.id HAVING w.disabled_at IS NOT NULL OR count(d.id) > 0`);
}
