import { randomBytes } from "node:crypto";
import type { D1 } from "cloudflare/resources/d1/d1";
import { type Region, regionOf } from "../../src/protocol/region.ts";
import { CliError } from "../io/problem.ts";
import type { Session } from "../session.ts";
import { ask, type Sdk } from "./cloudflare.ts";
import { type AccountFacts, findWorker, type WorkerFacts } from "./facts.ts";
import { type Home, keepSecretsKey, keptSecretsKey, savedUrl, writePrivate } from "./files.ts";
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
import type { Step } from "./plan.ts";
import { regionFor } from "./region.ts";
import {
  isSecretsKey,
  missingSecrets,
  newAdminToken,
  newSecretsKey,
  newShieldKey,
  type SecretName,
  sha256,
} from "./secrets.ts";
import type { Wrangler } from "./wrangler.ts";
import { type Which, workerConfig } from "./wrangler-config.ts";

/** Carries a plan out, a step at a time. Each step can be repeated, and what is kept on this machine is kept before Cloudflare has it. */
export interface Workbench {
  readonly session: Session;
  readonly sdk: Sdk;
  readonly wrangler: Wrangler;
  readonly home: Home;
  readonly installation: Installation;
  readonly facts: AccountFacts;
  /** What control makes tunnels, records and routes with. */
  readonly controlToken: string;
}

/** What came into being on the way, and later steps and the last words need. */
export interface Made {
  databaseId?: string;
  /** Where the database came to be, if Cloudflare said so. */
  region?: Region | null;
  namespaceId?: string;
  access?: { readonly clientId: string; readonly clientSecret: string | null };
  shieldKey?: string;
  adminToken?: string;
  /** The command line's own file, when the token went into it. */
  savedTo?: string;
  secretsKeyFile?: string;
}

export async function carryOut(bench: Workbench, step: Step, made: Made): Promise<void> {
  switch (step.part) {
    case "database":
      return createDatabase(bench, made);
    case "namespace":
      return createNamespace(bench, made);
    case "bucket":
      return createBucket(bench);
    case "migrations":
      return migrate(bench, made);
    case "subdomain":
      return createSubdomain(bench);
    case "service token":
      return issueServiceToken(bench, made);
    case "control":
    case "edge":
      return deploy(bench, step.part, made);
    case "control secrets":
      return putMissing(bench, "control", made);
    case "edge secrets":
      return putMissing(bench, "edge", made);
  }
}

/** Not sent again by the SDK when its answer is lost: the next run finds what was made. */
const ONCE = { maxRetries: 0 };

async function createDatabase({ sdk, installation, facts }: Workbench, made: Made): Promise<void> {
  const name = databaseName(installation.name);
  const hint = regionFor(facts, installation.region);
  const place = hint === null ? {} : { primary_location_hint: hint };
  const database: D1 & { created_in_region?: string } = await ask(
    `create the D1 database ${name}`,
    "d1",
    () => sdk.d1.database.create({ account_id: installation.account.id, name, ...place }, ONCE),
  );
  made.databaseId = database.uuid ?? "";
  // Not in the SDK's types; wrangler prints it.
  made.region = regionOf(database.created_in_region);
}

async function createNamespace({ sdk, installation }: Workbench, made: Made): Promise<void> {
  const title = namespaceTitle(installation.name);
  const namespace = await ask(`create the KV namespace ${title}`, "kv", () =>
    sdk.kv.namespaces.create({ account_id: installation.account.id, title }, ONCE),
  );
  made.namespaceId = namespace.id;
}

/** Near D1 and the objects: what is sent goes by way of control. */
async function createBucket({ sdk, installation, facts }: Workbench): Promise<void> {
  const name = bucketName(installation.name);
  const hint = regionFor(facts, installation.region);
  await ask(`create the R2 bucket ${name}`, "r2", () =>
    sdk.r2.buckets.create(
      { account_id: installation.account.id, name, ...(hint === null ? {} : { locationHint: hint }) },
      ONCE,
    ),
  );
}

/** Its name is public and the account's for good, so it says nothing and meets nobody else's. */
async function createSubdomain({ sdk, installation }: Workbench): Promise<void> {
  const subdomain = `sluice-${randomBytes(5).toString("hex")}`;
  await ask("make a workers.dev subdomain", "workers", () =>
    sdk.workers.subdomains.update({ account_id: installation.account.id, subdomain }, ONCE),
  );
}

async function migrate(bench: Workbench, made: Made): Promise<void> {
  const config = writeConfig(bench, "control", made);
  const name = databaseName(bench.installation.name);
  const args = ["d1", "migrations", "apply", name, "--remote", "--config", config];
  await bench.wrangler({ args, what: `bring the tables of ${name} up to date`, need: "d1" });
}

async function deploy(bench: Workbench, which: Which, made: Made): Promise<void> {
  const args = ["deploy", "--config", writeConfig(bench, which, made)];
  await bench.wrangler({ args, what: `deploy ${nameOf(which, bench.installation)}`, need: "workers" });
}

