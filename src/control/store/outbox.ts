import { and, asc, eq, inArray, lte, sql } from "drizzle-orm";
import type { Db } from "./db.ts";
import { outbox } from "./schema/outbox.ts";

/** An effect that a committed decision still owes the world outside D1. */
export type Owed = typeof outbox.$inferSelect;

const RETRY_MS = 5_000;

export const due = (db: Db, environmentId: string, now: number): Promise<Owed[]> =>
  db
    .select()
    .from(outbox)
    .where(and(eq(outbox.environmentId, environmentId), lte(outbox.nextAttemptAt, now)))
    .orderBy(asc(outbox.id))
    .limit(50);

export async function settled(db: Db, ids: readonly number[]): Promise<void> {
  if (ids.length > 0) await db.delete(outbox).where(inArray(outbox.id, [...ids]));
}

/** Tried again later, with growing gaps. */
export async function postpone(db: Db, ids: readonly number[], now: number): Promise<void> {
  if (ids.length === 0) return;
  await db
    .update(outbox)
    .set({
      attempts: sql`${outbox.attempts} + 1`,
      nextAttemptAt: sql`${now} + ${RETRY_MS} * (${outbox.attempts} + 1)`,
    })
    .where(inArray(outbox.id, [...ids]));
}
