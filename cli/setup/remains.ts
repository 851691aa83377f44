import { ask, type Sdk, unlessMissing } from "./cloudflare.ts";
import type { WorkerFacts } from "./facts.ts";
import {
  findDatabase,
  findNamespace,
  findServiceToken,
  findWorker,
  keepsImages,
  listDomains,
} from "./facts.ts";
import type { Kept } from "./files.ts";
import {
  controlWorker,
  databaseName,
  edgeWorker,
  type Installation,
  namespaceTitle,
  serviceTokenName,
} from "./installation.ts";

/** What of an installation is there to be removed: only what the Workers' own bindings, control's ledger or this machine's record call ours. */
export interface Remains {
  readonly edge: boolean;
  readonly control: boolean;
  readonly routes: readonly { readonly id: string; readonly zone: string; readonly pattern: string }[];
  /** Records that control made for apps' hostnames, and that are still as it made them. */
  readonly records: readonly { readonly id: string; readonly zone: string; readonly name: string }[];
  readonly domains: readonly { readonly id: string; readonly hostname: string }[];
  readonly namespace: string | null;
  readonly database: string | null;
  readonly serviceToken: string | null;
  /** Has images in it, as a rule: Cloudflare removes none that is not empty. */
  readonly bucket: boolean;
  /** Of hosts that were not removed, by name: `tunnel sluice-web-1-…`. */
  readonly ofHosts: readonly string[];
  /** Under our names, but nothing shows that it is ours. */
  readonly foreign: readonly string[];
}

export async function readRemains(
  sdk: Sdk,
  installation: Installation,
  kept: Kept | undefined,
): Promise<Remains> {
  const { account, name } = installation;
  const [edge, control, domains, routes] = await Promise.all([
    findWorker(sdk, account.id, edgeWorker(name)),
    findWorker(sdk, account.id, controlWorker(name)),
    listDomains(sdk, account.id),
    edgeRoutes(sdk, account.id, edgeWorker(name)),
  ]);
  const isEdge =
    edge?.bindings.some(({ type, service }) => type === "service" && service === controlWorker(name)) ===
    true;
  const isControl = control?.bindings.some((one) => one.name === "COORDINATOR") === true;
  const stores = await ownStores(sdk, installation, isControl ? control : null, kept);
  const ledger = stores.database ? await readLedger(sdk, account.id, stores.database) : [];
  return {
    edge: isEdge,
    control: isControl,
    routes: isEdge || edge === null ? routes : [],
    domains: isControl ? domains.filter(({ service }) => service === controlWorker(name)) : [],
    records: await unchanged(sdk, ledger),
    bucket: isControl && keepsImages({ control }),
    ...stores,
    serviceToken: installation.access
      ? ((await findServiceToken(sdk, account.id, serviceTokenName(name)))?.id ?? null)
      : null,
    ofHosts: ledger
      .filter(({ host_id }) => host_id !== null)
      .map(({ kind, name: what }) => `${kind.replaceAll("_", " ")} ${what}`),
    foreign: [
      ...stores.foreign,
      ...(edge && !isEdge ? [`the Worker ${edgeWorker(name)}`] : []),
      ...(control && !isControl ? [`the Worker ${controlWorker(name)}`] : []),
    ],
  };
}

async function edgeRoutes(sdk: Sdk, account: string, script: string): Promise<Remains["routes"]> {
  const found: { id: string; zone: string; pattern: string }[] = [];
  const zones: { id: string; name: string }[] = [];
  await ask("list the zones of the account", "zones", async () => {
    for await (const zone of sdk.zones.list({ account: { id: account } })) zones.push(zone);
  });
  for (const { id: zone, name } of zones) {
    const { result } = await ask(`list the Worker routes of ${name}`, "routes", () =>
      sdk.workers.routes.list({ zone_id: zone }),
    );
    for (const { id, pattern, script: runs } of result)
      if (runs === script) found.push({ id, zone, pattern });
  }
  return found;
}

/** By what control is bound to; without control, by what this machine noted when it made them. */
async function ownStores(
  sdk: Sdk,
  { account, name }: Installation,
  control: WorkerFacts | null,
  kept: Kept | undefined,
) {
  const bound = (type: string, field: string) => control?.bindings.find((one) => one.type === type)?.[field];
  const [database, namespace] = await Promise.all([
    findDatabase(sdk, account.id, databaseName(name)),
    findNamespace(sdk, account.id, namespaceTitle(name)),
  ]);
  const isOurs = (found: { id: string } | null, ids: readonly unknown[]) =>
    found !== null && ids.includes(found.id);
  const databaseIsOurs = isOurs(database, [bound("d1", "id"), kept?.ids.database]);
  const namespaceIsOurs = isOurs(namespace, [bound("kv_namespace", "namespace_id"), kept?.ids.namespace]);
  return {
    database: databaseIsOurs ? (database?.id ?? null) : null,
    namespace: namespaceIsOurs ? (namespace?.id ?? null) : null,
    foreign: [
      ...(database && !databaseIsOurs ? [`the D1 database ${databaseName(name)}`] : []),
      ...(namespace && !namespaceIsOurs ? [`the KV namespace ${namespaceTitle(name)}`] : []),
    ],
  };
}

interface LedgerRow {
  readonly kind: string;
  readonly name: string;
  readonly remote_id: string | null;
  readonly zone_id: string | null;
  readonly host_id: string | null;
}

/** Control's own list of what it made at Cloudflare. */
async function readLedger(sdk: Sdk, account_id: string, database: string): Promise<LedgerRow[]> {
  const select = (sql: string) =>
    ask("read control's list of what it made", "d1", async () => {
      const [answer] = (await sdk.d1.database.query(database, { account_id, sql })).result;
      return answer?.results ?? [];
    });
  const table = await select("SELECT name FROM sqlite_master WHERE name = 'cloudflare_resources'");
  if (table.length === 0) return [];
  const rows = await select(
    "SELECT kind, name, remote_id, zone_id, host_id FROM cloudflare_resources ORDER BY id",
  );
  return rows as LedgerRow[]; // Five columns of our own table, of these types.
}

/** A record that somebody gave another content since is theirs now. */
async function unchanged(sdk: Sdk, ledger: readonly LedgerRow[]): Promise<Remains["records"]> {
  const rows = ledger.filter(({ kind, host_id }) => kind === "dns_record" && host_id === null);
  const found = await Promise.all(
    rows.map(async ({ remote_id: id, zone_id: zone, name }) => {
      if (id === null || zone === null) return [];
      const record = await ask(`look up the DNS record ${name}`, "dns", () =>
        unlessMissing(() => sdk.dns.records.get(id, { zone_id: zone })),
      );
      return record?.content === "100::" ? [{ id, zone, name }] : [];
    }),
  );
  return found.flat();
}

export const isNothing = ({ edge, control, routes, namespace, database, serviceToken }: Remains): boolean =>
  !edge &&
  !control &&
  routes.length === 0 &&
  namespace === null &&
  database === null &&
  serviceToken === null;
