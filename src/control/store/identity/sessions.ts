import { eq, lt } from "drizzle-orm";
import type { Db } from "../db.ts";
import { sessions } from "../schema/sessions.ts";

export type SessionRow = typeof sessions.$inferSelect;

export const findSession = (db: Db, hash: string): Promise<SessionRow | undefined> =>
  db.select().from(sessions).where(eq(sessions.hash, hash)).get();

export async function insertSession(db: Db, row: SessionRow): Promise<void> {
  await db.insert(sessions).values(row);
}

export async function endSession(db: Db, hash: string): Promise<void> {
  await db.delete(sessions).where(eq(sessions.hash, hash));
}

export async function dropSessionsBefore(db: Db, time: number): Promise<void> {
  await db.delete(sessions).where(lt(sessions.expiresAt, time));
}
