import { and, asc, desc, eq, gt, inArray, isNull, lt, ne, or, type SQL, sql } from "drizzle-orm";
import { registeredName, wildcardsOver } from "../../domain/routing/hostname.ts";
import { type AccessoryRow, readAccessories } from "./accessories.ts";
import type { Db } from "./db.ts";
import { nameSql } from "./grants.ts";
import { apps } from "./schema/apps.ts";
import { environments } from "./schema/environments.ts";
import { hostnames } from "./schema/hostnames.ts";
import { hosts } from "./schema/hosts.ts";
import { instances } from "./schema/instances.ts";
import { releases } from "./schema/releases.ts";
import { slots } from "./schema/slots.ts";
import { type SecretFacts, selectSecrets } from "./secrets.ts";

/** What the API's answers are made from: reads only, of nouns that other files write. */
export type AppRow = typeof apps.$inferSelect;
type EnvironmentRow = typeof environments.$inferSelect;
export type ReleaseRow = typeof releases.$inferSelect;
export type InstanceRow = Awaited<ReturnType<typeof selectInstances>>[number];

export interface EnvironmentStatus {
  readonly app: string;
  readonly environment: EnvironmentRow;
  readonly hostnames: readonly string[];
  /** Of those that Cloudflare was asked about. */
  readonly routes: readonly HostnameRoute[];
  /** Unfinished ones, those with instances, the stable one, the one a rollback would return to and the newest. Newest first. */
  readonly releases: readonly ReleaseRow[];
  /** Those not stopped. */
  readonly instances: readonly InstanceRow[];
  /** Containers of workers that are not stopped. */
  readonly workers: readonly WorkerRow[];
  readonly secrets: readonly SecretFacts[];
  readonly accessories: readonly AccessoryRow[];
}
type WorkerRow = Awaited<ReturnType<typeof selectWorkers>>[number];
interface HostnameRoute {
  readonly hostname: string;
  readonly state: "pending" | "ready" | "foreign";
  readonly cause: string | null;
}
export interface ReleaseStatus {
  readonly app: string;
  readonly environment: EnvironmentRow;
  readonly release: ReleaseRow;
  readonly instances: readonly InstanceRow[];
}

/** An instance with the names a person knows it by. */
export const selectInstances = (db: Db) =>
  db
    .select({
      id: instances.id,
      environmentId: instances.environmentId,
      releaseId: instances.releaseId,
      version: releases.version,
      hostId: instances.hostId,
      hostName: hosts.name,
      hostSeenAt: hosts.lastSeenAt,
      hostRemoved: sql<boolean>`${hosts.removedAt} IS NOT NULL`.mapWith(Boolean),
      slotId: sql<string>`${instances.slotId}`.as("slot_id"),
      slot: slots.n,
      hostPort: slots.hostPort,
      origin: slots.origin,
      state: instances.state,
      stateSince: instances.stateSince,
      drainUntil: instances.drainUntil,
      verifiedAt: instances.verifiedAt,
      verifyCause: instances.verifyCause,
      unreachableSince: instances.unreachableSince,
      reportState: instances.reportState,
      reportCause: instances.reportCause,
      exits: instances.exits,
      outages: instances.outages,
      reportAt: instances.reportAt,
      secretVersions: instances.secretVersions,
      stoppedAt: instances.stoppedAt,
    })
    .from(instances)
    .innerJoin(releases, eq(releases.id, instances.releaseId))
    .innerJoin(hosts, eq(hosts.id, instances.hostId))
    .innerJoin(slots, eq(slots.id, instances.slotId))
    .orderBy(asc(hosts.name), asc(slots.n))
    .$dynamic();

const selectWorkers = (db: Db, environments: SQL) =>
  db
    .select({
      environmentId: instances.environmentId,
      releaseId: instances.releaseId,
      process: instances.process,
      state: instances.state,
      reportState: instances.reportState,
    })
    .from(instances)
    .where(
      sql`${instances.environmentId} IN ${environments} AND ${instances.stoppedAt} IS NULL AND ${instances.process} IS NOT NULL`,
    );

/** Apps by name, after the cursor's. */
export const listApps = (
  db: Db,
  page: { after: string | null; limit: number; only: string | null },
): Promise<AppRow[]> =>
  db
    .select()
    .from(apps)
    .where(
      and(
        // One that was destroyed has given its name back.
        sql`${apps.name} NOT LIKE '%~%'`,
        page.after === null ? undefined : gt(apps.name, page.after),
        page.only === null ? undefined : eq(apps.name, page.only),
      ),
    )
    .orderBy(asc(apps.name))
    .limit(page.limit)
    .all();

export const readApp = (db: Db, name: string): Promise<AppRow | undefined> =>
  db.select().from(apps).where(eq(apps.name, name)).get();

/** Apps by id or by name; null or absent: all of their environments. */
type Wanted = ({ readonly apps: readonly string[] } | { readonly app: string }) & {
  readonly environment?: string | null;
};

