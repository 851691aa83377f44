import { and, desc, eq, isNull, lt, type SQL, sql } from "drizzle-orm";
import type { Db, Statement } from "./db.ts";
import { tokens } from "./schema/tokens.ts";

export type TokenRow = typeof tokens.$inferSelect;
type NewToken = typeof tokens.$inferInsert;

export const findToken = (db: Db, hash: string): Promise<TokenRow | undefined> =>
  db.select().from(tokens).where(eq(tokens.hash, hash)).get();

/**
 * The host of an agent's token, looked up by the statement that it is part of: one trip less. Null where the token is not good,
 * or takes another's place that still counts: then who asks is to be identified, which says why or ends the other one.
 */
export const hostByToken = (hash: string, now: number): SQL => sql`(SELECT t.host_id FROM tokens t
  WHERE t.hash = ${hash} AND t.role = 'agent' AND t.revoked_at IS NULL AND t.replaces IS NULL
    AND (t.expires_at IS NULL OR t.expires_at > ${now}))`;

export const readToken = (db: Db, id: string): Promise<TokenRow | undefined> =>
  db.select().from(tokens).where(eq(tokens.id, id)).get();

/** The first administrator's token is in no row, and ends with the Worker's secret. */
export const BOOTSTRAP_ID = "admin";

/** Whether what was begun with a token may go on. */
export async function isTokenGood(db: Db, id: string, now: number): Promise<boolean> {
  if (id === BOOTSTRAP_ID) return true;
  if (id.startsWith("access:")) return isGranted(db, id.slice("access:".length));
  const row = await readToken(db, id);
  return row !== undefined && row.revokedAt === null && (row.expiresAt === null || row.expiresAt > now);
}

/** Whether anything is still granted to who came through Access. Their groups are not known here: any group's grant counts. */
async function isGranted(db: Db, name: string): Promise<boolean> {
  const rows = await db.all<{ good: number }>(sql`SELECT EXISTS (SELECT 1 FROM access_settings) AND EXISTS (
    SELECT 1 FROM people_grants WHERE who IN (${name}, ${`*@${name.split("@").at(-1)}`}, ${`service:${name}`})
      OR who LIKE 'group:%') AS good`);
  return rows[0]?.good === 1;
}

/** Newest first, `limit` of those older than the id. Ids sort by time. */
export const listTokens = (db: Db, page: { before: string | null; limit: number }): Promise<TokenRow[]> =>
  db
    .select()
    .from(tokens)
    .where(page.before === null ? undefined : lt(tokens.id, page.before))
    .orderBy(desc(tokens.id))
    .limit(page.limit)
    .all();

export const insertToken = (db: Db, row: NewToken) => db.insert(tokens).values(row) satisfies Statement;

/** Revoking twice keeps the first time. */
export const revokeToken = (db: Db, id: string, now: number) =>
  db
    .update(tokens)
    .set({ revokedAt: now })
    .where(and(eq(tokens.id, id), isNull(tokens.revokedAt))) satisfies Statement;

export const revokeHostTokens = (db: Db, hostId: string, now: number) =>
  db
    .update(tokens)
    .set({ revokedAt: now })
    .where(and(eq(tokens.hostId, hostId), isNull(tokens.revokedAt))) satisfies Statement;

/** Revokes what was to take a token's place and was never used. */
export const revokeUnusedSuccessors = (db: Db, id: string, now: number) =>
  db
    .update(tokens)
    .set({ revokedAt: now })
    .where(and(eq(tokens.replaces, id), isNull(tokens.revokedAt))) satisfies Statement;

/** Inserts a token in place of another one, unless that one was revoked: its name is NULL then, which fails the batch. */
export const insertSuccessor = (db: Db, row: Omit<NewToken, "name"> & { replaces: string }) =>
  db.insert(tokens).values({
    ...row,
    name: sql`(SELECT name FROM ${tokens} WHERE id = ${row.replaces} AND revoked_at IS NULL)`,
  }) satisfies Statement;

/** The token was used and takes nobody's place any more. Fails its batch when that was so already. */
export const confirmToken = (db: Db, hash: string) =>
  db
    .update(tokens)
    .set({
      replaces: null,
      createdAt: sql`CASE WHEN ${tokens.replaces} IS NOT NULL THEN ${tokens.createdAt} END`,
    })
    .where(eq(tokens.hash, hash)) satisfies Statement;

export async function touchToken(db: Db, id: string, now: number): Promise<void> {
  await db.update(tokens).set({ lastUsedAt: now }).where(eq(tokens.id, id));
}

/** Moves the end of a token that is good still. */
export async function prolongToken(db: Db, id: string, expiresAt: number): Promise<void> {
  await db
    .update(tokens)
    .set({ expiresAt })
    .where(and(eq(tokens.id, id), isNull(tokens.revokedAt)));
}
