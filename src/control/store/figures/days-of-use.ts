import { eq, sql } from "drizzle-orm";
import type { Used } from "../../../domain/allowances.ts";
import type { Db } from "../db.ts";
import { daysOfUse } from "../schema/tallies.ts";

const DAY_MS = 86_400_000;
const dayOf = (now: number): number => Math.floor(now / DAY_MS);
const NOTHING: Used = { visitors: 0, objectCalls: 0, objectRows: 0, tableCopies: 0 };

/** Adds to what was used on the UTC day of `now` (epoch ms). */
export async function addUsed(db: Db, used: Used, now: number): Promise<void> {
  const { visitors, objectCalls, objectRows, tableCopies } = daysOfUse;
  await db
    .insert(daysOfUse)
    .values({ day: dayOf(now), ...used })
    .onConflictDoUpdate({
      target: daysOfUse.day,
      set: {
        visitors: sql`${visitors} + ${used.visitors}`,
        objectCalls: sql`${objectCalls} + ${used.objectCalls}`,
        objectRows: sql`${objectRows} + ${used.objectRows}`,
        tableCopies: sql`${tableCopies} + ${used.tableCopies}`,
      },
    });
}

/** What was used since the UTC day of `now` (epoch ms) began. */
export const readUsed = async (db: Db, now: number): Promise<Used> =>
  (await db
    .select()
    .from(daysOfUse)
    .where(eq(daysOfUse.day, dayOf(now)))
    .get()) ?? NOTHING;
