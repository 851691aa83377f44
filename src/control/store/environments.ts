import { and, eq, getTableColumns, isNull, type SQL, sql } from "drizzle-orm";
import type { BatchResponse } from "drizzle-orm/batch";
import { isOnline } from "../../domain/host-online.ts";
import type { RunFacts } from "../../domain/processes/run.ts";
import type { EnvironmentFacts, InstanceFacts, JobFacts, WorkerFacts } from "../../domain/rollout/facts.ts";
import { hasLabels } from "../../domain/rollout/placing/placement.ts";
import type { ReleaseFacts } from "../../domain/rollout/release.ts";
import type { Routable } from "../../domain/rollout/table/compile-table.ts";
import type { EnvironmentSpec } from "../../domain/spec.ts";
import { type Db, runBatch } from "./db.ts";
import { due, type Owed } from "./outbox.ts";
import { accessories } from "./schema/accessories.ts";
import { apps } from "./schema/apps.ts";
import { tunnels } from "./schema/cloudflare.ts";
import { controlClock } from "./schema/control-clock.ts";
import { environments } from "./schema/environments.ts";
import { hosts } from "./schema/hosts.ts";
import { instances } from "./schema/instances.ts";
import { jobs } from "./schema/jobs.ts";
import { releases } from "./schema/releases.ts";
import { runs } from "./schema/runs.ts";
import { slots } from "./schema/slots.ts";
import type { ControlClock } from "./upkeep/clock.ts";

/** Beside all that are in use: the newest, and those that served last: a rollback may name them. */
const NEWEST_IN_VIEW = 20;
const SERVED_IN_VIEW = 20;

export interface LoadedEnvironment extends Routable {
  /** Undefined: control has never swept. */
  readonly clock: ControlClock | undefined;
  /** When the first of its resting slots may go back to the pool. */
  readonly restedAt: number | null;
  /** What committed decisions owe the world, of what is due. */
  readonly owed: readonly Owed[];
}

export interface LoadOptions {
  /** Hosts too, though nothing waits to be placed. */
  readonly withHosts?: boolean;
  /** Something is to be placed, most likely: hosts come in the same trip, and are dropped where nothing is. */
  readonly isPlacing?: boolean;
  /** A release that somebody names, by id or label: in view however old it is. */
  readonly named?: string | null | undefined;
  /** Then what is owed by now is read, too, and hosts where an instance is to be replaced. Epoch ms. */
  readonly now?: number;
}

/** Reads an environment whole. Undefined: no such environment. */
export async function loadEnvironment(
  db: Db,
  id: string,
  options: LoadOptions = {},
): Promise<LoadedEnvironment | undefined> {
  const { statements, read } = reading(db, id, options);
  return read(await runBatch(db, statements));
}

/** What a trip reads at once: each is a dozen statements. */
const WHOLE_AT_ONCE = 10;

/** Reads several environments whole, those that are there, in few trips. With hosts: else each may take one more. */
export async function loadEnvironments(
  db: Db,
  ids: readonly string[],
  options: LoadOptions & { readonly withHosts: true },
): Promise<LoadedEnvironment[]> {
  const loaded: LoadedEnvironment[] = [];
  for (let from = 0; from < ids.length; from += WHOLE_AT_ONCE) {
    const each = ids.slice(from, from + WHOLE_AT_ONCE).map((id) => reading(db, id, options));
    const rows = [
      ...(await runBatch(
        db,
        each.flatMap(({ statements }) => statements),
      )),
    ];
    for (const { statements, read } of each) {
      const one = await read(rows.splice(0, statements.length));
      if (one) loaded.push(one);
    }
  }
  return loaded;
}

/**
 * The statements that read an environment whole, and what is made of their answers: alone, or in one trip with what is
 * written before. Each tick does: every part of it has an index, so that what is over costs nothing, however much of it there is.
 * Where something is to be placed and the hosts were not read, that is one trip more.
 * In a batch D1 answers rows as objects by column name, so a join must give each column a name of its own.
 */
