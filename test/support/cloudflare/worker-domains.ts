import { z } from "zod";
import { ofAccount } from "./accounts.ts";
import { bodyOf, type Call, type Endpoint, notFound, Refusal } from "./api.ts";
import { drop, type WorkerDomain, type World, type Zone } from "./world.ts";

const READ = "Account › Workers Scripts › Read";
const EDIT = "Account › Workers Scripts › Edit";
const OF_SCRIPT = "/accounts/:account/workers/scripts/:script/domains";
const BASE = "/accounts/:account/workers/domains";

const origin = z.strictObject({
  hostname: z.string(),
  zone_id: z.string().optional(),
  zone_name: z.string().optional(),
  enabled: z.boolean().optional(),
  previews_enabled: z.boolean().optional(),
});
const origins = z.array(origin);
const records = z.strictObject({
  override_scope: z.boolean(),
  override_existing_origin: z.boolean(),
  override_existing_dns_record: z.boolean(),
  origins,
});

/** Custom domains: hostnames that are a Worker's alone, each with the DNS record that Cloudflare makes for it. */
export const workerDomains = (world: World): Endpoint[] => [
  {
    method: "POST",
    path: `${OF_SCRIPT}/changeset`,
    permission: READ,
    query: ["replace_state"],
    body: origins,
    handle: (call) => changeset(world, call, bodyOf(call, origins)),
  },
  {
    method: "PUT",
    path: `${OF_SCRIPT}/records`,
    permission: EDIT,
    body: records,
    handle: (call) => attach(world, call, bodyOf(call, records)),
  },
  {
    method: "GET",
    path: BASE,
    permission: READ,
    query: ["hostname", "service", "zone_id", "zone_name", "environment"],
    handle: ({ query, ...call }) =>
      ofAccount(world, { query, ...call })
        .domains.filter(({ hostname }) => (query.hostname ?? hostname) === hostname)
        .filter(({ service }) => (query.service ?? service) === service)
        .map(view),
  },
  {
    method: "DELETE",
    path: `${BASE}/:domain`,
    permission: EDIT,
    handle: (call) => {
      const found = ofAccount(world, call).domains.find(({ id }) => id === call.params.domain);
      if (!drop(world.domains, found)) throw notFound("domain");
      drop(
        world.records,
        world.records.find(({ id }) => id === found.record),
      );
      return { id: found.id };
    },
  },
];

type Origin = z.infer<typeof origin>;

function changeset(world: World, call: Call, asked: readonly Origin[]) {
  const service = scriptOf(world, call);
  const known = (one: Origin) => world.domains.find(({ hostname }) => hostname === one.hostname);
  return {
    added: asked.filter((one) => !known(one)),
    updated: asked.filter(known).map((one) => ({ ...one, modified: known(one)?.service !== service })),
    removed: world.domains
      .filter(
        (domain) => domain.service === service && !asked.some((one) => one.hostname === domain.hostname),
      )
      .map(view),
    conflicting: asked.filter((one) => !known(one) && hasRecord(world, one)),
  };
}

function attach(world: World, call: Call, asked: z.infer<typeof records>) {
  const service = scriptOf(world, call);
  for (const one of asked.origins) {
    const zone = zoneFor(world, one);
    const known = world.domains.find(({ hostname }) => hostname === one.hostname);
    if (known && known.service !== service && !asked.override_existing_origin)
      throw new Refusal(409, 100_116, `Hostname '${one.hostname}' is already in use by another Worker.`);
    if (known) known.service = service;
    else
      world.domains.push(
        newDomain(world, { one, zone, service, mayReplace: asked.override_existing_dns_record }),
      );
  }
  return world.domains.filter((domain) => domain.service === service).map(view);
}

interface NewDomain {
  readonly one: Origin;
  readonly zone: Zone;
  readonly service: string;
  readonly mayReplace: boolean;
}

function newDomain(world: World, { one, zone, service, mayReplace }: NewDomain): WorkerDomain {
  if (hasRecord(world, one) && !mayReplace)
    throw new Refusal(409, 100_117, `Hostname '${one.hostname}' already has externally managed DNS records.`);
  for (const record of world.records.filter(({ name }) => name === one.hostname)) drop(world.records, record);
  const record = world.hexId();
  world.records.push({
    id: record,
    zone: zone.id,
    type: "AAAA",
    name: one.hostname,
    content: "100::",
    proxied: true,
    ttl: 1,
    comment: null,
  });
  return { id: world.hexId(), hostname: one.hostname, zone, service, record };
}

const hasRecord = (world: World, { hostname }: Origin) => world.records.some(({ name }) => name === hostname);

function scriptOf(world: World, call: Call): string {
  const { script = "" } = ofAccount(world, call) && call.params;
  if (!world.scripts.has(script))
    throw new Refusal(404, 10_007, "This Worker does not exist on your account.");
  return script;
}

function zoneFor(world: World, { hostname, zone_id, zone_name }: Origin): Zone {
  const zone = world.zones.find(({ id, name }) => id === zone_id || name === zone_name);
  if (!zone) throw new Refusal(400, 10_043, `no zone for ${hostname}`);
  if (hostname !== zone.name && !hostname.endsWith(`.${zone.name}`))
    throw new Refusal(400, 10_043, `${hostname} is not within ${zone.name}`);
  return zone;
}

const view = ({ id, hostname, zone, service }: WorkerDomain) => ({
  id,
  hostname,
  zone_id: zone.id,
  zone_name: zone.name,
  service,
  environment: "production",
  cert_id: "5".repeat(32),
});
