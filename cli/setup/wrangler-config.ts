import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parse } from "smol-toml";
import { controlWorker, databaseName, edgeWorker, type Installation } from "./installation.ts";

/**
 * wrangler's configuration of one installation, from the repository's `wrangler.toml`: what both Workers are made of
 * stands there and only there; here come the ids, names, variables and the hostname.
 */
export interface Ids {
  readonly database: string;
  readonly namespace: string;
}
export type Which = "control" | "edge";
type Table = Readonly<Record<string, unknown>>;
export type WorkerConfig = Table & { readonly name: string; readonly vars: Readonly<Record<string, string>> };

const ROOT = new URL("../../", import.meta.url).pathname;
const MIGRATIONS = join(ROOT, "migrations");
/** Keys of the top level that wrangler passes on to an environment which doesn't set them. */
const INHERITED = ["compatibility_date", "compatibility_flags", "observability", "limits", "placement"];
/** Whose change makes another Worker. */
const SOURCES: Readonly<Record<Which, readonly string[]>> = {
  // Control hands the agent out to hosts.
  control: ["src/control", "src/domain", "src/protocol", "agent"],
  edge: ["src/edge", "src/domain"],
};

export function workerConfig(which: Which, installation: Installation, ids: Ids): WorkerConfig {
  const file = parse(readFileSync(join(ROOT, "wrangler.toml"), "utf8"));
  const { env, ...top } = file as { env: { edge: Table } } & Table; // Our own file: it has the edge.
  const inherited = Object.fromEntries(Object.entries(top).filter(([key]) => INHERITED.includes(key)));
  // The edge has no schedule. Its empty list keeps control's from it under wrangler; sent, it counts against the account's limit.
  const { triggers: _none, ...edge } = env.edge;
  const base: Table = which === "control" ? top : { ...inherited, ...edge };
  const own = which === "control" ? controlParts(base, installation, ids) : edgeParts(installation);
  const config = {
    ...base,
    main: join(ROOT, String(base.main)),
    ...(base.build ? { build: { ...base.build, cwd: ROOT } } : {}),
    account_id: installation.account.id,
    // Control and edge are reached by their hostnames alone.
    workers_dev: false,
    preview_urls: false,
    kv_namespaces: [{ binding: "TABLES", id: ids.namespace }],
    ...own,
  };
  return { ...config, vars: { ...own.vars, VERSION: version(which, config, ids) } };
}

function controlParts(
  base: Table,
  { account, name, zone, slotZone, controlHostname }: Installation,
  ids: Ids,
) {
  const [database] = base.d1_databases as Table[]; // Our own file: it has one.
  const folders = { database_id: ids.database, migrations_dir: MIGRATIONS };
  return {
    name: controlWorker(name),
    d1_databases: [{ ...database, database_name: databaseName(name), ...folders }],
    routes: [{ pattern: controlHostname, zone_id: zone.id, custom_domain: true }],
    vars: {
      CLOUDFLARE_ACCOUNT_ID: account.id,
      CONTROL_HOSTNAME: controlHostname,
      SLOT_ZONE: slotZone.name,
      SLOT_ZONE_ID: slotZone.id,
      EDGE_WORKER: edgeWorker(name),
    },
  };
}

const edgeParts = ({ name, slotZone }: Installation) => ({
  name: edgeWorker(name),
  services: [{ binding: "CONTROL", service: controlWorker(name), entrypoint: "EdgePort" }],
  // What its shield takes for a slot's hostname.
  vars: { SLOT_ZONE: slotZone.name },
});

/** `0.1.0+3f2a…`: the release, and a hash of all that makes this Worker. /health shows it, and an equal one is not deployed again. */
function version(which: Which, config: Table, { database, namespace }: Ids): string {
  const hash = createHash("sha256");
  for (const folder of SOURCES[which])
    for (const file of filesIn(folder)) hash.update(`${file}\n`).update(readFileSync(join(ROOT, file)));
  hash.update(readFileSync(join(ROOT, "package-lock.json")));
  // Where the checkout lies and what ids Cloudflare gave is not what the Worker does; the ids are compared by themselves.
  hash.update(
    JSON.stringify(config).replaceAll(ROOT, "/").replaceAll(database, "").replaceAll(namespace, ""),
  );
  return `${packageVersion()}+${hash.digest("hex").slice(0, 12)}`;
}

const packageVersion = (): string =>
  (JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as { version: string }).version;

function filesIn(folder: string): string[] {
  const entries = readdirSync(join(ROOT, folder), { withFileTypes: true });
  return entries
    .flatMap((entry) => {
      const path = `${folder}/${entry.name}`;
      return entry.isDirectory() ? filesIn(path) : [path];
    })
    .sort();
}

/** Names of the migrations in this checkout, in their order. */
export const migrationNames = (): string[] =>
  readdirSync(MIGRATIONS)
    .filter((name) => name.endsWith(".sql"))
    .sort();
