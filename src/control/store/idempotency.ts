import { and, eq, isNull, lt } from "drizzle-orm";
import type { Db } from "./db.ts";
import { idempotency } from "./schema/idempotency.ts";

export type IdempotencyRow = typeof idempotency.$inferSelect;

/** Claims the key for one request. Of any number at once exactly one gets true. */
export async function claimKey(
  db: Db,
  row: { key: string; bodyHash: string; now: number },
): Promise<boolean> {
  const claimed = await db
    .insert(idempotency)
    .values({ key: row.key, bodyHash: row.bodyHash, createdAt: row.now })
    .onConflictDoNothing()
    .returning({ key: idempotency.key });
  return claimed.length === 1;
}

export const readKey = (db: Db, key: string): Promise<IdempotencyRow | undefined> =>
  db.select().from(idempotency).where(eq(idempotency.key, key)).get();

/** Takes over a claim whose request died: only from the state that was read, so that one of several gets it. */
export async function retakeKey(db: Db, key: string, from: number, now: number): Promise<boolean> {
  const taken = await db
    .update(idempotency)
    .set({ createdAt: now })
    .where(and(eq(idempotency.key, key), eq(idempotency.createdAt, from), isNull(idempotency.status)))
    .returning({ key: idempotency.key });
  return taken.length === 1;
}

export async function finishKey(
  db: Db,
  key: string,
  answer: { status: number; headers: Record<string, string>; body: string },
): Promise<void> {
  await db.update(idempotency).set(answer).where(eq(idempotency.key, key));
}

/** Forgets a claim whose request was refused: a refusal changed nothing, so trying again is a new try. */
export async function releaseKey(db: Db, key: string): Promise<void> {
  await db.delete(idempotency).where(and(eq(idempotency.key, key), isNull(idempotency.status)));
}

/** Forgets an answer that nobody can read any more, unless another request did so and began anew. */
export async function forgetKey(db: Db, key: string, createdAt: number): Promise<void> {
  await db.delete(idempotency).where(and(eq(idempotency.key, key), eq(idempotency.createdAt, createdAt)));
}

export async function dropKeysBefore(db: Db, time: number): Promise<void> {
  await db.delete(idempotency).where(lt(idempotency.createdAt, time));
}
