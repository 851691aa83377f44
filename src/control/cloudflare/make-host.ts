import {
  accessApps,
  ingressOf,
  planRecords,
  routeOf,
  routePattern,
  sameIngress,
  tunnelName,
  tunnelTarget,
} from "../../domain/tunnel.ts";
import { intend, noteMade, readLedger } from "../store/cloudflare-resources.ts";
import type { Db } from "../store/db.ts";
import type { TunnelHost } from "../store/tunnels.ts";
import { createApp, createPolicy, findApp, findPolicy, serviceTokenId } from "./access.ts";
import type { Cloudflare } from "./cloudflare.ts";
import { changeRecords, hostComment, listRecords } from "./dns.ts";
import { Refused } from "./refused.ts";
import { createRoute, listRoutes, mendRoute, refuseFullZone } from "./routes.ts";
import { createTunnel, findTunnel, readIngress, writeIngress } from "./tunnels.ts";

/** One run of one host's work. */
export interface HostRun {
  readonly cf: Cloudflare;
  readonly db: Db;
  readonly host: TunnelHost;
  readonly now: number;
}

/** A Worker on the Free plan may make 50 calls at a time, and each of these is one call and one query. */
export const MOST_AT_ONCE = 20;

/**
 * Makes what a host needs, and finds what an earlier run made of it. Its order: what shields a slot stands before the DNS
 * record by which anyone reaches it.
 */
export async function makeHost(run: HostRun): Promise<{ tunnelId: string; configVersion: number }> {
  const tunnelId = await ensureTunnel(run);
  const configVersion = await ensureIngress(run, tunnelId);
  await ensureRoutes(run);
  await ensureAccess(run);
  await ensureRecords(run, tunnelId);
  return { tunnelId, configVersion };
}

async function ensureTunnel({ cf, db, host, now }: HostRun): Promise<string> {
  const name = tunnelName(host);
  await intend(db, { hostId: host.id }, [{ kind: "tunnel", name, zoneId: null }], now);
  const id = (await findTunnel(cf, name)) ?? (await createTunnel(cf, name));
  await noteMade(db, "tunnel", [{ name, id }]);
  return id;
}

export async function ensureIngress({ cf, host }: HostRun, tunnelId: string): Promise<number> {
  const wanted = ingressOf(host.slots);
  const found = await readIngress(cf, tunnelId);
  return sameIngress(found.rules, wanted) ? found.version : writeIngress(cf, tunnelId, wanted);
}

/** The shield: from outside, a slot's hostname ends in the edge's Worker and not in the tunnel. */
async function ensureRoutes({ cf, db, host, now }: HostRun): Promise<void> {
  const { slotZoneId: zone, slotZone, worker } = cf.settings;
  const intents = host.slots.map(({ hostname }) => ({
    kind: "route" as const,
    name: routePattern(hostname),
    zoneId: zone,
  }));
  await intend(db, { hostId: host.id }, intents, now);
  const found = await listRoutes(cf, zone);
  const states = host.slots.map(({ hostname }) => ({ hostname, route: routeOf(found, hostname, worker) }));
  const right = states.flatMap(({ hostname, route }) =>
    route.kind === "right" ? [{ name: routePattern(hostname), id: route.id }] : [],
  );
  await noteMade(db, "route", right);
  const open = states.filter(({ route }) => route.kind !== "right");
  const absent = open.filter(({ route }) => route.kind === "absent").length;
  refuseFullZone(slotZone, found.length, absent);
  for (const { hostname, route } of open.slice(0, MOST_AT_ONCE)) {
    if (route.kind === "other") await mendRoute(cf, zone, route.id, hostname);
    const id = route.kind === "absent" ? await createRoute(cf, zone, hostname) : route.id;
    await noteMade(db, "route", [{ name: routePattern(hostname), id }]);
  }
  const left = open.length - MOST_AT_ONCE;
  if (left > 0)
    throw unfinished(`${host.slots.length - left} of ${host.slots.length} Worker routes are made`);
}

/** If asked for: an application for every five slots, which only the edge's service token opens. */
async function ensureAccess(run: HostRun): Promise<void> {
  const { cf, db, host, now } = run;
  const { accessClientId } = cf.settings;
  if (accessClientId === undefined) return;
  const hostnames = host.slots.map(({ hostname }) => hostname);
  const apps = accessApps(host, hostnames);
  const policy = { kind: "access_policy", name: `${tunnelName(host)}-edge`, zoneId: null } as const;
  const intents = apps.map(({ name }) => ({ kind: "access_application" as const, name, zoneId: null }));
  await intend(db, { hostId: host.id }, [policy, ...intents], now);
  const known = await readLedger(db, { hostId: host.id });
  const idOf = (name: string) => known.find((row) => row.name === name)?.remoteId ?? undefined;
  const policyId = idOf(policy.name) ?? (await ensurePolicy(run, policy.name, accessClientId));
  const open = apps.filter(({ name }) => idOf(name) === undefined);
  for (const { name, domains } of open.slice(0, MOST_AT_ONCE / 2)) {
    const id = (await findApp(cf, name)) ?? (await createApp(cf, { name, domains, policyId }));
    await noteMade(db, "access_application", [{ name, id }]);
  }
  const left = open.length - MOST_AT_ONCE / 2;
  if (left > 0) throw unfinished(`${apps.length - left} of ${apps.length} Access applications are made`);
}

async function ensurePolicy({ cf, db }: HostRun, name: string, clientId: string): Promise<string> {
  const create = async () => createPolicy(cf, { name, tokenId: await serviceTokenId(cf, clientId) });
  const id = (await findPolicy(cf, name)) ?? (await create());
  await noteMade(db, "access_policy", [{ name, id }]);
  return id;
}

async function ensureRecords({ cf, db, host, now }: HostRun, tunnelId: string): Promise<void> {
  const { slotZoneId: zone } = cf.settings;
  const comment = hostComment(host.id);
  const hostnames = host.slots.map(({ hostname }) => hostname);
  await intend(
    db,
    { hostId: host.id },
    hostnames.map((name) => ({ kind: "dns_record", name, zoneId: zone })),
    now,
  );
  const target = tunnelTarget(tunnelId);
  const found = await listRecords(cf, zone, { comment });
  const { make, mend, right } = planRecords(found, hostnames, target);
  const made =
    make.length + mend.length > 0 ? await changeRecords(cf, zone, { target, comment, make, mend }) : [];
  await noteMade(db, "dns_record", [...right, ...mend, ...made]);
}

/** Not a failure: the rest is done in the next run, which begins at once. */
export const unfinished = (words: string): Refused => new Refused("unfinished", words, { retryAfterMs: 0 });
