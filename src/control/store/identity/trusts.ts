import { and, desc, eq, isNull, lt, sql } from "drizzle-orm";
import type { Pins } from "../../../domain/trust/trust.ts";
import type { Db, Statement } from "../db.ts";
import { tokens } from "../schema/tokens.ts";
import { tradedTokens, trusts } from "../schema/trusts.ts";

export type TrustRow = typeof trusts.$inferSelect;

export const listTrusts = (db: Db): Promise<TrustRow[]> =>
  db.select().from(trusts).orderBy(desc(trusts.id)).limit(MOST_TRUSTS).all();

/** Of one issuer: a token is looked at by these alone. */
export const trustsOf = (db: Db, issuer: string): Promise<TrustRow[]> =>
  db.select().from(trusts).where(eq(trusts.issuer, issuer)).orderBy(desc(trusts.id)).limit(MOST_TRUSTS).all();

export const readTrust = (db: Db, id: string): Promise<TrustRow | undefined> =>
  db.select().from(trusts).where(eq(trusts.id, id)).get();

export const countTrusts = (db: Db): Promise<number> => db.$count(trusts);

/** Beyond what one reading of a token should look at. */
export const MOST_TRUSTS = 500;

export const insertTrust = (db: Db, row: TrustRow) => db.insert(trusts).values(row) satisfies Statement;

/** The trust, and every token that it gave: they stop with their next request. */
export const removeTrust = (db: Db, id: string, now: number): Statement[] => [
  db.delete(trusts).where(eq(trusts.id, id)),
  db
    .update(tokens)
    .set({ revokedAt: now })
    .where(and(eq(tokens.trustId, id), isNull(tokens.revokedAt))),
];

/** Writes the ids of the first token that fits. Only the first: fails its batch when another one was. */
export const pinTrust = (db: Db, id: string, pins: Pins) =>
  db
    .update(trusts)
    .set({
      pins,
      createdAt: sql`CASE WHEN ${trusts.pinOnFirstUse} <> '[]' THEN ${trusts.createdAt} END`,
      pinOnFirstUse: [],
    })
    .where(eq(trusts.id, id)) satisfies Statement;

/** Notes that a token was traded. Fails its batch when it was before. */
export const noteTraded = (db: Db, row: typeof tradedTokens.$inferInsert) =>
  db.insert(tradedTokens).values(row) satisfies Statement;

export async function wasTraded(db: Db, key: string): Promise<boolean> {
  return (await db.$count(tradedTokens, eq(tradedTokens.key, key))) > 0;
}

export async function dropTradedBefore(db: Db, time: number): Promise<void> {
  await db.delete(tradedTokens).where(lt(tradedTokens.expiresAt, time));
}
