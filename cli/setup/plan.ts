import { REGIONS } from "../../src/protocol/region.ts";
import { clean, plural } from "../io/print.ts";
import { CliError } from "../io/problem.ts";
import { type AccountFacts, type Binding, foreign, type WorkerFacts } from "./facts.ts";
import {
  bucketName,
  controlUrl,
  controlWorker,
  databaseName,
  edgeWorker,
  type Installation,
  namespaceTitle,
  serviceTokenName,
} from "./installation.ts";
import { regionFor } from "./region.ts";
import { type Missing, missingSecrets, type SecretName } from "./secrets.ts";
import type { WorkerConfig } from "./wrangler-config.ts";

/** What setup would do, from what is there. Pure: the same plan is printed by --dry-run and carried out. */
export interface Step {
  readonly part: Part;
  readonly action: "create" | "keep" | "change" | "deploy";
  readonly words: string;
}
export type Part =
  | "database"
  | "namespace"
  | "bucket"
  | "migrations"
  | "subdomain"
  | "service token"
  | "control"
  | "control secrets"
  | "edge"
  | "edge secrets";

interface Wanted {
  readonly installation: Installation;
  readonly control: WorkerConfig;
  readonly edge: WorkerConfig;
  /** Of this checkout. */
  readonly migrations: readonly string[];
}

/**
 * In the order of the work: tables before the code that reads them, control before the edge that is bound to it. Secrets come
 * last and together, since both Workers have some in common; the edge's first, since control closes what they open (Access).
 */
export function planSetup(facts: AccountFacts, wanted: Wanted): Step[] {
  const { name, access } = wanted.installation;
  const missing = missingSecrets(facts, access);
  return [
    there("database", databaseWords(facts, wanted.installation), facts.database),
    there("namespace", `KV namespace ${namespaceTitle(name)}`, facts.namespace),
    ...(wanted.installation.images ? [bucketStep(facts, name)] : []),
    migrationStep(facts, wanted),
    there(
      "subdomain",
      "workers.dev subdomain, which schedules need; nothing is served on it",
      facts.subdomain,
    ),
    ...(access ? [serviceTokenStep(facts, name, missing)] : []),
    controlStep(facts, wanted),
    edgeStep(facts, wanted),
    secretStep("edge secrets", edgeWorker(name), missing.edge, facts.edge),
    secretStep("control secrets", controlWorker(name), missing.control, facts.control),
  ];
}

/** Where it is, or is to be. */
function databaseWords(facts: AccountFacts, { name, region }: Installation): string {
  const at = regionFor(facts, region);
  if (at !== null) return `D1 database ${databaseName(name)} in ${at} (${REGIONS[at]})`;
  const where = facts.database ? "" : ", near here: --region puts it elsewhere";
  return `D1 database ${databaseName(name)}${where}`;
}

const there = (part: Part, words: string, found: object | null): Step => ({
  part,
  action: found ? "keep" : "create",
  words,
});

const bucketStep = (facts: AccountFacts, name: string): Step =>
  there("bucket", `R2 bucket ${bucketName(name)}, of images for hosts without a registry`, facts.bucket);

function migrationStep({ database }: AccountFacts, { installation, migrations }: Wanted): Step {
  const applied = database?.applied ?? [];
  const newer = applied.filter((name) => !migrations.includes(name));
  if (applied.length > 0 && newer.length === applied.length)
    throw foreign(
      `the D1 database ${databaseName(installation.name)}`,
      `has another product's tables (migrations ${applied.slice(0, 3).join(", ")})`,
    );
  if (newer.length > 0)
    throw new CliError(
      "conflict",
      `the D1 database ${databaseName(installation.name)} is newer than this checkout: it has ${newer.join(", ")}. Upgrade the checkout; nothing was changed.`,
      { title: "this checkout is too old" },
    );
  const pending = migrations.filter((name) => !applied.includes(name));
  const tables = `tables of ${databaseName(installation.name)}`;
  if (pending.length === 0) return { part: "migrations", action: "keep", words: tables };
  const words = `${tables}: ${plural(pending.length, "migration")} (${fromTo(pending)})`;
  return { part: "migrations", action: "change", words };
}

