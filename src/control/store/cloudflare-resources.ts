import { and, eq, sql } from "drizzle-orm";
import type { Db } from "./db.ts";
import { nameSql } from "./grants.ts";
import { cloudflareResources } from "./schema/cloudflare.ts";

export type LedgerRow = typeof cloudflareResources.$inferSelect;
export type ResourceKind = LedgerRow["kind"];
/** Whose it is: a host's, or a public hostname's. */
export type Owner = { readonly hostId: string } | { readonly hostname: string };

export interface Intent {
  readonly kind: ResourceKind;
  readonly name: string;
  readonly zoneId: string | null;
}

/**
 * Writes down what is about to be made, before it is: a creation whose answer gets lost is known by its name. What stands
 * there already stays as it is.
 */
export async function intend(db: Db, owner: Owner, intents: readonly Intent[], now: number): Promise<void> {
  const { hostId, hostname } = { hostId: null, hostname: null, ...owner };
  // As one value: D1 binds 100 to a statement, and a Worker on the Free plan may run 50 statements.
  await db.run(sql`
    INSERT OR IGNORE INTO cloudflare_resources (host_id, hostname, kind, name, zone_id, created_at)
    SELECT ${hostId}, ${hostname}, value ->> 'kind', value ->> 'name', value ->> 'zoneId', ${now}
    FROM json_each(${JSON.stringify(intents)})`);
}

/** Cloudflare's ids of what was made, by name. */
export async function noteMade(db: Db, kind: ResourceKind, made: readonly { name: string; id: string }[]) {
  if (made.length === 0) return;
  const ids = JSON.stringify(Object.fromEntries(made.map(({ name, id }) => [name, id])));
  await db
    .update(cloudflareResources)
    .set({ remoteId: sql`(SELECT value FROM json_each(${ids}) WHERE key = ${cloudflareResources.name})` })
    .where(
      and(
        eq(cloudflareResources.kind, kind),
        sql`${cloudflareResources.name} IN (SELECT key FROM json_each(${ids}))`,
      ),
    );
}

export const readLedger = (db: Db, owner: Owner): Promise<LedgerRow[]> =>
  db
    .select()
    .from(cloudflareResources)
    .where(
      "hostId" in owner
        ? eq(cloudflareResources.hostId, owner.hostId)
        : eq(cloudflareResources.hostname, owner.hostname),
    )
    .orderBy(cloudflareResources.id)
    .all();

/** They are gone at Cloudflare. */
export async function forget(db: Db, rows: readonly LedgerRow[]): Promise<void> {
  if (rows.length === 0) return;
  // As one value, because there may be more than D1 binds.
  const ids = JSON.stringify(rows.map(({ id }) => id));
  await db
    .delete(cloudflareResources)
    .where(sql`${cloudflareResources.id} IN (SELECT value FROM json_each(${ids}))`);
}

/**
 * What was made for hostnames that no environment has any more, and that nobody is just about to make. A name's record is
 * needed as long as a path of it is there.
 */
export const findOrphans = (db: Db, madeBefore: number, limit: number): Promise<LedgerRow[]> =>
  db
    .select()
    .from(cloudflareResources)
    .where(
      sql`${cloudflareResources.hostname} IS NOT NULL AND ${cloudflareResources.createdAt} < ${madeBefore}
        AND ${cloudflareResources.hostname} NOT IN (SELECT hostname FROM hostnames)
        AND NOT (${cloudflareResources.kind} = 'dns_record' AND EXISTS (SELECT 1 FROM hostnames
          WHERE ${sql.raw(nameSql("hostnames.hostname"))} = ${cloudflareResources.hostname}))`,
    )
    .limit(limit)
    .all();
