import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { failed, type WranglerCommand, type wranglerIn } from "../../../cli/setup/wrangler.ts";
import { MIGRATIONS_TABLE } from "./migrated.ts";

/**
 * The calls that wrangler makes, without its bundling: milliseconds instead of seconds, for tests that set up again and
 * again. A test holds it against what the real one sends.
 */
export const quickWrangler =
  (apiUrl: string): typeof wranglerIn =>
  ({ token, account }) =>
  async (command) => {
    const { args } = command;
    const api = new Api(`${apiUrl}/accounts/${account}`, token, command);
    const config = JSON.parse(readFileSync(args[args.indexOf("--config") + 1] ?? "", "utf8")) as Config;
    await (args[0] === "deploy" ? deploy(api, config) : migrate(api, config));
  };

interface Config {
  readonly name: string;
  readonly compatibility_date: string;
  readonly vars: Readonly<Record<string, string>>;
  readonly triggers?: { readonly crons: readonly string[] };
  readonly routes?: readonly { readonly pattern: string; readonly zone_id: string }[];
  readonly d1_databases: readonly { binding: string; database_id: string; migrations_dir: string }[];
  readonly kv_namespaces: readonly { binding: string; id: string }[];
  readonly r2_buckets?: readonly { binding: string; bucket_name: string }[];
  readonly durable_objects: { readonly bindings: readonly { name: string; class_name: string }[] };
  readonly services?: readonly { binding: string; service: string; entrypoint: string }[];
  readonly migrations: readonly { tag: string; new_sqlite_classes: readonly string[] }[];
}

interface Answered {
  readonly result: Record<string, unknown>;
  readonly errors: readonly { readonly code: number; readonly message: string }[];
}

class Api {
  readonly #url: string;
  readonly #token: string;
  readonly #command: WranglerCommand;

  constructor(url: string, token: string, command: WranglerCommand) {
    this.#url = url;
    this.#token = token;
    this.#command = command;
  }

  /** Undefined for what isn't there. */
  async ask(method: string, path: string, body?: object): Promise<Record<string, unknown> | undefined> {
    const isForm = body instanceof FormData;
    const answer = await fetch(`${this.#url}${path}`, {
      method,
      headers: {
        authorization: `Bearer ${this.#token}`,
        ...(isForm || !body ? {} : { "content-type": "application/json" }),
      },
      ...(body ? { body: isForm ? body : JSON.stringify(body) } : {}),
    });
    if (answer.status === 404) return undefined;
    const said = (await answer.json()) as Answered;
    if (answer.ok) return said.result;
    // As the real one prints it.
    const lines = said.errors.map(({ code, message }) => `  ${message} [code: ${code}]`);
    throw failed(this.#command, `✘ [ERROR] A request to the Cloudflare API failed.\n${lines.join("\n")}`);
  }
}

async function migrate(api: Api, { d1_databases: [database] }: Config): Promise<void> {
  if (!database) throw new Error("the configuration names no database");
  const query = (sql: string) => api.ask("POST", `/d1/database/${database.database_id}/query`, { sql });
  await query(MIGRATIONS_TABLE);
  const [answer] = (await query("SELECT * FROM d1_migrations ORDER BY id")) as unknown as [
    { results: { name: string }[] },
  ];
  const applied = answer.results.map(({ name }) => name);
  const files = readdirSync(database.migrations_dir).filter((name) => name.endsWith(".sql"));
  for (const name of files.sort().filter((file) => !applied.includes(file)))
    await query(
      `${readFileSync(join(database.migrations_dir, name), "utf8")}\nINSERT INTO d1_migrations (name) values ('${name}');`,
    );
}

async function deploy(api: Api, config: Config): Promise<void> {
  const script = `/workers/scripts/${config.name}`;
  const service = await api.ask("GET", `/workers/services/${config.name}`);
  if (service) {
    const version = await api.ask("POST", `${script}/versions`, form(config, false));
    const versions = [{ version_id: version?.id, percentage: 100 }];
    await api.ask("POST", `${script}/deployments`, { strategy: "percentage", versions });
    await api.ask("PATCH", `${script}/script-settings`, { tags: [] });
  } else await api.ask("PUT", script, form(config, true));
  await api.ask("POST", `${script}/subdomain`, { enabled: false, previews_enabled: false });
  const crons = config.triggers?.crons.map((cron) => ({ cron }));
  if (crons) await api.ask("PUT", `${script}/schedules`, crons);
  if (!config.routes) return;
  const origins = config.routes.map(({ pattern, zone_id }) => ({ hostname: pattern, zone_id }));
  await api.ask("POST", `${script}/domains/changeset`, origins);
  const overrides = {
    override_scope: true,
    override_existing_origin: true,
    override_existing_dns_record: true,
  };
  await api.ask("PUT", `${script}/domains/records`, { ...overrides, origins });
}

function form(config: Config, isNew: boolean): FormData {
  const newest = config.migrations.at(-1);
  const metadata = {
    main_module: "worker.js",
    compatibility_date: config.compatibility_date,
    keep_bindings: ["secret_text"],
    bindings: [
      ...Object.entries(config.vars).map(([name, text]) => ({ type: "plain_text", name, text })),
      ...config.d1_databases.map(({ binding: name, database_id: id }) => ({ type: "d1", name, id })),
      ...config.kv_namespaces.map(({ binding: name, id }) => ({
        type: "kv_namespace",
        name,
        namespace_id: id,
      })),
      ...(config.r2_buckets ?? []).map(({ binding: name, bucket_name }) => ({
        type: "r2_bucket",
        name,
        bucket_name,
      })),
      ...config.durable_objects.bindings.map((one) => ({ type: "durable_object_namespace", ...one })),
      ...(config.services ?? []).map(({ binding: name, ...rest }) => ({ type: "service", name, ...rest })),
    ],
    ...(isNew && newest
      ? {
          migrations: {
            new_tag: newest.tag,
            steps: config.migrations.map(({ new_sqlite_classes }) => ({ new_sqlite_classes })),
          },
        }
      : {}),
  };
  const parts = new FormData();
  parts.set("metadata", JSON.stringify(metadata));
  parts.set(
    "worker.js",
    new File(["export default {}"], "worker.js", { type: "application/javascript+module" }),
  );
  return parts;
}