export function reading(db: Db, id: string, options: LoadOptions = {}) {
  const facts = statementsOf(db, id, options);
  const withPlaces = options.withHosts || options.isPlacing;
  const places = withPlaces ? selectPlaces(db, id) : [];
  return {
    statements: [...facts, ...places],
    // In the order of the statements.
    read: (rows: readonly unknown[]) => {
      const found = withPlaces ? (rows.slice(facts.length) as unknown as Places) : undefined;
      return assemble(db, { id, options, found }, rows as BatchResponse<typeof facts>);
    },
  };
}

const statementsOf = (db: Db, id: string, { named = null, now = 0 }: LoadOptions) =>
  [
    selectEnvironment(db, id),
    db
      .select()
      .from(releases)
      .where(
        sql`${releases.id} IN (${releasesInUse(id)}) OR ${releases.id} IN (${releasesToGoBackTo(id, named)})`,
      ),
    selectLiveInstances(db, id),
    db
      .select()
      .from(jobs)
      .where(sql`${jobs.id} IN (${jobsInView(id)})`)
      .orderBy(jobs.createdAt),
    db.select().from(controlClock),
    selectRest(db, id),
    db
      .select()
      .from(runs)
      .where(and(eq(runs.environmentId, id), isNull(runs.endedAt)))
      .orderBy(runs.createdAt, runs.id),
    due(db, id, now),
  ] as const;

type Places = BatchResponse<ReturnType<typeof selectPlaces>>;

async function assemble(
  db: Db,
  { id, options, found }: { id: string; options: LoadOptions; found: Places | undefined },
  rows: BatchResponse<ReturnType<typeof statementsOf>>,
): Promise<LoadedEnvironment | undefined> {
  const [environmentRows, releaseRows, instanceRows, jobRows, clockRows, rests, runRows, owed] = rows;
  const { now = 0 } = options;
  const [environment] = environmentRows;
  if (!environment || environment.deletedAt !== null) return undefined;
  const waiting = releaseRows.filter(looksForSlots);
  // Workers are placed whenever one is missing, of whichever release takes the traffic in this very decision.
  const up = new Set(instanceRows.map(({ releaseId }) => releaseId));
  const own = releaseRows.filter(
    ({ id: one, endedAt }) => endedAt === null || one === environment.stableReleaseId || up.has(one),
  );
  const hasProcesses = own.some(({ spec }) => Object.keys(spec.processes ?? {}).length > 0);
  const isPlaced =
    waiting.length > 0 ||
    options.withHosts ||
    hasProcesses ||
    runRows.length > 0 ||
    jobRows.some(isPortTaken) ||
    (now > 0 && isShort(releaseRows, instanceRows, now));
  const weighted = releaseRows.filter(({ weightBp }) => weightBp > 0);
  const specs = [environment.spec, ...[...waiting, ...weighted].map((release) => release.spec)];
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
    ending: environment.ending,
    analysis: null,
    releases: releaseRows.sort((a, b) => b.createdAt - a.createdAt) satisfies ReleaseFacts[],
    instances: instanceRows.flatMap(toInstance),
    workers: instanceRows.flatMap(toWorker),
    runs: runRows satisfies RunFacts[],
    schedules: environment.schedules,
    jobs: jobRows.flatMap(toJob),
    ...(isPlaced
      ? placesOf(found ?? (await db.batch(selectPlaces(db, id))), specs)
      : { hosts: [], accessories: [] }),
  };
  const { salt, previewKey, mode } = environment;
  return { facts, salt, previewKey, mode, clock: clockRows[0], restedAt: rests[0]?.restedAt ?? null, owed };
}

/** Another slot is to be found. */
const isPortTaken = ({ kind, state, error }: typeof jobs.$inferSelect): boolean =>
  kind === "start" && state === "failed" && error?.code === "port_in_use";

