import { and, eq, isNull, lt, or, sql } from "drizzle-orm";
import type { Db, Statement } from "./db.ts";
import { enrollments, hosts } from "./schema/hosts.ts";
import { slots } from "./schema/slots.ts";

export type EnrollmentRow = typeof enrollments.$inferSelect;

export const insertEnrollment = (db: Db, row: EnrollmentRow) =>
  db.insert(enrollments).values(row) satisfies Statement;

export const findEnrollment = (db: Db, hash: string): Promise<EnrollmentRow | undefined> =>
  db.select().from(enrollments).where(eq(enrollments.hash, hash)).get();

/**
 * Uses the one-time token up. Used already or expired: sets NULL where that is not allowed, so that the whole batch
 * (host, slots, token) fails and only one of two racing agents becomes the host.
 */
export const useEnrollment = (db: Db, hash: string, now: number) =>
  db
    .update(enrollments)
    .set({
      usedAt: now,
      createdAt: sql`CASE WHEN ${enrollments.usedAt} IS NULL AND ${enrollments.expiresAt} > ${now} THEN ${enrollments.createdAt} END`,
    })
    .where(eq(enrollments.hash, hash)) satisfies Statement;

export const insertHost = (db: Db, row: typeof hosts.$inferInsert) =>
  db.insert(hosts).values(row) satisfies Statement;

export type NewSlot = Pick<typeof slots.$inferInsert, "id" | "hostId" | "n" | "hostPort" | "origin">;

/** D1 allows a statement 100 bound values: 20 slots of five columns each. */
const SLOTS_PER_STATEMENT = 20;

export function insertSlots(db: Db, rows: readonly NewSlot[]): Statement[] {
  const chunks: Statement[] = [];
  for (let from = 0; from < rows.length; from += SLOTS_PER_STATEMENT) {
    chunks.push(db.insert(slots).values(rows.slice(from, from + SLOTS_PER_STATEMENT)));
  }
  return chunks;
}

/** Used or expired ones are of no use to anyone a day later. */
export async function dropEnrollmentsBefore(db: Db, time: number): Promise<void> {
  const isOver = or(
    lt(enrollments.usedAt, time),
    and(isNull(enrollments.usedAt), lt(enrollments.expiresAt, time)),
  );
  await db.delete(enrollments).where(isOver);
}