/** Kept, so that wrangler can be used by hand on this installation, too. */
function writeConfig({ installation, home, facts }: Workbench, which: Which, made: Made): string {
  const config = workerConfig(which, installation, {
    database: made.databaseId ?? facts.database?.id ?? "",
    namespace: made.namespaceId ?? facts.namespace?.id ?? "",
    region: made.region ?? regionFor(facts, installation.region),
  });
  return writePrivate(home.folder, `${which}.json`, `${JSON.stringify(config, null, 2)}\n`);
}

async function issueServiceToken({ sdk, installation, facts }: Workbench, made: Made): Promise<void> {
  const account_id = installation.account.id;
  const name = serviceTokenName(installation.name);
  const { serviceTokens } = sdk.zeroTrust.access;
  const token = await ask(`make the Access service token ${name}`, "accessTokens", () =>
    facts.serviceToken
      ? serviceTokens.rotate(facts.serviceToken.id, { account_id }, ONCE)
      : serviceTokens.create({ account_id, name, duration: "forever" }, ONCE),
  );
  made.access = { clientId: token.client_id ?? "", clientSecret: token.client_secret ?? null };
}

async function putMissing(bench: Workbench, which: Which, made: Made): Promise<void> {
  const { sdk, installation, facts } = bench;
  const names = missingSecrets(facts, installation.access)[which];
  const found = await findWorker(sdk, installation.account.id, nameOf(which, installation));
  refuseRival(which, bench, found);
  const values = names.map((name) => [name, secretValue(bench, name, made)] as const);
  await putSecrets(bench, which, Object.fromEntries(values));
}

const nameOf = (which: Which, { name }: Installation): string =>
  which === "control" ? controlWorker(name) : edgeWorker(name);

/** Deploys take a minute, and somebody else may have set the same up since: the second's keys would lock the first one out. */
function refuseRival(which: Which, { installation, facts }: Workbench, found: WorkerFacts | null): void {
  const secretsOf = (worker: WorkerFacts | null) =>
    (worker?.bindings ?? []).filter(({ type }) => type === "secret_text").map(({ name }) => name);
  const before = secretsOf(facts[which]);
  const put = secretsOf(found).find((name) => !before.includes(name));
  if (put === undefined) return;
  throw new CliError(
    "conflict",
    `somebody else sets ${installation.name} up at the same time: ${nameOf(which, installation)} has got ${put} since this began, and it is left as it is`,
    {
      title: "set up twice at once",
      next: [{ command: `sluice setup --name ${installation.name}`, when: "the other one has ended" }],
    },
  );
}

/** All in one version of the Worker; null removes one. */
export async function putSecrets(
  { sdk, installation }: Pick<Workbench, "sdk" | "installation">,
  which: Which,
  values: Readonly<Record<string, string | null>>,
): Promise<void> {
  const worker = nameOf(which, installation);
  const secrets = Object.fromEntries(
    Object.entries(values).map(([name, text]) => [
      name,
      text === null ? null : { name, text, type: "secret_text" as const },
    ]),
  );
  await ask(`put secrets of ${worker}`, "workers", () =>
    sdk.workers.scripts.secrets.bulkUpdate(worker, { account_id: installation.account.id, secrets }),
  );
}

function secretValue(bench: Workbench, name: SecretName, made: Made): string {
  switch (name) {
    case "SECRETS_KEY":
    case "SECRETS_KEY_BEFORE":
      return secretsKey(bench, made);
    case "SHIELD_KEY":
      made.shieldKey ??= newShieldKey();
      return made.shieldKey;
    case "ADMIN_TOKEN_SHA256":
      return sha256(adminToken(bench, made));
    case "CLOUDFLARE_API_TOKEN":
      return bench.controlToken;
    case "ACCESS_CLIENT_ID":
      return made.access?.clientId ?? bench.facts.serviceToken?.clientId ?? "";
    case "ACCESS_CLIENT_SECRET":
      return made.access?.clientSecret ?? "";
  }
}

/** One that was kept opens the secrets that D1 may still have: after a lost Worker, or in another account. */
function secretsKey({ session, home }: Workbench, made: Made): string {
  const given = session.env.SECRETS_KEY?.trim();
  if (given && !isSecretsKey(given))
    throw new CliError(
      "usage",
      "SECRETS_KEY is set, and is no key: it must be <key id>:<32 bytes in base64>",
    );
  const key = given || keptSecretsKey(home) || newSecretsKey();
  made.secretsKeyFile = keepSecretsKey(home, key);
  return key;
}

/** On this machine before Cloudflare has its hash: whatever happens in between, nobody is locked out. */
export function adminToken(
  { home, installation }: Pick<Workbench, "home" | "installation">,
  made: Made,
): string {
  const token = newAdminToken();
  const url = controlUrl(installation);
  const text = `${JSON.stringify({ url, token })}\n`;
  made.adminToken = token;
  made.savedTo = writePrivate(home.folder, "cli.json", text);
  const other = savedUrl(home);
  if (other === undefined || other === url)
    made.savedTo = writePrivate(`${home.folder}/..`, "cli.json", text);
  return token;
}
