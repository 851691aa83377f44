import { nameOf } from "../../domain/routing/site.ts";
import {
  ADDRESS_TYPES,
  type FoundRecord,
  type FoundRoute,
  judgeRecords,
  routeOf,
  routePattern,
  routesOver,
  sitesBelow,
} from "../../domain/tunnel.ts";
import { intend, type LedgerRow, noteMade, readLedger } from "../store/cloudflare-resources.ts";
import type { Db } from "../store/db.ts";
import type { DueHostname, Routed } from "../store/hostnames.ts";
import type { Cloudflare } from "./cloudflare.ts";
import { createOriginless, listRecords } from "./dns.ts";
import { createRoute, listRoutes, refuseFullZone } from "./routes.ts";
import { findZone } from "./zones.ts";

export interface HostnameRun {
  readonly cf: Cloudflare;
  readonly db: Db;
  readonly now: number;
}

/** A person has to do something, and does it in their own time. */
const LOOK_AGAIN_MS = 300_000;
const SOON_MS = 30_000;

const nothing = { zoneId: null, routeId: null, recordId: null };

/**
 * Leads a public hostname to the edge: a Worker route, and a proxied record where it has none. Whatever stands there already
 * is left as it is: taking the route away then leaves a working direct path.
 */
export async function routeHostname(run: HostnameRun, row: DueHostname): Promise<Routed> {
  const { cf, db, now } = run;
  const { hostname } = row;
  // A path has its own route, and shares the name's record.
  const name = nameOf(hostname);
  const foreign = (cause: string, zoneId: string | null): Routed => ({
    ...nothing,
    zoneId,
    state: "foreign",
    cause,
    nextAt: now + LOOK_AGAIN_MS,
  });
  const zone = await findZone(cf, name);
  if (zone === null) return foreign(noZone(name), null);
  const ledger = await readLedger(db, { hostname });
  const found = await listRecords(cf, zone, { name });
  const records = judgeRecords(found);
  if (!records.ok) return foreign(bare(records.error), zone);
  const named = name === hostname ? ledger : await readLedger(db, { hostname: name });
  const own = records.value === "proxied" ? ownRecord(found, named) : undefined;
  const routes = await listRoutes(cf, zone);
  const route = routeOf(routes, hostname, cf.settings.worker);
  if (route.kind === "other") return foreign(otherRoute(hostname, route.script), zone);
  const site = siteAt(hostname, { found, own, routes, worker: cf.settings.worker });
  if (site !== null && route.kind === "absent" && !row.isClaimed)
    return foreign(taken(hostname, site, row.app), zone);
  const below =
    route.kind === "absent" && !row.isClaimed ? await firstSiteBelow(run, hostname, { zone, routes }) : null;
  if (below !== null) return foreign(taken(hostname, below, row.app), zone);
  // Its present site goes on until there is a release to take its place.
  if (records.value === "proxied" && !own && route.kind === "absent" && !row.isLive)
    return { ...nothing, zoneId: zone, state: "pending", cause: waiting(hostname), nextAt: now + SOON_MS };
  refuseFullZone(zone, routes.length, route.kind === "absent" ? 1 : 0);
  const routeId = await ensureRoute(run, {
    hostname,
    zone,
    ledger,
    found: route.kind === "right" ? route.id : null,
  });
  const recordId =
    records.value === "absent" ? await ensureRecord(run, name, zone) : await adopt(run, name, own);
  return { zoneId: zone, routeId, recordId, state: "ready", cause: null, nextAt: null };
}

/** Null: the route there is not ours, and stays when the hostname goes. */
async function ensureRoute(
  { cf, db, now }: HostnameRun,
  at: { hostname: string; zone: string; ledger: readonly LedgerRow[]; found: string | null },
): Promise<string | null> {
  const { hostname, zone, ledger } = at;
  const name = routePattern(hostname);
  if (at.found !== null && !ledger.some(({ kind }) => kind === "route")) return null;
  await intend(db, { hostname }, [{ kind: "route", name, zoneId: zone }], now);
  const id = at.found ?? (await createRoute(cf, zone, hostname));
  await noteMade(db, "route", [{ name, id }]);
  return id;
}

