import { and, asc, eq, gt, isNull, sql } from "drizzle-orm";
import type { Db, Statement } from "./db.ts";
import { hosts, instances, jobs, slots, tokens } from "./schema.ts";
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
  readonly instances: readonly InstanceRow[];
  /** Absent: it is reached by its own address. */
  readonly tunnel: TunnelRow | undefined;
}

export interface Heartbeat {
  readonly tokenHash: string;
  readonly boot: string;
  readonly agentVersion: string;
  readonly clockSkewMs: number;
  readonly now: number;
}
export interface HeartbeatAnswer {
  readonly id: string;
  readonly name: string;
  /** Unfinished jobs of the host, and those of them that this agent may lease (or that are overdue) now. */
  readonly open: number;
  readonly due: number;
  /** Null: it has no tunnel. */
  readonly tunnelRev: number | null;
}

/**
 * The whole of an idle poll in one query: who is it, note that it lives, is there work. Undefined: the token is not one
 * of a living host, and `auth.ts` finds out why.
 */
export async function heartbeat(db: Db, beat: Heartbeat): Promise<HeartbeatAnswer | undefined> {
  const isOpen = sql`FROM ${jobs} j WHERE j.host_id = hosts.id AND j.finished_at IS NULL`;
  const isDue = sql`(j.state = 'queued' OR j.deadline_at <= ${beat.now} OR j.lease_expires_at <= ${beat.now}
    OR j.lease_boot <> ${beat.boot})`;
  const rows = await db.all<HeartbeatAnswer>(sql`
    UPDATE hosts SET last_seen_at = ${beat.now}, clock_skew_ms = ${beat.clockSkewMs}, boot = ${beat.boot},
      agent_version = ${beat.agentVersion}
    FROM ${tokens} t
    WHERE t.hash = ${beat.tokenHash} AND t.role = 'agent' AND t.revoked_at IS NULL
      AND (t.expires_at IS NULL OR t.expires_at > ${beat.now}) AND hosts.id = t.host_id AND hosts.removed_at IS NULL
    RETURNING hosts.id AS id, hosts.name AS name, hosts.tunnel_rev AS tunnelRev,
      (SELECT count(*) ${isOpen}) AS open, (SELECT count(*) ${isOpen} AND ${isDue}) AS due`);
  return rows[0];
}

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
  const [counts, live, tunnelRows] = await Promise.all([
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
    selectInstances(db).where(sql`${instances.hostId} ${isTheirs} AND ${instances.stoppedAt} IS NULL`),
    listTunnels(
      db,
      rows.map((row) => row.id),
    ),
  ]);
  return rows.map((host) => ({
    host,
    slots: counts.find((c) => c.hostId === host.id) ?? { hostId: host.id, total: 0, used: 0, reserved: 0 },
    instances: live.filter((instance) => instance.hostId === host.id),
    tunnel: tunnelRows.find((tunnel) => tunnel.hostId === host.id),
  }));
}

/** Marks a host as removed and gives its name back: a new machine may be enrolled under it. */
export const removeHost = (db: Db, host: HostRow, now: number) =>
  db
    .update(hosts)
    .set({ removedAt: now, name: `${host.name}~${host.id}` })
    .where(and(eq(hosts.id, host.id), isNull(hosts.removedAt))) satisfies Statement;

export const isHostKnown = async (db: Db, name: string): Promise<boolean> =>
  (await db.select({ id: hosts.id }).from(hosts).where(eq(hosts.name, name)).get()) !== undefined;
