import { type Region, regionOf } from "../../src/protocol/region.ts";
import { clean } from "../io/print.ts";
import { CliError } from "../io/problem.ts";
import { ask, type Sdk, unlessMissing } from "./cloudflare.ts";
import {
  bucketName,
  controlWorker,
  databaseName,
  edgeWorker,
  type Installation,
  namespaceTitle,
  serviceTokenName,
} from "./installation.ts";

/** What is in the account under the installation's names. Reads only. */
export interface AccountFacts {
  readonly database: {
    readonly id: string;
    readonly applied: readonly string[];
    /** Where it runs, if it says so. */
    readonly region: Region | null;
  } | null;
  readonly namespace: { readonly id: string } | null;
  /** One in the namespace that Sluice would not write. Looked for while no control shows whose it is. */
  readonly strangeKey: string | null;
  /** Looked for only where images are kept: an account need not have R2 switched on. */
  readonly bucket: { readonly name: string } | null;
  /** The account's workers.dev subdomain: no Worker is reached by it, but Cloudflare sets no schedule without one. */
  readonly subdomain: { readonly name: string } | null;
  readonly control: WorkerFacts | null;
  readonly edge: WorkerFacts | null;
  /** The custom domains on the control hostname and of control's Worker. */
  readonly domains: readonly Domain[];
  /** A DNS record on the control hostname that no custom domain brought: `A 192.0.2.1`. */
  readonly record: string | null;
  /** A route by which another Worker gets what control is asked: routes go before custom domains. */
  readonly route: { readonly pattern: string; readonly script: string } | null;
  readonly serviceToken: { readonly id: string; readonly clientId: string } | null;
}

export interface Domain {
  readonly id: string;
  readonly hostname: string;
  readonly service: string;
}

export interface Binding {
  readonly type: string;
  readonly name: string;
  readonly [field: string]: unknown;
}

export interface WorkerFacts {
  readonly bindings: readonly Binding[];
  readonly crons: readonly string[];
  readonly workersDev: boolean;
}

export async function readFacts(sdk: Sdk, installation: Installation): Promise<AccountFacts> {
  const { account, name, controlHostname, access } = installation;
  const [database, namespace, subdomain, control, edge, domains, record, route, serviceToken] =
    await Promise.all([
      findDatabase(sdk, account.id, databaseName(name)),
      findNamespace(sdk, account.id, namespaceTitle(name)),
      findSubdomain(sdk, account.id),
      findWorker(sdk, account.id, controlWorker(name)),
      findWorker(sdk, account.id, edgeWorker(name)),
      listDomains(sdk, account.id),
      findRecord(sdk, installation),
      findRoute(sdk, installation),
      access ? findServiceToken(sdk, account.id, serviceTokenName(name)) : null,
    ]);
  const own = domains.filter(
    ({ hostname, service }) => hostname === controlHostname || service === controlWorker(name),
  );
  const wantsBucket = installation.images || keepsImages({ control });
  const hasDomain = own.some(({ hostname }) => hostname === controlHostname);
  return {
    database,
    namespace,
    strangeKey: namespace && !control ? await findStrangeKey(sdk, account.id, namespace.id) : null,
    bucket: wantsBucket ? await findBucket(sdk, account.id, bucketName(name)) : null,
    subdomain,
    control,
    edge,
    domains: own,
    record: hasDomain ? null : record,
    // Once control is there, whoever put a Worker before it knows.
    route: hasDomain ? null : route,
    serviceToken,
  };
}

export async function findDatabase(
  sdk: Sdk,
  account_id: string,
  name: string,
): Promise<AccountFacts["database"]> {
  const id = await ask("list D1 databases", "d1", async () => {
    for await (const one of sdk.d1.database.list({ account_id, name }))
      if (one.name === name) return one.uuid;
    return undefined;
  });
  return id === undefined ? null : { id, ...(await lookInto(sdk, { account_id, id, name })) };
}

interface Database {
  readonly account_id: string;
  readonly id: string;
  readonly name: string;
}

