import { asc, eq, sql } from "drizzle-orm";
import type { Db, Statement } from "../db.ts";
import { accessSettings, peopleGrants, peopleLinks } from "../schema/people.ts";

export type GrantRow = typeof peopleGrants.$inferSelect;
export type LinkRow = typeof peopleLinks.$inferSelect;
export type AccessRow = Omit<typeof accessSettings.$inferSelect, "id">;

/** Beyond what one page of settings shows. */
export const MOST_GRANTS = 1_000;

export const listGrants = (db: Db): Promise<GrantRow[]> =>
  db.select().from(peopleGrants).orderBy(asc(peopleGrants.who)).limit(MOST_GRANTS).all();

/** What these names are granted, all together. */
export const grantsOf = (db: Db, names: readonly string[]): Promise<GrantRow[]> =>
  db
    .select()
    .from(peopleGrants)
    .where(sql`${peopleGrants.who} IN (SELECT value FROM json_each(${JSON.stringify(names)}))`)
    .all();

export const readGrant = (db: Db, id: string): Promise<GrantRow | undefined> =>
  db.select().from(peopleGrants).where(eq(peopleGrants.id, id)).get();

export const insertGrant = (db: Db, row: GrantRow) => db.insert(peopleGrants).values(row) satisfies Statement;

export const deleteGrant = (db: Db, id: string) =>
  db.delete(peopleGrants).where(eq(peopleGrants.id, id)) satisfies Statement;

export const listLinks = (db: Db): Promise<LinkRow[]> =>
  db.select().from(peopleLinks).orderBy(asc(peopleLinks.email)).limit(MOST_GRANTS).all();

export const readLink = (db: Db, identity: string): Promise<LinkRow | undefined> =>
  db.select().from(peopleLinks).where(eq(peopleLinks.identity, identity)).get();

/** An account is one person's: linked to another, it leaves the one before. */
export const putLink = (db: Db, row: LinkRow) =>
  db
    .insert(peopleLinks)
    .values(row)
    .onConflictDoUpdate({
      target: peopleLinks.identity,
      set: { email: row.email, createdAt: row.createdAt, createdBy: row.createdBy },
    }) satisfies Statement;

export const deleteLink = (db: Db, identity: string) =>
  db.delete(peopleLinks).where(eq(peopleLinks.identity, identity)) satisfies Statement;

/** The identities, and all others that are linked with them: an account with its person, a person with their accounts. */
export async function allIdentities(db: Db, identities: readonly string[]): Promise<string[]> {
  const known = JSON.stringify(identities);
  const links = await db.all<{ identity: string; email: string }>(sql`
    SELECT identity, email FROM people_links WHERE email IN (
      SELECT substr(value, 8) FROM json_each(${known}) WHERE value LIKE 'person:%'
      UNION SELECT email FROM people_links WHERE identity IN (SELECT value FROM json_each(${known})))`);
  const more = links.flatMap(({ identity, email }) => [identity, `person:${email}`]);
  return [...new Set([...identities, ...more])];
}

export const readAccess = (db: Db): Promise<AccessRow | undefined> => db.select().from(accessSettings).get();

export const putAccess = (db: Db, row: AccessRow) =>
  db
    .insert(accessSettings)
    .values({ id: 1, ...row })
    .onConflictDoUpdate({ target: accessSettings.id, set: row }) satisfies Statement;

export const deleteAccess = (db: Db) => db.delete(accessSettings) satisfies Statement;
