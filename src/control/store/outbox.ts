import { and, asc, eq, inArray, lte, sql } from "drizzle-orm";
import type { Db, Statement } from "./db.ts";
import { outbox } from "./schema/outbox.ts";

/** An effect that a committed decision still owes the world outside D1. */
export type Owed = typeof outbox.$inferSelect;

const RETRY_MS = 5_000;

export const due = (db: Db, environmentId: string, now: number) =>
  db
    .select()
    .from(outbox)
    .where(and(eq(outbox.environmentId, environmentId), lte(outbox.nextAttemptAt, now)))
    .orderBy(asc(outbox.id))
    .limit(50);

/** Notes what was handed over; what was not is tried again later, with growing gaps. */
export function settle(
  db: Db,
  { done, late, now }: { done: readonly number[]; late: readonly number[]; now: number },
): Statement[] {
  const statements: Statement[] = [];
  if (done.length > 0) statements.push(db.delete(outbox).where(inArray(outbox.id, [...done])));
  if (late.length > 0)
    statements.push(
      db
        .update(outbox)
        .set({
          attempts: sql`${outbox.attempts} + 1`,
          nextAttemptAt: sql`${now} + ${RETRY_MS} * (${outbox.attempts} + 1)`,
        })
        .where(inArray(outbox.id, [...late])),
    );
  return statements;
}