/** The living environments of some apps, all that a status says of them, in one trip. */
export async function readEnvironments(db: Db, of: Wanted): Promise<EnvironmentStatus[]> {
  const named = of.environment ? sql`AND name = ${of.environment}` : sql``;
  const ofApps =
    "app" in of
      ? sql`(SELECT id FROM apps WHERE name = ${of.app})`
      : sql`(SELECT value FROM json_each(${JSON.stringify(of.apps)}))`;
  const ids = sql`(SELECT id FROM environments WHERE deleted_at IS NULL ${named} AND app_id IN ${ofApps})`;
  const [rows, [names, releaseRows, workerRows, secretRows], instanceRows, accessoryRows] = await Promise.all(
    [
      db
        .select({ app: apps.name, environment: environments })
        .from(environments)
        .innerJoin(apps, eq(apps.id, environments.appId))
        .where(sql`${environments.id} IN ${ids}`)
        .orderBy(asc(apps.name), asc(environments.name)),
      // Of one table each, as batches answer rows by column name; an invocation has six connections at a time.
      db.batch([
        db
          .select()
          .from(hostnames)
          .where(sql`${hostnames.environmentId} IN ${ids}`)
          .orderBy(asc(hostnames.hostname)),
        db
          .select()
          .from(releases)
          .where(and(sql`${releases.environmentId} IN ${ids}`, isRelevant))
          .orderBy(desc(releases.createdAt), desc(releases.id)),
        selectWorkers(db, ids),
        selectSecrets(db, ids),
      ]),
      selectInstances(db).where(sql`${instances.environmentId} IN ${ids} AND ${instances.stoppedAt} IS NULL`),
      readAccessories(db, ids),
    ],
  );
  return rows.map(({ app, environment }) => ({
    app,
    environment,
    hostnames: names.filter((row) => row.environmentId === environment.id).map((row) => row.hostname),
    routes: names.flatMap(({ environmentId, hostname, routeState: state, routeCause: cause }) =>
      environmentId === environment.id && state !== null ? [{ hostname, state, cause }] : [],
    ),
    releases: releaseRows.filter((row) => row.environmentId === environment.id),
    instances: instanceRows.filter((row) => row.environmentId === environment.id),
    workers: workerRows.filter((row) => row.environmentId === environment.id),
    secrets: secretRows.filter((row) => row.environmentId === environment.id),
    accessories: accessoryRows.filter((row) => row.environmentId === environment.id),
  }));
}

export const readEnvironment = async (
  db: Db,
  app: string,
  environment: string,
): Promise<EnvironmentStatus | undefined> => (await readEnvironments(db, { app, environment }))[0];

/** The id alone, where a coordinator is all that is wanted. */
export async function findEnvironment(db: Db, app: string, environment: string): Promise<string | undefined> {
  const [row] = await db
    .select({ id: environments.id })
    .from(environments)
    .innerJoin(apps, eq(apps.id, environments.appId))
    .where(and(eq(apps.name, app), eq(environments.name, environment), isNull(environments.deletedAt)));
  return row?.id;
}

const isRelevant = or(
  sql`${releases.state} IN
    ('queued', 'preparing', 'starting', 'verifying', 'shifting', 'settling', 'rolling_back', 'live')`,
  sql`${releases.id} IN (SELECT release_id FROM instances i
    WHERE i.environment_id = ${releases.environmentId} AND i.stopped_at IS NULL)`,
  sql`${releases.id} = (SELECT stable_release_id FROM environments e WHERE e.id = ${releases.environmentId})`,
  sql`${releases.id} IN (SELECT r.id FROM releases r WHERE r.environment_id = ${releases.environmentId}
    AND r.state = 'superseded' AND r.serving_at IS NOT NULL ORDER BY r.ended_at DESC, r.created_at DESC LIMIT 2)`,
  // Past it nothing older can serve: a rollback is refused by it, and status says so.
  sql`${releases.id} IN (SELECT r.id FROM releases r WHERE r.environment_id = ${releases.environmentId}
    AND r.contracted_at IS NOT NULL ORDER BY r.serving_at DESC LIMIT 1)`,
  sql`${releases.id} = (SELECT r.id FROM releases r WHERE r.environment_id = ${releases.environmentId}
    ORDER BY r.created_at DESC, r.id DESC LIMIT 1)`,
);

const release = (db: Db) =>
  db
    .select({ app: apps.name, environment: environments, release: releases })
    .from(releases)
    .innerJoin(environments, eq(environments.id, releases.environmentId))
    .innerJoin(apps, eq(apps.id, environments.appId))
    .$dynamic();

export async function readRelease(db: Db, id: string): Promise<ReleaseStatus | undefined> {
  const [rows, instanceRows] = await Promise.all([
    release(db).where(eq(releases.id, id)),
    selectInstances(db).where(eq(instances.releaseId, id)),
  ]);
  const row = rows[0];
  return row ? { ...row, instances: instanceRows } : undefined;
}

