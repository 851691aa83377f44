import { isOnline } from "../../domain/host-online.ts";
import { isHeard, isSilent } from "../../domain/rollout/carry.ts";
import { hostFactsSchema } from "../../protocol/agent/host-facts.ts";
import type { EventView } from "../../protocol/api/events.ts";
import { EVENT_TYPES } from "../../protocol/api/events.ts";
import type { HostView } from "../../protocol/api/hosts.ts";
import type { InstanceView } from "../../protocol/api/instances.ts";
import type { TokenView } from "../../protocol/api/tokens.ts";
import { iso, isoOrNull } from "../iso.ts";
import type { EventRow } from "../store/events.ts";
import type { HostStatus } from "../store/hosts.ts";
import type { InstanceRow } from "../store/status.ts";
import type { TokenRow } from "../store/tokens.ts";

/** Rows of the store as the API's resources: epoch ms become ISO times. */

/** States in which an instance may answer requests. */
const UP = new Set(["ready", "serving", "draining", "warm"]);

export const isReady = (row: InstanceRow): boolean => UP.has(row.state) && row.reportState === "ready";

/** Whether visitors are led there, by what is known of its host and its path as well. */
export const isAnswering = (row: InstanceRow, now: number): boolean =>
  isReady(row) && isHeard(row, now) && !isSilent(row, now);

export const instanceView = (row: InstanceRow, now: number): InstanceView => ({
  id: row.id,
  release: row.releaseId,
  version: row.version,
  host: row.hostName,
  slot: row.slot,
  state: row.state,
  ready: isAnswering(row, now),
  cause: causeOf(row, now),
  since: iso(row.stateSince),
});

function causeOf(row: InstanceRow, now: number): string | null {
  if (isReady(row) && !isHeard(row, now)) return "its host is not heard from";
  return row.reportCause ?? row.verifyCause;
}

/** `offline`: its agent has not been heard from for too long. */
export function hostStateOf(
  host: Pick<HostStatus["host"], "lastSeenAt" | "removedAt">,
  now: number,
): HostView["state"] {
  if (host.removedAt !== null) return "removed";
  return isOnline(host, now) ? "online" : "offline";
}

export function hostView(
  { host, slots, aside, instances, accessories, workers, runs, tunnel }: HostStatus,
  now: number,
): HostView {
  return {
    id: host.id,
    name: host.name.split("~")[0] ?? host.name,
    labels: host.labels,
    runtime: host.runtime,
    agentVersion: host.agentVersion,
    state: hostStateOf(host, now),
    lastSeenAt: isoOrNull(host.lastSeenAt),
    clockSkewMs: host.clockSkewMs,
    facts: host.facts === null ? null : (hostFactsSchema.safeParse(host.facts).data ?? null),
    factsAt: isoOrNull(host.factsAt),
    rotateAt: isoOrNull(host.rotateAt),
    sharedAt: isoOrNull(host.sharedAt),
    staleTokenAt: isoOrNull(host.staleTokenAt),
    slots: {
      total: slots.total,
      used: slots.used,
      reserved: slots.reserved,
      free: slots.total - slots.used - slots.reserved,
    },
    drain: host.draining && { at: iso(host.draining.at), by: host.draining.by },
    aside: aside
      .filter(({ until }) => until > now)
      .map(({ n, hostPort, cause, until }) => ({ slot: n, port: hostPort, cause, until: iso(until) })),
    instances: instances.map(instanceView),
    accessories: accessories.map(({ hostId: _, ...accessory }) => accessory),
    workers: workers.map(({ id, app, environment, version, process, state }) => ({
      ...{ id, app, environment, version, process, state },
    })),
    runs: runs.map(({ app, environment, version, what }) => ({ app, environment, version, what })),
    tunnel: tunnel
      ? {
          state: tunnel.state,
          cause: tunnel.cause,
          name: tunnel.name,
          id: tunnel.tunnelId,
          configVersion: tunnel.configVersion,
          nextAttemptAt: isoOrNull(tunnel.nextAttemptAt),
        }
      : null,
    createdAt: iso(host.createdAt),
  };
}

export const tokenView = (row: TokenRow): TokenView => ({
  id: row.id,
  name: row.name,
  role: row.role,
  app: row.app,
  environment: row.environment,
  action: row.action ?? "any",
  person: row.identities?.find((one) => one.startsWith("person:"))?.slice("person:".length) ?? null,
  createdAt: iso(row.createdAt),
  expiresAt: isoOrNull(row.expiresAt),
  revokedAt: isoOrNull(row.revokedAt),
  lastUsedAt: isoOrNull(row.lastUsedAt),
});

/** An event as readers know it. Undefined: a type that only a newer version knows. */
export function eventView(row: EventRow): EventView | undefined {
  const type = EVENT_TYPES.find((known) => known === row.type);
  if (type === undefined) return undefined;
  return {
    id: row.id,
    at: iso(row.at),
    type,
    actor: row.actor,
    app: row.app,
    environment: row.environment,
    release: row.releaseId,
    message: row.message,
    data: row.data,
  };
}
