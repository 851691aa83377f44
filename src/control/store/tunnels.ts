import { and, eq, inArray, sql } from "drizzle-orm";
import type { WantedSlot } from "../../domain/tunnel.ts";
import { type Db, runBatch, type Statement } from "./db.ts";
import { insertEvent, type NewEvent } from "./events.ts";
import { tunnels } from "./schema/cloudflare.ts";
import { hosts } from "./schema/hosts.ts";
import { slots } from "./schema/slots.ts";

export type TunnelRow = typeof tunnels.$inferSelect;

/** A host as its tunnel is made for it. */
export interface TunnelHost {
  readonly id: string;
  /** The name it was enrolled under, also after it was removed. */
  readonly name: string;
  readonly slots: readonly WantedSlot[];
}

export interface TunnelWork {
  readonly tunnel: TunnelRow;
  /** A slot's app is not known by its name yet. */
  readonly owesRules: boolean;
  readonly host: TunnelHost;
}

/** A tunnel that is to be made: what a host's enrolment writes with the host. */
export const insertTunnel = (db: Db, host: { id: string; tunnel: string }, now: number) =>
  db.insert(tunnels).values({
    hostId: host.id,
    name: host.tunnel,
    state: "pending",
    attempts: 0,
    nextAttemptAt: now,
    createdAt: now,
    updatedAt: now,
  }) satisfies Statement;

/** A host's tunnel is to go. A host without one: nothing happens. */
export const releaseTunnel = (db: Db, hostId: string, now: number) =>
  db
    .update(tunnels)
    .set({ state: "removing", cause: null, attempts: 0, nextAttemptAt: now, updatedAt: now })
    .where(and(eq(tunnels.hostId, hostId), inArray(tunnels.state, ["pending", "ready"]))) satisfies Statement;

/** A host's tunnel, and the number that rises with it. */
export const readTunnelRev = (
  db: Db,
  hostId: string,
): Promise<{ tunnel: TunnelRow; rev: number | null } | undefined> =>
  db
    .select({ tunnel: tunnels, rev: hosts.tunnelRev })
    .from(tunnels)
    .innerJoin(hosts, eq(hosts.id, tunnels.hostId))
    .where(eq(tunnels.hostId, hostId))
    .get();

/** Of several hosts at once, by host. */
export const listTunnels = (db: Db, hostIds: readonly string[]): Promise<TunnelRow[]> =>
  db
    .select()
    .from(tunnels)
    .where(sql`${tunnels.hostId} IN (SELECT value FROM json_each(${JSON.stringify(hostIds)}))`)
    .all();

/** A tunnel with its host, whatever is to be done with it. */
export async function readTunnelWork(db: Db, hostId: string): Promise<TunnelWork | undefined> {
  const [rows, slotRows] = await Promise.all([
    db
      .select({ tunnel: tunnels, name: hosts.name })
      .from(tunnels)
      .innerJoin(hosts, eq(hosts.id, tunnels.hostId))
      .where(eq(tunnels.hostId, hostId)),
    db
      .select({
        n: slots.n,
        hostPort: slots.hostPort,
        origin: slots.origin,
        publicHost: slots.publicHost,
        ruleVersion: slots.ruleVersion,
      })
      .from(slots)
      .where(eq(slots.hostId, hostId))
      .orderBy(slots.n),
  ]);
  const row = rows[0];
  if (!row) return undefined;
  const wanted = slotRows.map(({ n, hostPort, origin, publicHost }) => ({
    n,
    hostPort,
    publicHost,
    hostname: new URL(origin).hostname,
  }));
  const owesRules = slotRows.some(
    ({ publicHost, ruleVersion }) => publicHost !== null && ruleVersion === null,
  );
  return {
    tunnel: row.tunnel,
    owesRules,
    host: { id: hostId, name: row.name.split("~")[0] ?? row.name, slots: wanted },
  };
}

type Event = Pick<NewEvent, "at" | "type" | "actor" | "message" | "data">;