/** The applied migrations, by wrangler's own table of them, and where it runs. A database with tables but without it is somebody else's. */
async function lookInto(sdk: Sdk, { account_id, id, name }: Database) {
  let region: Region | null = null;
  const names = (sql: string) =>
    ask(`read the D1 database ${name}`, "d1", async () => {
      const [answer] = (await sdk.d1.database.query(id, { account_id, sql })).result;
      region = regionOf(answer?.meta?.served_by_region);
      return ((answer?.results ?? []) as { name: string }[]).map((row) => row.name); // Both queries ask for `name`.
    });
  const tables = await names(
    "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND name NOT LIKE '\\_cf\\_%' ESCAPE '\\'",
  );
  if (tables.length === 0) return { applied: [], region };
  if (tables.includes("d1_migrations"))
    return { applied: await names("SELECT name FROM d1_migrations ORDER BY id"), region };
  throw foreign(
    `the D1 database ${name}`,
    `has tables that are not Sluice's (${tables.slice(0, 3).join(", ")})`,
  );
}

export async function findNamespace(
  sdk: Sdk,
  account_id: string,
  title: string,
): Promise<AccountFacts["namespace"]> {
  return ask("list KV namespaces", "kv", async () => {
    for await (const one of sdk.kv.namespaces.list({ account_id, per_page: 100 }))
      if (one.title === title) return { id: one.id };
    return null;
  });
}

/** Everything that Sluice keeps in KV. */
const OWN_KEYS = "table:";

async function findStrangeKey(sdk: Sdk, account_id: string, namespace: string): Promise<string | null> {
  const { result } = await ask("list the keys of the KV namespace", "kv", () =>
    sdk.kv.namespaces.keys.list(namespace, { account_id }),
  );
  return result.find(({ name }) => !name.startsWith(OWN_KEYS))?.name ?? null;
}

/** Control is bound to a bucket for images. */
export const keepsImages = ({ control }: Pick<AccountFacts, "control">): boolean =>
  control?.bindings.some(({ type, name }) => type === "r2_bucket" && name === "IMAGES") === true;

async function findBucket(sdk: Sdk, account_id: string, name: string): Promise<AccountFacts["bucket"]> {
  const found = await ask(`look up the R2 bucket ${name}`, "r2", () =>
    unlessMissing(() => sdk.r2.buckets.get(name, { account_id })),
  );
  return found ? { name } : null;
}

async function findSubdomain(sdk: Sdk, account_id: string): Promise<AccountFacts["subdomain"]> {
  const found = await ask("look up the workers.dev subdomain", "workers", () =>
    unlessMissing(() => sdk.workers.subdomains.get({ account_id })),
  );
  return found?.subdomain ? { name: found.subdomain } : null;
}

export async function findWorker(sdk: Sdk, account_id: string, name: string): Promise<WorkerFacts | null> {
  return ask(`read the Worker ${name}`, "workers", async () => {
    const { scripts } = sdk.workers;
    const settings = await unlessMissing(() => scripts.scriptAndVersionSettings.get(name, { account_id }));
    if (!settings) return null;
    const [{ schedules }, subdomain] = await Promise.all([
      scripts.schedules.get(name, { account_id }),
      scripts.subdomain.get(name, { account_id }),
    ]);
    return {
      bindings: (settings.bindings ?? []).map((one): Binding => ({ ...one })),
      crons: schedules.map(({ cron }) => cron),
      workersDev: subdomain.enabled,
    };
  });
}

export async function listDomains(sdk: Sdk, account_id: string): Promise<Domain[]> {
  return ask("list custom domains", "workers", async () => {
    const domains: Domain[] = [];
    for await (const { id, hostname, service } of sdk.workers.domains.list({ account_id }))
      domains.push({ id, hostname, service });
    return domains;
  });
}

async function findRecord(sdk: Sdk, { zone, controlHostname }: Installation): Promise<string | null> {
  return ask(`look up the DNS record ${controlHostname}`, "dns", async () => {
    for await (const { type, content } of sdk.dns.records.list({
      zone_id: zone.id,
      name: { exact: controlHostname },
    }))
      return `${type} ${content ?? ""}`.trim();
    return null;
  });
}

/** What agents, the command line and setup's own look at control's health ask for. */
const CONTROL_PATHS = ["/health", "/api/"];

