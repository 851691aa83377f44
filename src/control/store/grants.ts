import { and, asc, eq, sql } from "drizzle-orm";
import type { Db, Statement } from "./db.ts";
import { hostnameGrants, hostnames } from "./schema/hostnames.ts";

export type GrantRow = typeof hostnameGrants.$inferSelect;

export const readGrants = (db: Db, app: string) =>
  db
    .select()
    .from(hostnameGrants)
    .where(eq(hostnameGrants.app, app))
    .orderBy(asc(hostnameGrants.pattern)) satisfies Statement;

/** Of all apps, by app and pattern. */
export const listGrants = (db: Db, limit: number): Promise<GrantRow[]> =>
  db
    .select()
    .from(hostnameGrants)
    .orderBy(asc(hostnameGrants.app), asc(hostnameGrants.pattern))
    .limit(limit)
    .all();

/** One that is there already stays as it is, except that a claim is added to it. */
export const putGrant = (db: Db, row: GrantRow) =>
  db
    .insert(hostnameGrants)
    .values(row)
    .onConflictDoUpdate({
      target: [hostnameGrants.app, hostnameGrants.pattern],
      set: { claim: sql`max(claim, excluded.claim)` },
    }) satisfies Statement;

/** A pattern (a column's name) covers a hostname: `covers` of the domain, for D1. */
const coversSql = (pattern: string, hostname: string) => {
  const name = nameSql(hostname);
  return sql.raw(`(${pattern} = ${hostname} OR ${numberedSql(pattern, hostname)} OR (substr(${pattern}, 1, 2) = '*.'
    AND length(${name}) > length(${pattern}) - 1
    AND substr(${name}, 1 - length(${pattern})) = substr(${pattern}, 2))
    OR substr(${hostname}, 1, length(${pattern}) + 1) = ${pattern} || '/')`);
};

/** `pr-{number}-shop.example.com` for `pr-12-shop.example.com`: `isNumbered` of the domain, for D1. */
function numberedSql(pattern: string, hostname: string): string {
  const before = `(instr(${pattern}, '{number}') - 1)`;
  const digits = `substr(${hostname}, ${before} + 1, length(${hostname}) - length(${pattern}) + 8)`;
  return `(instr(${pattern}, '{number}') > 0 AND length(${digits}) BETWEEN 1 AND 9 AND ${digits} GLOB '[1-9]*'
    AND ${digits} NOT GLOB '*[^0-9]*' AND replace(${pattern}, '{number}', ${digits}) = ${hostname})`;
}

/** The name of a hostname that may have a path: `nameOf` of the domain, for D1. */
export const nameSql = (hostname: string): string =>
  `substr(${hostname}, 1, instr(${hostname} || '/', '/') - 1)`;

/** Whether the app has a grant for the hostname: for whoever writes one, in the very statement. */
export const isGranted = (app: string, hostname: string) =>
  sql`EXISTS (SELECT 1 FROM hostname_grants g, (SELECT ${hostname} AS name) h
    WHERE g.app = ${app} AND ${coversSql("g.pattern", "h.name")})`;

/** Whether an app may take the hostname of a row of `hostnames` from another site. */
export const isClaimed = sql<boolean>`EXISTS (SELECT 1 FROM hostname_grants g
  WHERE g.app = apps.name AND g.claim = 1 AND ${coversSql("g.pattern", "hostnames.hostname")})`.mapWith(
  Boolean,
);

/** Takes a grant back, unless a hostname of the app stands on it alone. False: nothing was taken back. */
export async function revokeGrant(db: Db, app: string, pattern: string): Promise<boolean> {
  const isNeeded = sql`EXISTS (SELECT 1 FROM hostnames h JOIN environments e ON e.id = h.environment_id
    JOIN apps a ON a.id = e.app_id WHERE a.name = ${app} AND ${coversSql("hostname_grants.pattern", "h.hostname")}
    AND NOT EXISTS (SELECT 1 FROM hostname_grants o WHERE o.app = ${app} AND o.pattern <> ${pattern}
      AND ${coversSql("o.pattern", "h.hostname")}))`;
  const revoked = await db
    .delete(hostnameGrants)
    .where(and(eq(hostnameGrants.app, app), eq(hostnameGrants.pattern, pattern), sql`NOT ${isNeeded}`))
    .returning({ pattern: hostnameGrants.pattern });
  return revoked.length > 0;
}

/** Hostnames that were left alone are looked at again at once: there is a claim now. */
export const lookAgainAt = (db: Db, names: readonly string[]) =>
  db
    .update(hostnames)
    .set({ routeNextAt: null })
    .where(
      sql`${hostnames.routeState} = 'foreign' AND ${hostnames.hostname} IN (SELECT value FROM json_each(${JSON.stringify(names)}))`,
    ) satisfies Statement;
