import { and, asc, count, eq, gte, isNull, sql } from "drizzle-orm";
import type { HostFindings, HostnameFindings } from "../../domain/doctor/doctor.ts";
import type { Sight } from "../../domain/doctor/front-page.ts";
import type { SmokeOutcomes } from "../../domain/rollout/release.ts";
import type { EnvironmentSpec } from "../../domain/spec.ts";
import type { Db } from "./db.ts";
import { apps } from "./schema/apps.ts";
import { tunnels } from "./schema/cloudflare.ts";
import { environments } from "./schema/environments.ts";
import { hostnames } from "./schema/hostnames.ts";
import { hosts } from "./schema/hosts.ts";
import { instances } from "./schema/instances.ts";
import { releases } from "./schema/releases.ts";
import { slots } from "./schema/slots.ts";

/** What a look over the whole installation finds in D1. */
export interface Findings {
  /** `facts` are as the agent sent them, unread. */
  readonly hosts: readonly (Omit<HostFindings, "facts"> & { readonly facts: unknown })[];
  readonly hostnames: readonly HostnameFindings[];
  /** What was seen of each live release that was looked at; by `shop/production`. */
  readonly looks: readonly { readonly subject: string; readonly look: readonly Sight[] }[];
  /** `shop/production` of each environment whose app or accessories name secrets. */
  readonly needSecrets: readonly string[];
}

/** All living hosts, public hostnames and environments, in one round trip. */
export async function readFindings(db: Db, now: number): Promise<Findings> {
  const used = sql`EXISTS (SELECT 1 FROM ${instances} i WHERE i.slot_id = slots.id AND i.stopped_at IS NULL)`;
  const [hostRows, hostnameRows, environmentRows] = await db.batch([
    db
      .select({
        name: hosts.name,
        runtime: hosts.runtime,
        agentVersion: hosts.agentVersion,
        lastSeenAt: hosts.lastSeenAt,
        clockSkewMs: hosts.clockSkewMs,
        facts: hosts.facts,
        sharedAt: hosts.sharedAt,
        staleTokenAt: hosts.staleTokenAt,
        slots: sql<number>`(SELECT count(*) FROM ${slots} WHERE slots.host_id = hosts.id)`.as("slots"),
        freeSlots:
          sql<number>`(SELECT count(*) FROM ${slots} WHERE slots.host_id = hosts.id AND NOT ${used})`.as(
            "free_slots",
          ),
        aside:
          sql<string>`(SELECT json_group_array(json_object('slot', n, 'cause', aside_cause)) FROM ${slots}
            WHERE slots.host_id = hosts.id AND slots.aside_until > ${now})`.as("aside"),
        tunnelState: sql<(typeof tunnels.$inferSelect)["state"] | null>`${tunnels.state}`.as("tunnel_state"),
        tunnelCause: sql<string | null>`${tunnels.cause}`.as("tunnel_cause"),
        configVersion: tunnels.configVersion,
      })
      .from(hosts)
      .leftJoin(tunnels, eq(tunnels.hostId, hosts.id))
      .where(isNull(hosts.removedAt))
      .orderBy(asc(hosts.name)),
    db
      .select({
        hostname: hostnames.hostname,
        environment: sql<string>`${apps.name} || '/' || ${environments.name}`.as("environment"),
        routeState: hostnames.routeState,
        routeCause: hostnames.routeCause,
      })
      .from(hostnames)
      .innerJoin(environments, eq(environments.id, hostnames.environmentId))
      .innerJoin(apps, eq(apps.id, environments.appId))
      .orderBy(asc(hostnames.hostname)),
    readLive(db),
  ]);
  return {
    looks: environmentRows.flatMap(lookOf),
    hosts: hostRows.map(({ tunnelState, tunnelCause, configVersion, aside, ...host }) => ({
      ...host,
      aside: JSON.parse(aside) as HostFindings["aside"],
      tunnel: tunnelState === null ? null : { state: tunnelState, cause: tunnelCause, configVersion },
    })),
    hostnames: hostnameRows,
    needSecrets: environmentRows
      .filter(({ spec }) =>
        [spec, ...Object.values(spec.accessories ?? {})].some(({ secrets = [] }) => secrets.length > 0),
      )
      .map(({ spec }) => `${spec.app}/${spec.environment}`),
  };
}

const readLive = (db: Db) =>
  db
    .select({ spec: environments.spec, smoke: releases.smoke })
    .from(environments)
    .leftJoin(releases, eq(releases.id, environments.stableReleaseId))
    .where(isNull(environments.deletedAt));

/** Nobody looked at what was put back. */
const lookOf = ({ spec, smoke }: { spec: EnvironmentSpec; smoke: SmokeOutcomes | null }) =>
  smoke?.before?.look ? [{ subject: `${spec.app}/${spec.environment}`, look: smoke.before.look }] : [];

/** How large the installation is, and how many releases were asked for since `from` (epoch ms). */
export async function readExtent(db: Db, from: number): Promise<{ hosts: number; releases: number }> {
  const [hostRows, releaseRows] = await db.batch([
    db.select({ count: count() }).from(hosts).where(isNull(hosts.removedAt)),
    db.select({ count: count() }).from(releases).where(gte(releases.createdAt, from)),
  ]);
  return { hosts: hostRows[0]?.count ?? 0, releases: releaseRows[0]?.count ?? 0 };
}

/** The objects of environments and hosts, `most` of each kind, by their names. */
export async function readPlaced(
  db: Db,
  most: number,
): Promise<{ id: string; kind: "coordinator" | "link"; subject: string }[]> {
  const [environmentRows, hostRows] = await db.batch([
    db
      .select({ id: environments.id, spec: environments.spec })
      .from(environments)
      .where(isNull(environments.deletedAt))
      .limit(most),
    db.select({ id: hosts.id, name: hosts.name }).from(hosts).where(isNull(hosts.removedAt)).limit(most),
  ]);
  return [
    ...environmentRows.map(({ id, spec }) => ({
      id,
      kind: "coordinator" as const,
      subject: `${spec.app}/${spec.environment}`,
    })),
    ...hostRows.map(({ id, name }) => ({ id, kind: "link" as const, subject: name })),
  ];
}

/** One slot of each living host in which nothing runs, the one with the highest number: the last to be used. */
export const readEmptySlots = (db: Db): Promise<{ host: string; origin: string }[]> =>
  db
    .select({ host: hosts.name, origin: slots.origin, n: sql<number>`max(${slots.n})` })
    .from(slots)
    .innerJoin(hosts, eq(hosts.id, slots.hostId))
    .leftJoin(instances, and(eq(instances.slotId, slots.id), isNull(instances.stoppedAt)))
    .where(and(isNull(hosts.removedAt), isNull(instances.id)))
    .groupBy(hosts.id)
    .orderBy(asc(hosts.name));
