import { and, eq, sql } from "drizzle-orm";
import type { EnvironmentSpec } from "../../domain/spec.ts";
import { type AccessoryRow, readAccessories } from "./accessories.ts";
import type { Db, Statement } from "./db.ts";
import { type GrantRow, isGranted, readGrants } from "./grants.ts";
import { apps } from "./schema/apps.ts";
import { environments } from "./schema/environments.ts";
import { hostnames } from "./schema/hostnames.ts";

export type AppRow = typeof apps.$inferSelect;
export type EnvironmentRow = typeof environments.$inferSelect;

/** What applying a manifest starts from. Deleted environments are in it: their rows come back to life under their name. */
export interface AppState {
  readonly app: AppRow | undefined;
  readonly environments: readonly EnvironmentRow[];
  /** Owners of the hostnames asked about, of those that these are paths of, and of all that belong to this app. */
  readonly owners: readonly HostnameOwner[];
  readonly accessories: readonly AccessoryRow[];
  readonly grants: readonly GrantRow[];
}
interface HostnameOwner {
  readonly hostname: string;
  readonly environmentId: string;
  readonly app: string;
  readonly environment: string;
}

export async function readAppState(db: Db, name: string, wanted: readonly string[]): Promise<AppState> {
  const [appRows, environmentRows, owners, accessories, grants] = await Promise.all([
    db.select().from(apps).where(eq(apps.name, name)),
    db
      .select()
      .from(environments)
      .where(sql`${environments.appId} = (SELECT id FROM apps WHERE name = ${name})`),
    db
      .select({
        hostname: hostnames.hostname,
        environmentId: hostnames.environmentId,
        app: apps.name,
        environment: environments.name,
      })
      .from(hostnames)
      .innerJoin(environments, eq(environments.id, hostnames.environmentId))
      .innerJoin(apps, eq(apps.id, environments.appId))
      .where(
        sql`${apps.name} = ${name} OR EXISTS (SELECT 1 FROM json_each(${JSON.stringify(wanted)})
          WHERE value = ${hostnames.hostname} OR substr(value, 1, length(${hostnames.hostname}) + 1) = ${hostnames.hostname} || '/')`,
      ),
    readAccessories(
      db,
      sql`(SELECT e.id FROM environments e JOIN apps a ON a.id = e.app_id WHERE a.name = ${name})`,
    ),
    readGrants(db, name),
  ]);
  return { app: appRows[0], environments: environmentRows, owners, accessories, grants };
}

export interface LiveUse {
  readonly environment: string;
  readonly instances: number;
  readonly hosts: string;
  readonly releases: number;
  /** Names. */
  readonly accessories: string;
}

/** What still runs or is on its way in these environments. Raw, because drizzle drops the table's name in a selection. */
export const readLiveUse = (db: Db, ids: readonly string[]): Promise<LiveUse[]> =>
  db.all<LiveUse>(sql`
    SELECT e.name AS environment,
      (SELECT coalesce(group_concat(c.name), '') FROM accessories c WHERE c.environment_id = e.id) AS accessories,
      (SELECT count(*) FROM instances i WHERE i.environment_id = e.id AND i.stopped_at IS NULL) AS instances,
      (SELECT coalesce(group_concat(DISTINCT h.name), '') FROM instances i JOIN hosts h ON h.id = i.host_id
        WHERE i.environment_id = e.id AND i.stopped_at IS NULL) AS hosts,
      (SELECT count(*) FROM releases r WHERE r.environment_id = e.id AND r.state IN
        ('queued', 'preparing', 'starting', 'verifying', 'shifting', 'settling', 'rolling_back')) AS releases
    FROM environments e WHERE e.id IN (SELECT value FROM json_each(${JSON.stringify(ids)}))`);

export const insertApp = (db: Db, row: AppRow) => db.insert(apps).values(row) satisfies Statement;

/** Replaces the manifest, if nobody else did since: a miss sets NULL, and so fails the whole batch. */
export const replaceManifest = (db: Db, app: AppRow, manifest: string, now: number) =>
  db
    .update(apps)
    .set({
      manifest: sql`CASE WHEN ${apps.updatedAt} = ${app.updatedAt} THEN ${manifest} END`,
      updatedAt: Math.max(now, app.updatedAt + 1),
    })
    .where(eq(apps.id, app.id)) satisfies Statement;

export const insertEnvironment = (db: Db, row: EnvironmentRow) =>
  db.insert(environments).values(row) satisfies Statement;

/**
 * Writes an environment's spec (and brings it back if it was deleted), if its coordinator wrote nothing since: a miss
 * sets `rev` NULL, and so fails the whole batch. So does deleting one of which an accessory was started meanwhile.
 */
export const replaceSpec = (
  db: Db,
  row: EnvironmentRow,
  next: { spec: EnvironmentSpec; deletedAt: number | null },
) =>
  db
    .update(environments)
    .set({
      ...next,
      rev: sql`CASE WHEN ${environments.rev} = ${row.rev} AND (${next.deletedAt} IS NULL OR NOT EXISTS
        (SELECT 1 FROM accessories c WHERE c.environment_id = ${row.id})) THEN ${row.rev + 1} END`,
    })
    .where(eq(environments.id, row.id)) satisfies Statement;

export const deleteHostnames = (db: Db, environmentId: string, keep: readonly string[]) =>
  db
    .delete(hostnames)
    .where(
      and(
        eq(hostnames.environmentId, environmentId),
        sql`${hostnames.hostname} NOT IN (SELECT value FROM json_each(${JSON.stringify(keep)}))`,
      ),
    ) satisfies Statement;

/** Only where the app has a grant for it: one that was taken back meanwhile makes this NULL, and so fails the whole batch. */
export const insertHostname = (db: Db, hostname: string, at: { environmentId: string; app: string }) =>
  db.insert(hostnames).values({
    hostname,
    environmentId: sql`CASE WHEN ${isGranted(at.app, hostname)} THEN ${at.environmentId} END`,
  }) satisfies Statement;