/** Whether a release that serves has fewer instances to count on than it wants, so that others are looked for. */
function isShort(
  releaseRows: readonly ReleaseFacts[],
  rows: readonly (Pick<InstanceFacts, "releaseId" | "state" | "reportState" | "hostSeenAt"> & {
    hostDraining: string | null;
  })[],
  now: number,
): boolean {
  const counts = ({ reportState, hostSeenAt, hostDraining, state }: (typeof rows)[number]) =>
    ["serving", "ready", "starting"].includes(state) &&
    reportState !== "gone" &&
    hostDraining === null &&
    isOnline({ lastSeenAt: hostSeenAt }, now);
  return releaseRows.some(
    ({ id, state, weightBp, spec }) =>
      state === "live" &&
      weightBp > 0 &&
      rows.filter((row) => row.releaseId === id && counts(row)).length < spec.replicas,
  );
}

const selectEnvironment = (db: Db, id: string) =>
  db
    .select({ ...getTableColumns(environments), app: sql<string>`${apps.name}`.as("app_name") })
    .from(environments)
    .innerJoin(apps, eq(apps.id, environments.appId))
    .where(eq(environments.id, id));

const selectLiveInstances = (db: Db, id: string) =>
  db
    .select({
      ...getTableColumns(instances),
      hostName: sql<string>`${hosts.name}`.as("host_name"),
      hostSeenAt: sql<number | null>`${hosts.lastSeenAt}`.as("host_seen_at"),
      hostRemovedAt: sql<number | null>`${hosts.removedAt}`.as("host_removed_at"),
      hostDraining: sql<string | null>`${hosts.draining}`.as("host_draining"),
      slot: sql<number | null>`${slots.n}`.as("slot_n"),
      hostPort: slots.hostPort,
      origin: slots.origin,
      tunnelOf: sql<string | null>`${tunnels.hostId}`.as("tunnel_of"),
      ruleHost: sql<string | null>`${slots.publicHost}`.as("rule_host"),
      ruleVersion: slots.ruleVersion,
      ruleRunning: sql<number | null>`json_extract(${hosts.facts}, '$.tunnel.configVersion')`.as(
        "rule_running",
      ),
    })
    .from(instances)
    .leftJoin(slots, eq(slots.id, instances.slotId))
    .innerJoin(hosts, eq(hosts.id, instances.hostId))
    .leftJoin(tunnels, eq(tunnels.hostId, instances.hostId))
    .where(and(eq(instances.environmentId, id), isNull(instances.stoppedAt)))
    .orderBy(instances.id);

type LiveRow = Awaited<ReturnType<typeof selectLiveInstances>>[number];

function toInstance({ hostRemovedAt, hostDraining, process, tunnelOf, ...row }: LiveRow): InstanceFacts[] {
  const { slotId, slot, hostPort, origin } = row;
  if (slotId === null || slot === null || hostPort === null || origin === null) return [];
  const host = { hostRemoved: hostRemovedAt !== null, hostDraining: hostDraining !== null };
  const { ruleHost: publicHost, ruleVersion: version, ruleRunning: running } = row;
  const rule = tunnelOf === null ? null : { publicHost, version, running };
  return [{ ...row, ...host, rule, slotId, slot, hostPort, origin }];
}

function toWorker({ hostRemovedAt, hostDraining, process, ...row }: LiveRow): WorkerFacts[] {
  if (process === null) return [];
  const host = { hostRemoved: hostRemovedAt !== null, hostDraining: hostDraining !== null };
  return [{ ...row, ...host, process }];
}

const selectRest = (db: Db, id: string) =>
  db
    .select({ restedAt: sql<number | null>`min(${slots.restUntil})`.as("rested_at") })
    .from(slots)
    .where(eq(slots.environmentId, id));

/** A queued release looks for all of its slots at once, a rolling one as it goes, forth and back. */
const looksForSlots = ({ state, spec }: Pick<ReleaseFacts, "state" | "spec">): boolean =>
  state === "queued" ||
  (spec.strategy.kind === "rolling" && ["preparing", "shifting", "rolling_back"].includes(state));

const liveReleases = (id: string) =>
  sql`SELECT release_id FROM instances WHERE environment_id = ${id} AND stopped_at IS NULL`;
const openReleases = (id: string) =>
  sql`SELECT id FROM releases WHERE environment_id = ${id} AND ended_at IS NULL`;

