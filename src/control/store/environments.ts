import { and, desc, eq, getTableColumns, gt, inArray, isNull, or, sql } from "drizzle-orm";
import type { Routable } from "../../domain/rollout/compile-table.ts";
import type { EnvironmentFacts, InstanceFacts, JobFacts } from "../../domain/rollout/facts.ts";
import type { ReleaseFacts } from "../../domain/rollout/release.ts";
import type { EnvironmentSpec } from "../../domain/spec.ts";
import type { Db } from "./db.ts";
import { accessories, apps, environments, hosts, instances, jobs, releases, slots } from "./schema.ts";

/** All that are open, have traffic or instances, and as many of the newest others: a rollback may name them. */
const RELEASES_IN_VIEW = 50;

/**
 * Reads an environment whole, in one round trip (two when a release waits to be placed). Undefined: no such environment.
 * In a batch D1 answers rows as objects by column name, so a join must give each column a name of its own.
 */
export async function loadEnvironment(
  db: Db,
  id: string,
  options: { readonly withHosts?: boolean } = {},
): Promise<Routable | undefined> {
  const live = db
    .select({ id: instances.id })
    .from(instances)
    .where(and(eq(instances.environmentId, id), isNull(instances.stoppedAt)));
  const liveReleases = db
    .select({ id: instances.releaseId })
    .from(instances)
    .where(and(eq(instances.environmentId, id), isNull(instances.stoppedAt)));
  const openReleases = db
    .select({ id: releases.id })
    .from(releases)
    .where(and(eq(releases.environmentId, id), isNull(releases.endedAt)));
  const inUse = sql`${or(isNull(releases.endedAt), gt(releases.weightBp, 0), inArray(releases.id, liveReleases))}`;
  const [environmentRows, releaseRows, instanceRows, jobRows] = await db.batch([
    db
      .select({ ...getTableColumns(environments), app: sql<string>`${apps.name}`.as("app_name") })
      .from(environments)
      .innerJoin(apps, eq(apps.id, environments.appId))
      .where(eq(environments.id, id)),
    db
      .select()
      .from(releases)
      .where(eq(releases.environmentId, id))
      .orderBy(desc(inUse), desc(releases.createdAt))
      .limit(RELEASES_IN_VIEW),
    db
      .select({
        ...getTableColumns(instances),
        hostName: sql<string>`${hosts.name}`.as("host_name"),
        hostSeenAt: sql<number | null>`${hosts.lastSeenAt}`.as("host_seen_at"),
        hostRemovedAt: sql<number | null>`${hosts.removedAt}`.as("host_removed_at"),
        slot: sql<number>`${slots.n}`.as("slot_n"),
        hostPort: slots.hostPort,
        origin: slots.origin,
      })
      .from(instances)
      .innerJoin(slots, eq(slots.id, instances.slotId))
      .innerJoin(hosts, eq(hosts.id, instances.hostId))
      .where(and(eq(instances.environmentId, id), isNull(instances.stoppedAt)))
      .orderBy(instances.id),
    db
      .select()
      .from(jobs)
      .where(
        and(
          eq(jobs.environmentId, id),
          or(
            isNull(jobs.finishedAt),
            inArray(jobs.releaseId, openReleases),
            inArray(jobs.instanceId, live),
            // A hook of a live release: whether it was run decides whether it may be.
            and(eq(jobs.kind, "run"), inArray(jobs.releaseId, liveReleases)),
          ),
        ),
      )
      .orderBy(jobs.createdAt),
  ]);
  const [environment] = environmentRows;
  if (!environment || environment.deletedAt !== null) return undefined;
  // Those that look for slots: a queued release all at once, a rolling one as it goes, forth and back.
  const waiting = releaseRows.filter(
    ({ state, spec }) =>
      state === "queued" ||
      (spec.strategy.kind === "rolling" &&
        (state === "preparing" || state === "shifting" || state === "rolling_back")),
  );
  const specs = [environment.spec, ...waiting.map((release) => release.spec)];
  const facts: EnvironmentFacts = {
    id,
    app: environment.app,
    name: environment.name,
    spec: environment.spec,
    rev: environment.rev,
    fence: environment.fence,
    stableReleaseId: environment.stableReleaseId,
    nextVersion: environment.nextVersion,
    held: environment.held,
    analysis: null,
    releases: releaseRows.sort((a, b) => b.createdAt - a.createdAt) satisfies ReleaseFacts[],
    instances: instanceRows.map(({ hostRemovedAt, ...row }) => ({
      ...row,
      hostRemoved: hostRemovedAt !== null,
    })) satisfies InstanceFacts[],
    jobs: jobRows.flatMap(toJob),
    ...(waiting.length > 0 || options.withHosts
      ? await loadHosts(db, id, specs)
      : { hosts: [], accessories: [] }),
  };
  return { facts, salt: environment.salt, previewKey: environment.previewKey, mode: environment.mode };
}

/** Jobs of releases only: accessories and log streams are no business of the coordinator. */
function toJob(row: typeof jobs.$inferSelect): JobFacts[] {
  const { kind, releaseId } = row;
  if (kind === "accessory" || kind === "logs" || releaseId === null) return [];
  // Written by routes/agent after parsing with the protocol's schemas, and by nobody else.
  const result = row.result as JobFacts["result"];
  return [{ ...row, kind, releaseId, result, error: row.error as JobFacts["error"] }];
}

/** Hosts that carry all labels of at least one of the specs, with their slots; and where the accessories are. */
async function loadHosts(
  db: Db,
  environmentId: string,
  specs: readonly EnvironmentSpec[],
): Promise<Pick<EnvironmentFacts, "hosts" | "accessories">> {
  // Written out: in a selection of one table drizzle drops the names of tables.
  const occupied = sql<number>`EXISTS (SELECT 1 FROM instances WHERE instances.slot_id = slots.id AND instances.stopped_at IS NULL)`;
  const [hostRows, slotRows, homes] = await db.batch([
    db.select().from(hosts).where(isNull(hosts.removedAt)).orderBy(hosts.name),
    db
      .select({ ...getTableColumns(slots), occupied: occupied.as("occupied") })
      .from(slots)
      .orderBy(slots.n),
    db
      .select({
        name: accessories.name,
        hostId: accessories.hostId,
        hostName: sql<string>`${hosts.name}`.as("host_name"),
      })
      .from(accessories)
      .innerJoin(hosts, eq(hosts.id, accessories.hostId))
      .where(eq(accessories.environmentId, environmentId)),
  ]);
  const found = hostRows
    .filter((host) =>
      specs.some((spec) => Object.entries(spec.hosts).every(([key, value]) => host.labels[key] === value)),
    )
    .map((host) => ({
      id: host.id,
      name: host.name,
      lastSeenAt: host.lastSeenAt,
      slots: slotRows
        .filter((slot) => slot.hostId === host.id)
        .map((slot) => ({ ...slot, occupied: slot.occupied === 1 })),
    }));
  return { hosts: found, accessories: homes };
}