export interface ReleasePage {
  readonly environmentId: string;
  readonly before: { readonly createdAt: number; readonly id: string } | null;
  readonly limit: number;
}

/** An environment's releases, newest first. */
export async function listReleases(db: Db, page: ReleasePage): Promise<ReleaseStatus[]> {
  const { before } = page;
  const rows = await release(db)
    .where(and(eq(releases.environmentId, page.environmentId), before ? isOlder(before) : undefined))
    .orderBy(desc(releases.createdAt), desc(releases.id))
    .limit(page.limit);
  const ids = JSON.stringify(rows.map((row) => row.release.id));
  const live = await selectInstances(db).where(
    sql`${instances.releaseId} IN (SELECT value FROM json_each(${ids})) AND ${instances.stoppedAt} IS NULL`,
  );
  return rows.map((row) => ({ ...row, instances: live.filter((i) => i.releaseId === row.release.id) }));
}

const isOlder = (before: { createdAt: number; id: string }): SQL | undefined =>
  or(
    lt(releases.createdAt, before.createdAt),
    and(eq(releases.createdAt, before.createdAt), lt(releases.id, before.id)),
  );

/** Which of these labels or ids name a release of the environment, newest first: that is the one which a label means. */
export const findReleases = (db: Db, environmentId: string, keys: readonly string[]) => {
  const named = sql`(SELECT value FROM json_each(${JSON.stringify(keys)}))`;
  return db
    .select({ id: releases.id, version: releases.version })
    .from(releases)
    .where(
      // Two searches and no OR: that would read all releases of the environment.
      sql`${releases.id} IN (SELECT id FROM releases WHERE version IN ${named} AND environment_id = ${environmentId}
        UNION SELECT id FROM releases WHERE id IN ${named} AND +environment_id = ${environmentId})`,
    )
    .orderBy(desc(releases.createdAt), desc(releases.id))
    .all();
};

/** The release that a request with this key made. */
export async function findRequested(
  db: Db,
  environmentId: string,
  requestKey: string,
): Promise<string | undefined> {
  const row = await db
    .select({ id: releases.id })
    .from(releases)
    .where(and(eq(releases.environmentId, environmentId), eq(releases.requestKey, requestKey)))
    .get();
  return row?.id;
}

/** Where a hostname leads. */
export interface Resolution {
  /** The environment, and by which of its hostnames: the name itself, else the longest wildcard over it. */
  readonly owner: { readonly environment: string; readonly name: string } | null;
  /** Sites with a path below it: `shop.example.com/api`. */
  readonly paths: readonly string[];
}

export async function resolveHostname(db: Db, hostname: string): Promise<Resolution> {
  const rows = await db
    .select({ environment: hostnames.environmentId, name: hostnames.hostname })
    .from(hostnames)
    .innerJoin(environments, eq(environments.id, hostnames.environmentId))
    .where(
      and(
        or(
          inArray(hostnames.hostname, [hostname, ...wildcardsOver(hostname).slice(0, MOST_LABELS)]),
          and(gt(hostnames.hostname, `${hostname}/`), lt(hostnames.hostname, `${hostname}0`)),
        ),
        isNull(environments.deletedAt),
      ),
    )
    .all();
  const names = rows.map((row) => row.name);
  const name = registeredName(names, hostname);
  const paths = hostname.includes("/") ? [] : names.filter((site) => site.startsWith(`${hostname}/`));
  return { owner: rows.find((row) => row.name === name) ?? null, paths };
}

/** A statement has a hundred parameters, and no name people use has so many labels. */
const MOST_LABELS = 20;

/** The hostnames below a wildcard that environments have for themselves. */
export async function hostnamesBelow(db: Db, wildcard: string): Promise<string[]> {
  const name = sql<string>`${sql.raw(nameSql("hostnames.hostname"))}`;
  const rows = await db
    .selectDistinct({ name })
    .from(hostnames)
    .innerJoin(environments, eq(environments.id, hostnames.environmentId))
    .where(
      and(
        sql`substr(${name}, ${-(wildcard.length - 1)}) = ${wildcard.slice(1)}`,
        ne(hostnames.hostname, wildcard),
        isNull(environments.deletedAt),
      ),
    )
    .all();
  return rows.map((row) => row.name);
}

/** Those of the hostnames that another environment has by now. */
export async function hostnamesOfOthers(
  db: Db,
  names: readonly string[],
  environment: string,
): Promise<Set<string>> {
  if (names.length === 0) return new Set();
  const rows = await db
    .select({ name: hostnames.hostname })
    .from(hostnames)
    .innerJoin(environments, eq(environments.id, hostnames.environmentId))
    .where(
      and(
        sql`${hostnames.hostname} IN (SELECT value FROM json_each(${JSON.stringify(names)}))`,
        ne(hostnames.environmentId, environment),
        isNull(environments.deletedAt),
      ),
    )
    .all();
  return new Set(rows.map(({ name }) => name));
}
