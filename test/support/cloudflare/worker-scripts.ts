import { z } from "zod";
import { LIMITS } from "./account-limits.ts";
import { ofAccount } from "./accounts.ts";
import { bodyOf, type Call, type Endpoint, type Form, Refusal } from "./api.ts";
import type { Binding, Worker, World } from "./world.ts";

const READ = "Account › Workers Scripts › Read";
const EDIT = "Account › Workers Scripts › Edit";
const BASE = "/accounts/:account/workers/scripts";
const ONE = `${BASE}/:script`;
const SUBDOMAIN = "/accounts/:account/workers/subdomain";

const binding = z.looseObject({ type: z.string(), name: z.string() });
const migrations = z.strictObject({
  old_tag: z.string().optional(),
  new_tag: z.string(),
  steps: z.array(z.strictObject({ new_sqlite_classes: z.array(z.string()) })),
});
/** What `wrangler deploy` says of a Worker beside its modules. */
const metadata = z.strictObject({
  main_module: z.string(),
  bindings: z.array(binding),
  compatibility_date: z.iso.date(),
  compatibility_flags: z.array(z.string()).optional(),
  migrations: migrations.optional(),
  keep_bindings: z.array(z.string()).optional(),
  observability: z.unknown().optional(),
  annotations: z.unknown().optional(),
  code_update_strategy: z.unknown().optional(),
  package_dependencies: z.unknown().optional(),
  limits: z.unknown().optional(),
});
const subdomain = z.strictObject({ enabled: z.boolean(), previews_enabled: z.boolean().optional() });
const secret = z.strictObject({ type: z.literal("secret_text"), name: z.string(), text: z.string().min(1) });
/** Null removes one. */
const secrets = z.strictObject({ secrets: z.record(z.string(), secret.nullable()) });
const accountSubdomain = z.strictObject({ subdomain: z.string().regex(/^[a-z0-9][a-z0-9-]{0,61}[a-z0-9]$/) });
const crons = z.array(z.strictObject({ cron: z.string() }));
const deployment = z.strictObject({
  strategy: z.literal("percentage"),
  versions: z.array(z.strictObject({ version_id: z.string(), percentage: z.literal(100) })).length(1),
  annotations: z.unknown().optional(),
  code_update_strategy: z.unknown().optional(),
});
const scriptSettings = z.strictObject({
  tail_consumers: z.unknown().optional(),
  logpush: z.unknown().optional(),
  observability: z.unknown().optional(),
  tags: z.array(z.string()).nullish(),
});

/** Workers: what `wrangler deploy` uploads and asks for, and their secrets. */
export const workerScripts = (world: World): Endpoint[] => [
  ...uploads(world),
  ...settings(world),
  ...addresses(world),
  ...schedules(world),
  {
    method: "GET",
    path: BASE,
    permission: READ,
    handle: (call) => [...ofAccount(world, call).scripts].map((id) => ({ id })),
  },
  {
    method: "GET",
    path: "/accounts/:account/workers/services/:script",
    permission: READ,
    handle: (call) => {
      const { name, tag, tags, migrationTag } = workerOf(world, call);
      const script = {
        id: name,
        tag,
        tags,
        last_deployed_from: "wrangler",
        ...(migrationTag === null ? {} : { migration_tag: migrationTag }),
      };
      return { id: name, default_environment: { environment: "production", script } };
    },
  },
  {
    method: "GET",
    path: "/accounts/:account/workers/workers/:script",
    permission: READ,
    handle: (call) => {
      const { name, workersDev } = workerOf(world, call);
      return { id: name, name, subdomain: { enabled: workersDev, previews_enabled: false } };
    },
  },
  {
    method: "DELETE",
    path: ONE,
    permission: EDIT,
    query: ["force"],
    handle: (call) => remove(world, workerOf(world, call), call.query.force === "true"),
  },
];

const uploads = (world: World): Endpoint[] => [
  {
    method: "PUT",
    path: ONE,
    permission: EDIT,
    query: ["excludeScript", "bindings_inherit"],
    handle: (call) => {
      const worker = upload(world, call);
      return { id: worker.name, etag: worker.tag, deployment_id: unhyphened(worker), startup_time_ms: 12 };
    },
  },
  {
    method: "POST",
    path: `${ONE}/versions`,
    permission: EDIT,
    query: ["bindings_inherit"],
    handle: (call) => {
      workerOf(world, call);
      const worker = upload(world, call);
      return { id: worker.versions.at(-1), resources: { script: { etag: worker.tag } }, startup_time_ms: 12 };
    },
  },
  {
    method: "GET",
    path: `${ONE}/deployments`,
    permission: READ,
    handle: (call) => {
      const version_id = workerOf(world, call).versions.at(-1);
      return {
        deployments: [
          {
            id: version_id,
            source: "wrangler",
            strategy: "percentage",
            author_email: "ada@example.com",
            created_on: "2026-11-25T00:00:00Z",
            versions: [{ version_id, percentage: 100 }],
          },
        ],
      };
    },
  },
  {
    method: "POST",
    path: `${ONE}/deployments`,
    permission: EDIT,
    body: deployment,
    handle: (call) => {
      const { versions } = bodyOf(call, deployment);
      const worker = workerOf(world, call);
      if (!worker.versions.includes(versions[0]?.version_id ?? ""))
        throw new Refusal(400, 10_210, "no such version");
      return { id: world.uuid() };
    },
  },
];