/** https://developers.cloudflare.com/workers/configuration/routing/routes/: they “take precedence if configured on the same hostname”. */
async function findRoute(sdk: Sdk, { zone, controlHostname }: Installation): Promise<AccountFacts["route"]> {
  const { result } = await ask(`list the Worker routes of ${zone.name}`, "routes", () =>
    sdk.workers.routes.list({ zone_id: zone.id }),
  );
  // Cloudflare takes the most specific one; a route without a Worker leads past the others.
  const [first] = result
    .map(({ pattern, script }) => ({ pattern: pattern.replace(/^https?:\/\//, ""), script }))
    .filter(({ pattern }) => isOver(pattern, controlHostname))
    .toSorted((a, b) => b.pattern.length - a.pattern.length);
  return first?.script ? { pattern: first.pattern, script: first.script } : null;
}

/** `*example.com` is also the name itself, `*.example.com` only what is below it. */
function isOver(pattern: string, hostname: string): boolean {
  const [, host = "", path = "/"] = /^([^/]*)(\/.*)?$/.exec(pattern.toLowerCase()) ?? [];
  const prefix = path.replace(/\*$/, "");
  return (
    (host === hostname || (host.startsWith("*") && hostname.endsWith(host.slice(1)))) &&
    CONTROL_PATHS.some((own) => (path.endsWith("*") ? own.startsWith(prefix) : own === path))
  );
}

export async function findServiceToken(
  sdk: Sdk,
  account_id: string,
  name: string,
): Promise<AccountFacts["serviceToken"]> {
  return ask("list Access service tokens", "accessTokens", async () => {
    for await (const one of sdk.zeroTrust.access.serviceTokens.list({ account_id, name }))
      if (one.name === name && one.id && one.client_id) return { id: one.id, clientId: one.client_id };
    return null;
  });
}

/** Names taken by others are left alone: setup would replace what it did not make. */
export function refuseForeign(facts: AccountFacts, { name, controlHostname, slotZone }: Installation): void {
  const { control, edge, domains, record, route, strangeKey } = facts;
  const has = (worker: WorkerFacts, type: string, binding: string) =>
    worker.bindings.some((one) => one.type === type && one.name === binding);
  if (control && !has(control, "durable_object_namespace", "COORDINATOR"))
    throw foreign(`the Worker ${controlWorker(name)}`, "is not Sluice's control");
  if (edge && !has(edge, "service", "CONTROL"))
    throw foreign(`the Worker ${edgeWorker(name)}`, "is not Sluice's edge");
  const other = domains.find(({ service }) => service !== controlWorker(name));
  if (other) throw taken(controlHostname, `is the Worker ${other.service}'s`);
  const elsewhere = domains.find(({ hostname }) => hostname !== controlHostname);
  if (elsewhere) throw moved(elsewhere.hostname, controlHostname);
  const slots = control?.bindings.find((one) => one.name === "SLOT_ZONE")?.text;
  if (slots !== undefined && slots !== slotZone.name) throw otherSlots(String(slots), slotZone.name);
  if (record !== null) throw taken(controlHostname, `has a DNS record already (${record})`);
  if (route !== null)
    throw taken(
      controlHostname,
      `would be answered by the Worker ${route.script}: its route ${route.pattern} goes before a custom domain. A route \`${controlHostname}/*\` without a Worker, or none of that pattern, lets control answer`,
    );
  if (strangeKey !== null)
    throw foreign(
      `the KV namespace ${namespaceTitle(name)}`,
      `has keys that are not Sluice's (${clean(strangeKey.slice(0, 60))})`,
    );
}

export const foreign = (what: string, why: string): CliError =>
  new CliError("conflict", `${what} is there and ${why}. Nothing was changed.`, {
    title: "a name is taken",
    next: [{ command: "sluice setup --name <another>", when: "Sluice is to stand beside it" }],
  });

const taken = (hostname: string, why: string): CliError =>
  new CliError("hostname_taken", `${hostname} ${why}. Nothing was changed.`, {
    title: "the control hostname is taken",
    next: [{ command: "sluice setup --control-hostname <another>", when: "control is to be elsewhere" }],
  });

/** Hosts and people know control by its hostname: a second one would leave the first behind, and hosts with it. */
const moved = (from: string, to: string): CliError =>
  new CliError(
    "conflict",
    `control is at ${from} already, where its hosts look for it; it is not moved to ${to}`,
    {
      title: "control has a hostname",
      next: [{ command: `sluice setup --control-hostname ${from}`, when: "it is to stay there" }],
    },
  );

const otherSlots = (from: string, to: string): CliError =>
  new CliError(
    "conflict",
    `the hosts' slots have their names in ${from} already; they are not moved to ${to}`,
    {
      title: "slots have a zone",
      next: [{ command: `sluice setup --slot-zone ${from}`, when: "they are to stay there" }],
    },
  );