/** Null: a wildcard record leads it to Cloudflare already. */
async function ensureRecord(
  { cf, db, now }: HostnameRun,
  hostname: string,
  zone: string,
): Promise<string | null> {
  const wildcard = `*.${hostname.slice(hostname.indexOf(".") + 1)}`;
  const beside = judgeRecords(await listRecords(cf, zone, { name: wildcard }));
  if (beside.ok && beside.value === "proxied") return null;
  await intend(db, { hostname }, [{ kind: "dns_record", name: hostname, zoneId: zone }], now);
  const id = await createOriginless(cf, zone, hostname);
  await noteMade(db, "dns_record", [{ name: hostname, id }]);
  return id;
}

async function adopt(
  { db }: HostnameRun,
  name: string,
  own: FoundRecord | undefined,
): Promise<string | null> {
  if (!own) return null;
  await noteMade(db, "dns_record", [{ name, id: own.id }]);
  return own.id;
}

/** The record that control made, also when Cloudflare's answer to that was lost. */
export const ownRecord = (
  found: readonly FoundRecord[],
  ledger: readonly LedgerRow[],
): FoundRecord | undefined => {
  const row = ledger.find(({ kind }) => kind === "dns_record");
  return (
    row &&
    found.find(({ id, type, content }) =>
      row.remoteId === null ? type === "AAAA" && content === "100::" : id === row.remoteId,
    )
  );
};

const noZone = (hostname: string) =>
  `no zone of this Cloudflare account holds ${hostname}: add its domain to the account, and control does the rest; where it stays with another account or DNS provider, lead it to the edge there by hand`;

const bare = ({ name, type, content }: FoundRecord) =>
  `${name} has an unproxied ${type} record (${content}), so its visitors never meet the edge: switch that record's proxy on in Cloudflare's dashboard, or remove it and control makes one`;

/** What answers at a hostname by now, in words, and is not control's; null: nothing. */
function siteAt(
  hostname: string,
  at: {
    found: readonly FoundRecord[];
    own: FoundRecord | undefined;
    routes: readonly FoundRoute[];
    worker: string;
  },
): string | null {
  const [record] = at.found.filter(({ id, type }) => id !== at.own?.id && ADDRESS_TYPES.includes(type));
  if (record) return `its ${record.type} record (${record.content})`;
  const route = routesOver(at.routes, nameOf(hostname)).find(({ script }) => script !== at.worker);
  return route ? `the Worker route ${route.pattern}` : null;
}

/** A wildcard's route takes what is below it, too: sites that nobody meant. Null: there is none. */
async function firstSiteBelow(
  { cf }: HostnameRun,
  hostname: string,
  { zone, routes }: { zone: string; routes: readonly FoundRoute[] },
): Promise<string | null> {
  if (!hostname.startsWith("*.")) return null;
  const found = await listRecords(cf, zone, { below: hostname.slice(2) });
  // Slots' records lead to tunnels, and their routes to the edge.
  const isOwn = ({ content, name }: FoundRecord) =>
    content.endsWith(".cfargotunnel.com") || name.startsWith("sl-");
  const [site] = sitesBelow(hostname, { found, routes, isOwn });
  return site
    ? `the ${site.type} record of ${site.name} (${site.content}), which its route would take too,`
    : null;
}

const taken = (hostname: string, site: string, app: string) =>
  `${hostname} leads to another site by ${site}, and no administrator said that ${app} may take it: \`sluice hostnames allow ${hostname} --claim -a ${app}\`, or \`sluice apply --claim\`; until then that site goes on`;

const otherRoute = (hostname: string, script: string | null) =>
  `the Worker route ${routePattern(hostname)} ${script === null ? "runs no Worker" : `runs the Worker ${script}`}: remove that route, and control makes one that leads to the edge`;

const waiting = (hostname: string) =>
  `${hostname} is served by what its DNS record names, and stays so until a release is live here: then control makes the Worker route that leads it to the edge`;
