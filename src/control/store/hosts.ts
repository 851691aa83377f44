import { and, asc, eq, gt, isNull, sql } from "drizzle-orm";
import { COUNT_RESTING, settleAccessories } from "./accessories.ts";
import type { Db, Statement } from "./db.ts";
import { isUnacknowledged } from "./jobs.ts";
import { listRunning, listWorkers, type RunOnHost, type WorkerOnHost } from "./processes/beside.ts";
import { countDiffering, type Inventory } from "./reports.ts";
import { accessories } from "./schema/accessories.ts";
import { apps } from "./schema/apps.ts";
import { environments } from "./schema/environments.ts";
import { hosts } from "./schema/hosts.ts";
import { instances } from "./schema/instances.ts";
import { jobs } from "./schema/jobs.ts";
import { outbox } from "./schema/outbox.ts";
import { slots } from "./schema/slots.ts";
import { tokens } from "./schema/tokens.ts";
import { restSlotsOn } from "./slots.ts";
import { type InstanceRow, selectInstances } from "./status.ts";
import { listTunnels, type TunnelRow } from "./tunnels.ts";

export type HostRow = typeof hosts.$inferSelect;
interface SlotCounts {
  readonly hostId: string;
  readonly total: number;
  readonly used: number;
  /** Not used, but held for an environment or in quarantine. */
  readonly reserved: number;
}
export interface HostStatus {
  readonly host: HostRow;
  readonly slots: SlotCounts;
  /** Set aside, because somebody else had their port. */
  readonly aside: readonly AsideSlot[];
  readonly instances: readonly InstanceRow[];
  readonly accessories: readonly HostedAccessory[];
  readonly workers: readonly WorkerOnHost[];
  readonly runs: readonly RunOnHost[];
  /** Absent: it is reached by its own address. */
  readonly tunnel: TunnelRow | undefined;
}
interface AsideSlot {
  readonly hostId: string;
  readonly n: number;
  readonly hostPort: number;
  readonly cause: string;
  readonly until: number;
}
interface HostedAccessory {
  readonly hostId: string;
  readonly app: string;
  readonly environment: string;
  readonly name: string;
  readonly state: (typeof accessories.$inferSelect)["state"];
}

export interface Heartbeat {
  readonly tokenHash: string;
  readonly boot: string;
  readonly agentVersion: string;
  readonly clockSkewMs: number;
  readonly now: number;
  /** What the host said of itself, when it did. */
  readonly facts: Record<string, unknown> | undefined;
  /** Jobs that the agent says it has; absent: it doesn't say. */
  readonly jobs: readonly string[] | undefined;
  /** What it answers for; absent: it has not looked yet. */
  readonly inventory: Inventory | undefined;
}
export interface HeartbeatAnswer {
  readonly id: string;
  readonly name: string;
  /** When it was heard from before this. */
  readonly seenBeforeAt: number | null;
  /** Unfinished jobs of the host, and those of them that this agent may lease (or that are overdue) now. */
  readonly open: number;
  readonly due: number;
  /** Instances of which something else is written here than the agent says. */
  readonly differing: number;
  /** Accessories that are said to run there, or to have failed. */
  readonly accessories: number;
  /** Its token takes the place of this one, and was not used before. */
  readonly replaces: string | null;
  /** 1: a new token was asked for, or this one is old. */
  readonly rotate: number;
  /** Null: it has no tunnel. */
  readonly tunnelRev: number | null;
}

/** An agent's token is renewed after this long without anybody asking. */
const TOKEN_AGE_MS = 90 * 86_400_000;

/**
 * The whole of an idle poll in one query: who is it, note that it lives, is there work. Undefined: the token is not one
 * of a living host, and `auth.ts` finds out why.
 */