const unhyphened = ({ versions }: Worker) => versions.at(-1)?.replaceAll("-", "");

const settings = (world: World): Endpoint[] => [
  {
    method: "GET",
    path: `${ONE}/settings`,
    permission: READ,
    handle: (call) => {
      const { bindings, tags, compatibilityDate } = workerOf(world, call);
      return { bindings: bindings.map(shown), tags, compatibility_date: compatibilityDate };
    },
  },
  {
    method: "PATCH",
    path: `${ONE}/script-settings`,
    permission: EDIT,
    body: scriptSettings,
    handle: (call) => {
      const { tags } = bodyOf(call, scriptSettings);
      const worker = workerOf(world, call);
      if (tags) worker.tags = tags;
      return { tags: worker.tags };
    },
  },
  {
    method: "GET",
    path: `${ONE}/secrets`,
    permission: READ,
    handle: (call) =>
      workerOf(world, call)
        .bindings.filter(({ type }) => type === "secret_text")
        .map(shown),
  },
  {
    method: "PATCH",
    path: `${ONE}/secrets-bulk`,
    permission: EDIT,
    body: secrets,
    handle: (call) => {
      const given = bodyOf(call, secrets).secrets;
      const worker = workerOf(world, call);
      const kept = worker.bindings.filter(({ name }) => !(name in given));
      worker.bindings = [...kept, ...Object.values(given).filter((one) => one !== null)];
      return { secrets: worker.bindings.filter(({ type }) => type === "secret_text").map(shown) };
    },
  },
];

/** Under workers.dev: one Worker's, and the account's. */
const addresses = (world: World): Endpoint[] => [
  {
    method: "GET",
    path: `${ONE}/subdomain`,
    permission: READ,
    handle: (call) => ({ enabled: workerOf(world, call).workersDev, previews_enabled: false }),
  },
  {
    method: "POST",
    path: `${ONE}/subdomain`,
    permission: EDIT,
    body: subdomain,
    handle: (call) => {
      const { enabled } = bodyOf(call, subdomain);
      workerOf(world, call).workersDev = enabled;
      return { enabled, previews_enabled: false };
    },
  },
  {
    method: "GET",
    path: SUBDOMAIN,
    permission: READ,
    handle: (call) => {
      const { subdomain } = ofAccount(world, call);
      if (subdomain !== null) return { subdomain };
      throw new Refusal(404, 10_007, "You do not have a workers.dev subdomain.");
    },
  },
  {
    method: "PUT",
    path: SUBDOMAIN,
    permission: EDIT,
    body: accountSubdomain,
    handle: (call) => {
      if (ofAccount(world, call).subdomain !== null)
        throw new Refusal(409, 10_036, "You already have a subdomain");
      world.subdomain = bodyOf(call, accountSubdomain).subdomain;
      return { subdomain: world.subdomain };
    },
  },
];

const schedules = (world: World): Endpoint[] => [
  {
    method: "GET",
    path: `${ONE}/schedules`,
    permission: READ,
    handle: (call) => ({ schedules: workerOf(world, call).crons.map((cron) => ({ cron })) }),
  },
  {
    method: "PUT",
    path: `${ONE}/schedules`,
    permission: EDIT,
    body: crons,
    handle: (call) => {
      const asked = bodyOf(call, crons);
      const worker = workerOf(world, call);
      refuseSchedules(world, worker, asked.length);
      worker.crons = asked.map(({ cron }) => cron);
      return { schedules: asked };
    },
  },
];

/** Schedules need a workers.dev subdomain, an empty list of them too (terraform-provider-cloudflare#3304). */
function refuseSchedules(world: World, worker: Worker, asked: number): void {
  if (world.subdomain === null)
    throw new Refusal(400, 10_063, "You need a workers.dev subdomain in order to proceed.");
  const others = [...world.workers.values()].filter((one) => one !== worker);
  const held = others.reduce((sum, one) => sum + one.crons.length, 0);
  if (held + asked > LIMITS.cronTriggers || (asked === 0 && held >= LIMITS.cronTriggers))
    throw new Refusal(400, 10_072, "You have exceeded the limit of Cron Triggers of this account");
}

/** No answer shows a secret's text. */
const shown = ({ text, ...rest }: Binding) =>
  rest.type === "secret_text" ? rest : { ...rest, ...(text === undefined ? {} : { text }) };