const releasesInUse = (id: string): SQL => sql`
  ${openReleases(id)}
  UNION SELECT id FROM releases WHERE environment_id = ${id} AND weight_bp > 0
  UNION ${liveReleases(id)}`;

/** D1 takes no more than five parts in one compound, so that this stands apart. */
const releasesToGoBackTo = (id: string, named: string | null): SQL => sql`
  SELECT id FROM (SELECT id FROM releases WHERE environment_id = ${id} ORDER BY created_at DESC LIMIT ${NEWEST_IN_VIEW})
  UNION SELECT id FROM (SELECT id FROM releases WHERE environment_id = ${id} AND serving_at IS NOT NULL
    ORDER BY serving_at DESC LIMIT ${SERVED_IN_VIEW})
  UNION SELECT id FROM (SELECT id FROM releases WHERE environment_id = ${id} AND contracted_at IS NOT NULL
    ORDER BY contracted_at DESC LIMIT 1)
  UNION SELECT id FROM releases WHERE id = ${named} AND environment_id = ${id}
  UNION SELECT id FROM releases WHERE environment_id = ${id} AND version = ${named}`;

/** Unfinished ones, all of releases on their way and of instances that are up, and the hooks of releases that are up. */
const jobsInView = (id: string): SQL => sql`
  SELECT id FROM jobs WHERE environment_id = ${id} AND finished_at IS NULL
  UNION SELECT id FROM jobs WHERE release_id IN (${openReleases(id)})
  UNION SELECT id FROM jobs WHERE instance_id IN
    (SELECT id FROM instances WHERE environment_id = ${id} AND stopped_at IS NULL)
  UNION SELECT id FROM jobs WHERE id IN (SELECT job_id FROM runs WHERE environment_id = ${id} AND ended_at IS NULL)
  UNION SELECT id FROM jobs WHERE release_id IN (${liveReleases(id)}) AND kind = 'run'`;

/** Jobs of releases only: accessories and log streams are no business of the coordinator. */
function toJob(row: typeof jobs.$inferSelect): JobFacts[] {
  const { kind, releaseId } = row;
  if (kind === "accessory" || kind === "logs" || releaseId === null) return [];
  // Written by routes/agent after parsing with the protocol's schemas, and by nobody else.
  const result = row.result as JobFacts["result"];
  return [{ ...row, kind, releaseId, result, error: row.error as JobFacts["error"] }];
}

/** All hosts with their slots, and where the accessories are. */
const selectPlaces = (db: Db, environmentId: string) => {
  // Written out: in a selection of one table drizzle drops the names of tables.
  const occupied = sql<number>`EXISTS (SELECT 1 FROM instances WHERE instances.slot_id = slots.id AND instances.stopped_at IS NULL)`;
  return [
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
  ] as const;
};

/** The facts of an environment that is yet to be made: where it could be placed. */
export async function vacantFacts(db: Db, id: string, spec: EnvironmentSpec): Promise<EnvironmentFacts> {
  const places = placesOf(await db.batch(selectPlaces(db, id)), [spec]);
  const { app, environment: name } = spec;
  const nothing = {
    stableReleaseId: null,
    held: null,
    releases: [],
    instances: [],
    jobs: [],
    analysis: null,
  };
  return { id, app, name, spec, rev: 0, fence: 0, nextVersion: 1, ...nothing, ...places };
}

/** Hosts that carry all labels of at least one of the specs. */
function placesOf(
  [hostRows, slotRows, homes]: Places,
  specs: readonly EnvironmentSpec[],
): Pick<EnvironmentFacts, "hosts" | "accessories"> {
  const found = hostRows
    .filter((host) => specs.some((spec) => hasLabels(host.labels, spec)))
    .map((host) => ({
      id: host.id,
      name: host.name,
      lastSeenAt: host.lastSeenAt,
      labels: host.labels,
      draining: host.draining !== null,
      slots: slotRows
        .filter((slot) => slot.hostId === host.id)
        .map((slot) => ({ ...slot, occupied: slot.occupied === 1 })),
    }));
  return { hosts: found, accessories: homes };
}