export async function heartbeat(db: Db, beat: Heartbeat): Promise<HeartbeatAnswer | undefined> {
  const isOpen = sql`FROM ${jobs} j WHERE j.host_id = hosts.id AND j.finished_at IS NULL`;
  // A reader of logs may stay for an hour: that alone is no reason for its hosts to poll each second.
  const isBusy = sql`(j.kind <> 'logs' OR j.state = 'queued')`;
  const isDue = sql`(j.state = 'queued' OR j.deadline_at <= ${beat.now} OR j.lease_expires_at <= ${beat.now}
    OR j.lease_boot <> ${beat.boot} OR ${isUnacknowledged(sql`j.id`, beat.jobs)})`;
  const differing = beat.inventory ? countDiffering(sql`hosts.id`, beat.boot, beat.inventory) : sql`0`;
  // A restart never makes the process before it speak again.
  const isBack = sql`boot IS NOT ${beat.boot} AND boot_before IS ${beat.boot}`;
  const facts = beat.facts === undefined ? null : JSON.stringify(beat.facts);
  // RETURNING sees only the table that is updated.
  const ofToken = sql`FROM ${tokens} t WHERE t.hash = ${beat.tokenHash}`;
  const rows = await db.all<HeartbeatAnswer>(sql`
    UPDATE hosts SET seen_before_at = last_seen_at, last_seen_at = ${beat.now}, clock_skew_ms = ${beat.clockSkewMs}, boot = ${beat.boot},
      boot_before = CASE WHEN boot IS NOT ${beat.boot} THEN boot ELSE boot_before END,
      boot_refused = CASE WHEN ${isBack} THEN boot ELSE boot_refused END,
      shared_at = CASE WHEN ${isBack} THEN ${beat.now} ELSE shared_at END,
      agent_version = ${beat.agentVersion}, facts = coalesce(${facts}, facts),
      facts_at = CASE WHEN ${facts} IS NULL THEN facts_at ELSE ${beat.now} END
    FROM ${tokens} t
    WHERE t.hash = ${beat.tokenHash} AND t.role = 'agent' AND t.revoked_at IS NULL
      AND (t.expires_at IS NULL OR t.expires_at > ${beat.now}) AND hosts.id = t.host_id AND hosts.removed_at IS NULL
      AND hosts.boot_refused IS NOT ${beat.boot}
    RETURNING hosts.id AS id, hosts.name AS name, hosts.seen_before_at AS seenBeforeAt, hosts.tunnel_rev AS tunnelRev,
      (SELECT count(*) ${isOpen} AND ${isBusy}) AS open, (SELECT count(*) ${isOpen} AND ${isDue}) AS due,
      ${differing} AS differing, ${COUNT_RESTING} AS accessories, (SELECT t.replaces ${ofToken}) AS replaces,
      (hosts.rotate_at IS NOT NULL OR (SELECT t.created_at ${ofToken}) <= ${beat.now - TOKEN_AGE_MS}) AS rotate`);
  return rows[0];
}

/** Notes that an agent process is still there that is not heard any more. Answers the host's name, if it is one of its. */
export async function noteSecondMachine(db: Db, id: string, boot: string, now: number) {
  const [row] = await db
    .update(hosts)
    .set({ sharedAt: now })
    .where(and(eq(hosts.id, id), eq(hosts.bootRefused, boot), isNull(hosts.removedAt)))
    .returning({ name: hosts.name });
  return row?.name;
}

/** Notes that somebody has a token that was the host's before. */
export const noteStaleToken = (db: Db, id: string, now: number) =>
  db
    .update(hosts)
    .set({ staleTokenAt: now })
    .where(and(eq(hosts.id, id), isNull(hosts.removedAt))) satisfies Statement;

/** Hosts that were not removed, by name, after the cursor's. */
export async function listHosts(
  db: Db,
  page: { after: string | null; limit: number },
): Promise<HostStatus[]> {
  const rows = await db
    .select()
    .from(hosts)
    .where(and(isNull(hosts.removedAt), page.after === null ? undefined : gt(hosts.name, page.after)))
    .orderBy(asc(hosts.name))
    .limit(page.limit)
    .all();
  return withStatus(db, rows);
}

export async function readHost(db: Db, name: string): Promise<HostStatus | undefined> {
  const row = await db
    .select()
    .from(hosts)
    .where(and(eq(hosts.name, name), isNull(hosts.removedAt)))
    .get();
  return row ? (await withStatus(db, [row]))[0] : undefined;
}

