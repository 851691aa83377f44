import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parse } from "smol-toml";
import packageFile from "../../package.json" with { type: "json" };
import type { Region } from "../../src/protocol/region.ts";
import { bucketName, controlWorker, databaseName, edgeWorker, type Installation } from "./installation.ts";
import { ROOT } from "./root.ts";

/**
 * wrangler's configuration of one installation, from the repository's `wrangler.toml`: what both Workers are made of
 * stands there and only there; here come the ids, names, variables and the hostname.
 */
export interface Ids {
  readonly database: string;
  readonly namespace: string;
  /** Where D1 is, and objects are to be. */
  readonly region: Region | null;
}
export type Which = "control" | "edge";
type Table = Readonly<Record<string, unknown>>;
export type WorkerConfig = Table & { readonly name: string; readonly vars: Readonly<Record<string, string>> };

const MIGRATIONS = join(ROOT, "migrations");
/** Keys of the top level that wrangler passes on to an environment which doesn't set them. */
const INHERITED = ["compatibility_date", "compatibility_flags", "observability", "limits", "placement"];
/** Whose change makes another Worker. */
const SOURCES: Readonly<Record<Which, readonly string[]>> = {
  // Control hands out the agent to hosts, and the command line to CI.
  control: ["src/control", "src/domain", "src/protocol", "src/client", "agent", "cli"],
  edge: ["src/edge", "src/domain"],
};
/** What `npm pack` puts in the place of the sources: each Worker as wrangler bundled it, and its sources' hash. */
export const BUILT = "dist/workers";

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
    ...program(which, base),
    account_id: installation.account.id,
    // Control and edge are reached by their hostnames alone.
    workers_dev: false,
    preview_urls: false,
    kv_namespaces: [{ binding: "TABLES", id: ids.namespace }],
    ...own,
  };
  const place: Readonly<Record<string, string>> =
    which === "control" && ids.region !== null ? { REGION: ids.region } : {};
  return { ...config, vars: { ...own.vars, ...place, VERSION: version(which, config, ids) } };
}

/** From the sources in a checkout; in the package from what was built of them, whose texts are modules beside it. */
function program(which: Which, base: Table): Table {
  if (existsSync(join(ROOT, String(base.main))))
    return {
      main: join(ROOT, String(base.main)),
      ...(base.build ? { build: { ...base.build, cwd: ROOT } } : {}),
    };
  return {
    main: join(ROOT, BUILT, which, "worker.js"),
    build: {},
    no_bundle: true,
    find_additional_modules: true,
    rules: [{ type: "Text", globs: ["*.txt"] }],
  };
}

function controlParts(
  base: Table,
  { account, name, zone, slotZone, controlHostname, images }: Installation,
  ids: Ids,
) {
  const [database] = base.d1_databases as Table[]; // Our own file: it has one.
  const limits = base.ratelimits as (Table & { readonly name: string })[]; // It has these, too.
  const folders = { database_id: ids.database, migrations_dir: MIGRATIONS };
  return {
    name: controlWorker(name),
    ratelimits: limits.map((limit) => ({ ...limit, namespace_id: counterId(name, limit.name) })),
    d1_databases: [{ ...database, database_name: databaseName(name), ...folders }],
    ...(images ? { r2_buckets: [{ binding: "IMAGES", bucket_name: bucketName(name) }] } : {}),
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

/** Counters are an account's and known by a number: two installations in one account must not count into the same. */
const counterId = (installation: string, limit: string): string =>
  String(1 + (createHash("sha256").update(`${installation}/${limit}`).digest().readUInt32BE() >>> 1));

const edgeParts = ({ name, slotZone }: Installation) => ({
  name: edgeWorker(name),
  services: [{ binding: "CONTROL", service: controlWorker(name), entrypoint: "EdgePort" }],
  // What its shield takes for a slot's hostname.
  vars: { SLOT_ZONE: slotZone.name },
});

/** `0.1.0+3f2a…`: the release, and a hash of all that makes this Worker. /health shows it, and an equal one is not deployed again. */
function version(which: Which, config: Table, { database, namespace }: Ids): string {
  const hash = createHash("sha256").update(sourcesHash(which));
  // Where the checkout lies and what ids Cloudflare gave is not what the Worker does; the ids are compared by themselves.
  hash.update(
    JSON.stringify({ ...config, main: "", build: "", no_bundle: "", find_additional_modules: "", rules: "" })
      .replaceAll(ROOT, "/")
      .replaceAll(database, "")
      .replaceAll(namespace, ""),
  );
  return `${packageFile.version}+${hash.digest("hex").slice(0, 12)}`;
}

const hashes = new Map<Which, string>();

/**
 * SHA-256 of all that makes this Worker, in hex: the same for a checkout and the package that was made of it. Of what was
 * there when it was first asked, so that a run deploys under the version that it planned.
 */
export function sourcesHash(which: Which): string {
  const hash = hashes.get(which) ?? hashSources(which);
  hashes.set(which, hash);
  return hash;
}

function hashSources(which: Which): string {
  const noted = join(ROOT, BUILT, which, "sources");
  if (!existsSync(join(ROOT, "src")) && existsSync(noted)) return readFileSync(noted, "utf8");
  const hash = createHash("sha256");
  for (const folder of SOURCES[which])
    for (const file of filesIn(folder)) hash.update(`${file}\n`).update(readFileSync(join(ROOT, file)));
  return hash.update(readFileSync(join(ROOT, "package-lock.json"))).digest("hex");
}

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