const fromTo = (names: readonly string[]): string =>
  names.length > 3 ? `${names[0]} to ${names.at(-1)}` : names.join(", ");

/** Its secret is shown when it is made and never again: Workers without one need another. */
function serviceTokenStep({ serviceToken }: AccountFacts, name: string, missing: Missing): Step {
  const words = `Access service token ${serviceTokenName(name)}`;
  if (!serviceToken) return { part: "service token", action: "create", words };
  if (!missing.edge.includes("ACCESS_CLIENT_SECRET")) return { part: "service token", action: "keep", words };
  return {
    part: "service token",
    action: "change",
    words: `${words}: a new secret, since a Worker has none`,
  };
}

function controlStep(facts: AccountFacts, { installation, control }: Wanted): Step {
  const { control: found, domains } = facts;
  const at = `Worker ${controlWorker(installation.name)} at ${controlUrl(installation)}`;
  const why = found && [
    ...differences(found, control, facts),
    ...(domains.length > 0 ? [] : [`${installation.controlHostname} does not lead to it`]),
    ...(sameCrons(found, control) ? [] : ["its schedule"]),
  ];
  return workerStep("control", at, control, why);
}

function edgeStep(facts: AccountFacts, { installation, edge }: Wanted): Step {
  const why = facts.edge && differences(facts.edge, edge, facts);
  return workerStep("edge", `Worker ${edgeWorker(installation.name)}`, edge, why);
}

function workerStep(
  part: "control" | "edge",
  at: string,
  { vars }: WorkerConfig,
  why: readonly string[] | null,
): Step {
  if (why?.length === 0) return { part, action: "keep", words: `${at}, ${vars.VERSION}` };
  const reason = why ? `: ${why.join(", ")}` : "";
  return { part, action: "deploy", words: `${at}, ${vars.VERSION}${reason}` };
}

/** What a deploy would change: the version stands for code and configuration, the bindings for what they lead to. */
function differences(
  found: WorkerFacts,
  { vars }: WorkerConfig,
  { database, namespace }: AccountFacts,
): string[] {
  const text = (name: string) =>
    found.bindings.find((one) => one.name === name && one.type === "plain_text")?.text;
  const was = text("VERSION");
  const place = text("REGION");
  const leadsTo = (one: Binding, id: string | undefined, was: unknown) =>
    id === undefined || was !== id ? [one.name] : [];
  const moved = found.bindings.flatMap((one) => {
    if (one.type === "d1") return leadsTo(one, database?.id, one.id ?? one.database_id);
    if (one.type === "kv_namespace") return leadsTo(one, namespace?.id, one.namespace_id);
    return [];
  });
  return [
    ...(was === vars.VERSION ? [] : [`was ${clean(String(was ?? "without a version"))}`]),
    ...(place === vars.REGION
      ? []
      : [
          `its objects are to be made in ${vars.REGION ?? "no region"}, not ${clean(String(place ?? "near their first caller"))}`,
        ]),
    ...moved.map((name) => `${name} leads elsewhere`),
    ...(found.workersDev ? ["it is on workers.dev, too"] : []),
  ];
}

function sameCrons(found: WorkerFacts, { triggers }: WorkerConfig): boolean {
  const { crons = [] } = (triggers ?? {}) as { crons?: readonly string[] }; // wrangler.toml's own.
  return JSON.stringify([...found.crons].sort()) === JSON.stringify([...crons].sort());
}

function secretStep(
  part: Part,
  worker: string,
  missing: readonly SecretName[],
  found: WorkerFacts | null,
): Step {
  if (missing.length > 0)
    return { part, action: "create", words: `secrets of ${worker}: ${missing.join(", ")}` };
  const count = found?.bindings.filter(({ type }) => type === "secret_text").length ?? 0;
  return { part, action: "keep", words: `${plural(count, "secret")} of ${worker}` };
}

export const isDone = (steps: readonly Step[]): boolean => steps.every(({ action }) => action === "keep");

export const stepLine = ({ action, words }: Step): string => `${action.padEnd(7)} ${words}`;