async function withStatus(db: Db, rows: readonly HostRow[]): Promise<HostStatus[]> {
  if (rows.length === 0) return [];
  const ids = JSON.stringify(rows.map((row) => row.id));
  const isTheirs = sql`IN (SELECT value FROM json_each(${ids}))`;
  const [counts, aside, live, beside, workers, running, tunnelRows] = await Promise.all([
    db
      .select({
        hostId: slots.hostId,
        total: sql<number>`count(*)`,
        used: sql<number>`count(${instances.id})`,
        reserved: sql<number>`sum(${instances.id} IS NULL AND ${slots.environmentId} IS NOT NULL)`,
      })
      .from(slots)
      .leftJoin(instances, and(eq(instances.slotId, slots.id), isNull(instances.stoppedAt)))
      .where(sql`${slots.hostId} ${isTheirs}`)
      .groupBy(slots.hostId),
    db
      .select({
        hostId: slots.hostId,
        n: slots.n,
        hostPort: slots.hostPort,
        cause: sql<string>`${slots.asideCause}`,
        until: sql<number>`${slots.asideUntil}`,
      })
      .from(slots)
      .where(sql`${slots.hostId} ${isTheirs} AND ${slots.asideUntil} IS NOT NULL`)
      .orderBy(asc(slots.n)),
    selectInstances(db).where(sql`${instances.hostId} ${isTheirs} AND ${instances.stoppedAt} IS NULL`),
    db
      .select({
        hostId: accessories.hostId,
        app: apps.name,
        environment: environments.name,
        name: accessories.name,
        state: accessories.state,
      })
      .from(accessories)
      .innerJoin(environments, eq(environments.id, accessories.environmentId))
      .innerJoin(apps, eq(apps.id, environments.appId))
      .where(sql`${accessories.hostId} ${isTheirs}`)
      .orderBy(asc(apps.name), asc(environments.name), asc(accessories.name)),
    listWorkers(db, sql`${instances.hostId} ${isTheirs}`),
    listRunning(db, sql`${jobs.hostId} ${isTheirs}`),
    listTunnels(
      db,
      rows.map((row) => row.id),
    ),
  ]);
  return rows.map((host) => ({
    host,
    slots: counts.find((c) => c.hostId === host.id) ?? { hostId: host.id, total: 0, used: 0, reserved: 0 },
    aside: aside.filter((slot) => slot.hostId === host.id),
    instances: live.filter((instance) => instance.hostId === host.id),
    accessories: beside.filter((accessory) => accessory.hostId === host.id),
    workers: workers.filter((worker) => worker.hostId === host.id),
    runs: running.filter((run) => run.hostId === host.id),
    tunnel: tunnelRows.find((tunnel) => tunnel.hostId === host.id),
  }));
}

/** Asks for a new token of the host's agent. Asked twice, it is one rotation. */
export const askRotation = (db: Db, id: string, now: number) =>
  db
    .update(hosts)
    .set({ rotateAt: sql`coalesce(${hosts.rotateAt}, ${now})` })
    .where(and(eq(hosts.id, id), isNull(hosts.removedAt))) satisfies Statement;

export const endRotation = (db: Db, id: string) =>
  db.update(hosts).set({ rotateAt: null }).where(eq(hosts.id, id)) satisfies Statement;

/** Marks a host as removed and gives its name back: a new machine may be enrolled under it. */
export const removeHost = (db: Db, host: HostRow, now: number) =>
  db
    .update(hosts)
    .set({ removedAt: now, name: `${host.name}~${host.id}` })
    .where(and(eq(hosts.id, host.id), isNull(hosts.removedAt))) satisfies Statement;

/**
 * What goes with a host: its instances are gone, what it was to do fails for that cause, and whoever decides about an
 * environment reads anew.
 */
export const endOnHost = (db: Db, host: HostRow, now: number): Statement[] => {
  const error = { code: "host_removed", message: `the host ${host.name} was removed`, logs: [] };
  return [
    // Should whoever removes it end before they are told, the sweep finds what is owed.
    db.insert(outbox).select(
      sql`SELECT DISTINCT NULL, environment_id, 'wake', json_object('host', host_id), 0, ${now}, ${now} FROM instances
        WHERE host_id = ${host.id} AND stopped_at IS NULL`,
    ),
    // All of them: whoever is about to put something on this host decides anew.
    db
      .update(environments)
      .set({ rev: sql`${environments.rev} + 1` })
      .where(isNull(environments.deletedAt)),
    db
      .update(instances)
      .set({ state: "stopped", stateSince: now, stoppedAt: now })
      .where(and(eq(instances.hostId, host.id), isNull(instances.stoppedAt))),
    db
      .update(jobs)
      // A command that the host had not taken may be run by another.
      .set({
        state: sql`iif(${jobs.kind} = 'stop' OR (${jobs.kind} = 'command' AND ${jobs.state} = 'queued'), 'cancelled', 'failed')`,
        error,
        finishedAt: now,
      })
      .where(and(eq(jobs.hostId, host.id), isNull(jobs.finishedAt))),
    restSlotsOn(db, host.id, now),
    ...settleAccessories(db, now),
  ];
};

export const isHostKnown = async (db: Db, name: string): Promise<boolean> =>
  (await db.select({ id: hosts.id }).from(hosts).where(eq(hosts.name, name)).get()) !== undefined;