/** It is there: the agent is to run it. A host that was removed meanwhile stays so. */
export async function tunnelReady(
  db: Db,
  hostId: string,
  made: WrittenRules & { tunnelId: string; now: number; event: Event },
): Promise<void> {
  const { tunnelId, configVersion, now: updatedAt, event } = made;
  await runBatch(db, [
    db
      .update(tunnels)
      .set({
        state: "ready",
        tunnelId,
        configVersion,
        cause: null,
        attempts: 0,
        nextAttemptAt: null,
        updatedAt,
      })
      .where(and(eq(tunnels.hostId, hostId), eq(tunnels.state, "pending"))),
    rulesInForce(db, hostId, made),
    riseRev(db, hostId),
    insertEvent(db, event),
  ]);
}

interface WrittenRules {
  readonly configVersion: number;
  /** As they were written. */
  readonly slots: readonly WantedSlot[];
}

/** The rules of slots that were renamed are written: the agent is to see that cloudflared gets them. */
export async function rulesWritten(
  db: Db,
  hostId: string,
  written: WrittenRules & { now: number },
): Promise<void> {
  const { configVersion, now: updatedAt } = written;
  await runBatch(db, [
    db
      .update(tunnels)
      .set({ configVersion, cause: null, attempts: 0, nextAttemptAt: null, updatedAt })
      .where(and(eq(tunnels.hostId, hostId), eq(tunnels.state, "ready"))),
    rulesInForce(db, hostId, written),
    riseRev(db, hostId),
  ]);
}

/** Of slots that were renamed meanwhile nothing is said. */
function rulesInForce(db: Db, hostId: string, { configVersion, slots: as }: WrittenRules) {
  const names = JSON.stringify(Object.fromEntries(as.map(({ n, publicHost = null }) => [n, publicHost])));
  return db
    .update(slots)
    .set({ ruleVersion: configVersion })
    .where(
      sql`${slots.hostId} = ${hostId} AND ${slots.ruleVersion} IS NULL AND ${slots.publicHost} IS NOT NULL
        AND ${slots.publicHost} = json_extract(${names}, '$."' || ${slots.n} || '"')`,
    ) satisfies Statement;
}

export async function tunnelRemoved(db: Db, hostId: string, now: number, event: Event): Promise<void> {
  await runBatch(db, [
    db
      .update(tunnels)
      .set({ state: "removed", cause: null, nextAttemptAt: null, updatedAt: now })
      .where(eq(tunnels.hostId, hostId)),
    insertEvent(db, event),
  ]);
}

/** Not done yet, and why. `event`: only what was not said before. */
export async function tunnelDelayed(
  db: Db,
  tunnel: Pick<TunnelRow, "hostId" | "state">,
  delay: { cause: string; attempts: number; nextAttemptAt: number; now: number; event: Event | null },
): Promise<void> {
  const { cause, attempts, nextAttemptAt, now, event } = delay;
  await runBatch(db, [
    db
      .update(tunnels)
      .set({ cause, attempts, nextAttemptAt, updatedAt: now })
      .where(and(eq(tunnels.hostId, tunnel.hostId), eq(tunnels.state, tunnel.state))),
    ...(event ? [insertEvent(db, event)] : []),
  ]);
}

/** Cloudflare does not have it any more: it is made again. */
export async function tunnelLost(db: Db, hostId: string, cause: string, now: number): Promise<void> {
  await db
    .update(tunnels)
    .set({ state: "pending", cause, attempts: 0, nextAttemptAt: now, updatedAt: now })
    .where(and(eq(tunnels.hostId, hostId), eq(tunnels.state, "ready")));
}

/** The agent is to ask for its tunnel again. */
export const riseRev = (db: Db, hostId: string) =>
  db
    .update(hosts)
    .set({ tunnelRev: sql`coalesce(${hosts.tunnelRev}, 0) + 1` })
    .where(eq(hosts.id, hostId))
    .returning({ tunnelRev: hosts.tunnelRev }) satisfies Statement;

/** Hosts whose tunnel's next run should have begun by `before`: their alarm was lost. */
export async function findDueTunnels(db: Db, before: number): Promise<string[]> {
  const rows = await db
    .select({ hostId: tunnels.hostId })
    .from(tunnels)
    .where(
      and(
        inArray(tunnels.state, ["pending", "ready", "removing"]),
        sql`${tunnels.nextAttemptAt} <= ${before}`,
      ),
    )
    .limit(100);
  return rows.map(({ hostId }) => hostId);
}