function upload(world: World, call: Call): Worker {
  const name = ofAccount(world, call) && (call.params.script ?? "");
  const { metadata: text = "", ...modules } = call.form ?? {};
  const said = metadata.safeParse(JSON.parse(text || "null"));
  if (!said.success) throw new Refusal(400, 10_021, `invalid metadata: ${z.prettifyError(said.error)}`);
  if (modules[said.data.main_module] === undefined)
    throw new Refusal(400, 10_021, "the main module is missing");
  const before = world.workers.get(name);
  const worker: Worker = {
    name,
    tag: before?.tag ?? world.hexId(),
    tags: before?.tags ?? [],
    workersDev: before?.workersDev ?? false,
    crons: before?.crons ?? [],
    modules: modules as Form,
    mainModule: said.data.main_module,
    compatibilityDate: said.data.compatibility_date,
    ...migrated(before, said.data.migrations),
    bindings: bound(before, said.data),
    versions: [...(before?.versions ?? []), world.uuid()],
  };
  for (const one of worker.bindings) checkBinding(world, worker, one);
  checkRoom(world, worker);
  world.workers.set(name, worker);
  world.scripts.add(name);
  return worker;
}

function checkRoom(world: World, { name, bindings }: Worker): void {
  if (!world.workers.has(name) && world.workers.size >= LIMITS.workers)
    throw new Refusal(403, 10_037, `You have exceeded the limit of ${LIMITS.workers} Workers on your plan.`);
  const variables = bindings.filter(({ type }) => type === "secret_text" || type === "plain_text");
  if (variables.length > LIMITS.variables)
    throw new Refusal(400, 10_021, `${variables.length} environment variables: ${LIMITS.variables} at most`);
  const large = variables.find(({ text }) => Buffer.byteLength(String(text ?? "")) > LIMITS.variableBytes);
  if (large) throw new Refusal(400, 10_021, `environment variable ${large.name} is larger than 5 KB`);
}

function migrated(before: Worker | undefined, asked: z.infer<typeof migrations> | undefined) {
  const { migrationTag = null, classes = [] } = before ?? {};
  if (!asked) return { migrationTag, classes };
  if ((asked.old_tag ?? null) !== migrationTag)
    throw new Refusal(412, 10_079, `migration tag precondition failed; the Worker's tag is ${migrationTag}`);
  return {
    migrationTag: asked.new_tag,
    classes: [...classes, ...asked.steps.flatMap((step) => step.new_sqlite_classes)],
  };
}

/** The upload's bindings, and of those before it the kinds that it says to keep. */
function bound(
  before: Worker | undefined,
  { bindings, keep_bindings = [] }: z.infer<typeof metadata>,
): Binding[] {
  const named = new Set(bindings.map(({ name }) => name));
  const kept = (before?.bindings ?? []).filter(
    ({ type, name }) => keep_bindings.includes(type) && !named.has(name),
  );
  const given = bindings.map((one) =>
    one.type === "inherit" ? before?.bindings.find(({ name }) => name === one.name) : one,
  );
  if (given.includes(undefined)) throw new Refusal(400, 10_021, "nothing to inherit");
  return [...given.filter((one) => one !== undefined), ...kept];
}

function checkBinding(world: World, worker: Worker, one: Binding): void {
  const refuse = (why: string) => {
    throw new Refusal(400, 10_021, `binding ${one.name} of type ${one.type}: ${why}`);
  };
  if (one.type === "d1" && !world.databases.some(({ uuid }) => uuid === one.id)) refuse("no such database");
  if (one.type === "kv_namespace" && !world.namespaces.some(({ id }) => id === one.namespace_id))
    refuse("no such namespace");
  if (one.type === "service" && !world.scripts.has(String(one.service))) refuse("no such Worker");
  if (one.type === "durable_object_namespace" && !worker.classes.includes(String(one.class_name)))
    refuse("no such class; a migration has to make it");
}

function remove(world: World, worker: Worker, force: boolean) {
  const users = [...world.workers.values()].filter((other) =>
    other.bindings.some(({ type, service }) => type === "service" && service === worker.name),
  );
  if (worker.classes.length > 0 && !force)
    throw new Refusal(409, 10_061, "the Worker has Durable Objects; delete it with force");
  if (users.length > 0 && !force) throw new Refusal(409, 10_064, `${users[0]?.name} is bound to this Worker`);
  // Cloudflare would do it: here whoever deletes a Worker has to have thought of its addresses before.
  if (world.routes.some(({ script }) => script === worker.name))
    throw new Refusal(409, 10_064, "it still has routes");
  if (world.domains.some(({ service }) => service === worker.name))
    throw new Refusal(409, 10_064, "it still has domains");
  world.workers.delete(worker.name);
  world.scripts.delete(worker.name);
  return null;
}

function workerOf(world: World, call: Call): Worker {
  const worker = ofAccount(world, call).workers.get(call.params.script ?? "");
  if (!worker) throw new Refusal(404, 10_007, "This Worker does not exist on your account.");
  return worker;
}
