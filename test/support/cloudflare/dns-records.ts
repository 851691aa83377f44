import { z } from "zod";
import { LIMITS } from "./account-limits.ts";
import { zoneOf } from "./accounts.ts";
import { bodyOf, type Endpoint, Refusal } from "./api.ts";
import { type DnsRecord, drop, type World, type Zone } from "./world.ts";

/** DNS records: what may stand beside what, how many there may be, and a batch that is done whole or not at all. */

const ttl = z.union([z.literal(1), z.number().int().min(60).max(86_400)]);
const comment = z.string().max(LIMITS.commentChars);
const common = {
  name: z.string().min(1).max(255),
  ttl,
  proxied: z.boolean().default(false),
  comment: comment.optional(),
};
const hostname = z.string().regex(/^(?=.{1,253}$)(?:[a-z0-9_](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}$/i);
const newRecord = z.discriminatedUnion("type", [
  z.strictObject({ type: z.literal("A"), content: z.ipv4(), ...common }),
  z.strictObject({ type: z.literal("AAAA"), content: z.ipv6(), ...common }),
  z.strictObject({ type: z.literal("CNAME"), content: hostname, ...common }),
  z.strictObject({ type: z.literal("TXT"), content: z.string().max(2_048), ...common }),
]);
type NewRecord = z.infer<typeof newRecord>;
const change = z.strictObject({
  type: z.enum(["A", "AAAA", "CNAME", "TXT"]).optional(),
  name: common.name.optional(),
  content: z.string().optional(),
  ttl: ttl.optional(),
  proxied: z.boolean().optional(),
  comment: comment.optional(),
});
const batch = z.strictObject({
  deletes: z.array(z.strictObject({ id: z.string() })).default([]),
  patches: z.array(change.extend({ id: z.string() })).default([]),
  puts: z
    .array(z.strictObject({ id: z.string() }).loose())
    .max(0)
    .default([]),
  posts: z.array(newRecord).default([]),
});

/** Of one batch on a Free zone. */
const MOST_CHANGES = LIMITS.recordChanges;
const EDIT = "Zone › DNS › Edit";
const LIST = [
  "name",
  "name.exact",
  "name.endswith",
  "type",
  "content",
  "content.exact",
  "comment.exact",
  "comment.startswith",
  "comment",
  "proxied",
  "match",
];

export const dnsRecords = (world: World): Endpoint[] => [
  {
    method: "GET",
    path: "/zones/:zone/dns_records",
    permission: "Zone › DNS › Read",
    query: LIST,
    pages: { size: 100, max: 5_000 },
    handle: (call) => {
      const zone = zoneOf(world, call);
      const asked = (key: string) => call.query[key] ?? call.query[`${key}.exact`];
      const fits = (key: "name" | "type" | "content" | "comment", record: DnsRecord) =>
        asked(key) === undefined || asked(key) === record[key];
      const end = call.query["name.endswith"];
      const begin = call.query["comment.startswith"]?.toLowerCase() ?? "";
      return world.records
        .filter(({ comment }) => (comment ?? "").toLowerCase().startsWith(begin))
        .filter((record) => record.zone === zone.id && (end === undefined || record.name.endsWith(end)))
        .filter((record) =>
          (["name", "type", "content", "comment"] as const).every((key) => fits(key, record)),
        )
        .map(recordView);
    },
  },
  {
    method: "GET",
    path: "/zones/:zone/dns_records/:record",
    permission: "Zone › DNS › Read",
    handle: (call) => recordView(recordOf(world, zoneOf(world, call), call.params.record)),
  },
  {
    method: "POST",
    path: "/zones/:zone/dns_records",
    permission: EDIT,
    body: newRecord,
    handle: (call) => recordView(create(world, zoneOf(world, call), bodyOf(call, newRecord))),
  },
  {
    method: "PATCH",
    path: "/zones/:zone/dns_records/:record",
    permission: EDIT,
    body: change,
    handle: (call) => recordView(edit(world, zoneOf(world, call), call.params.record, bodyOf(call, change))),
  },
  {
    method: "DELETE",
    path: "/zones/:zone/dns_records/:record",
    permission: EDIT,
    handle: (call) => remove(world, zoneOf(world, call), call.params.record),
  },
  {
    method: "POST",
    path: "/zones/:zone/dns_records/batch",
    permission: EDIT,
    body: batch,
    handle: (call) => atOnce(world, zoneOf(world, call), bodyOf(call, batch)),
  },
];

/** Deletes, patches, posts, in this order; one that is refused undoes those before it. */
function atOnce(world: World, zone: Zone, { deletes, patches, posts }: z.infer<typeof batch>) {
  const changes = deletes.length + patches.length + posts.length;
  if (changes > MOST_CHANGES)
    throw new Refusal(400, 9207, `batch of ${changes} exceeds ${MOST_CHANGES} changes`);
  const before = world.records.map((record) => ({ ...record }));
  try {
    return {
      deletes: deletes.map(({ id }) => remove(world, zone, id)),
      patches: patches.map(({ id, ...rest }) => recordView(edit(world, zone, id, rest))),
      puts: [],
      posts: posts.map((record) => recordView(create(world, zone, record))),
    };
  } catch (error) {
    world.records.splice(0, world.records.length, ...before);
    throw error;
  }
}

function create(world: World, zone: Zone, asked: NewRecord): DnsRecord {
  const name = nameIn(zone, asked.name);
  refuseUnreachable(zone, name, asked);
  refuseDouble(world, zone, { ...asked, name });
  const held = world.records.filter((record) => record.zone === zone.id).length;
  if (held >= zone.maxRecords) throw new Refusal(400, 81_045, "Record quota exceeded.");
  const record = { id: world.hexId(), zone: zone.id, ...asked, name, comment: asked.comment ?? null };
  world.records.push(record);
  return record;
}

function edit(world: World, zone: Zone, id: string | undefined, asked: z.infer<typeof change>): DnsRecord {
  const record = recordOf(world, zone, id);
  const { type = record.type, content = record.content, name = record.name } = asked;
  const changed = { ...asked, type, content, name: nameIn(zone, name) };
  const others = { ...world, records: world.records.filter((other) => other !== record) };
  refuseDouble(others, zone, changed);
  return Object.assign(record, changed);
}

function remove(world: World, zone: Zone, id: string | undefined): { id: string } {
  const record = recordOf(world, zone, id);
  drop(world.records, record);
  return { id: record.id };
}

/** Cloudflare takes `www` for `www.<zone>`. A caller that forgets the zone is more often wrong: refused here. */
function nameIn(zone: Zone, name: string): string {
  const lower = name.toLowerCase();
  if (lower === zone.name || lower.endsWith(`.${zone.name}`)) return lower;
  throw new Refusal(400, 9005, `name ${name} is not within ${zone.name}`);
}

/**
 * What the API would take and nobody could ever reach: a tunnel behind an unproxied name, or one so deep that Universal SSL
 * has no certificate for it.
 */
function refuseUnreachable(zone: Zone, name: string, { type, content, proxied }: NewRecord): void {
  if (type !== "CNAME" || !content.endsWith(".cfargotunnel.com")) return;
  if (!proxied) throw new Refusal(400, 9004, `${name}: a tunnel is only reached through the proxy`);
  const labels = name.slice(0, -zone.name.length - 1).split(".");
  if (labels.length > 1)
    throw new Refusal(400, 9004, `${name}: no certificate is that deep below ${zone.name}`);
}

const ADDRESSES = ["A", "AAAA", "CNAME"];

function refuseDouble(
  world: World,
  zone: Zone,
  { name, type, content }: Pick<DnsRecord, "name" | "type" | "content">,
) {
  const beside = world.records.filter((record) => record.zone === zone.id && record.name === name);
  if (beside.some((record) => record.type === type && record.content === content))
    throw new Refusal(400, 81_058, "An identical record already exists.");
  if (type === "CNAME" && beside.some((record) => ADDRESSES.includes(record.type)))
    throw new Refusal(400, 81_053, "An A, AAAA, or CNAME record with that host already exists.");
  if (ADDRESSES.includes(type) && beside.some((record) => record.type === "CNAME"))
    throw new Refusal(400, 81_054, "A CNAME record with that host already exists.");
}

function recordOf(world: World, zone: Zone, id: string | undefined): DnsRecord {
  const record = world.records.find((candidate) => candidate.zone === zone.id && candidate.id === id);
  if (!record) throw new Refusal(404, 81_044, "Record does not exist.");
  return record;
}

const recordView = ({ zone: _, ...record }: DnsRecord) => ({
  ...record,
  proxiable: record.type !== "TXT",
  settings: {},
  meta: {},
  tags: [],
  created_on: "2026-11-25T00:00:00Z",
  modified_on: "2026-11-25T00:00:00Z",
});
