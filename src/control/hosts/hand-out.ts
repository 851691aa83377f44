import { err, ok, type Result } from "../../domain/result.ts";
import type { JobError } from "../../protocol/agent/job-results.ts";
import type { Job } from "../../protocol/agent/jobs.ts";
import type { ControlEnv } from "../env.ts";
import { registryOf } from "../secrets/logins.ts";
import { type Keyring, open, readKeyring, type SealedPlace } from "../secrets/seal.ts";
import { setCommand } from "../secrets/secrets.ts";
import { type Db, runBatch, type Statement } from "../store/db.ts";
import { noteAccessorySecrets, noteInstanceSecrets, readVault, type Vault } from "../store/secrets.ts";

/**
 * Opens what a job needs to know and D1 must not: values of secrets, the password of a registry. They exist only in the
 * answer to the agent that has just leased the job. Which versions went out is written before the answer leaves: an
 * instance can't run a value that nobody noted.
 */
export interface ClaimedJob {
  readonly job: Job;
  readonly instanceId: string | null;
  readonly releaseId: string | null;
  /** Names of the secrets it is to get. */
  readonly secrets: readonly string[];
  /** Its container is made anew: what it was started with before is gone. */
  readonly anew?: true;
}

type HandedOut = Result<Job, JobError>;

/** The jobs in the order they came, each complete or with the reason why it can't be. */
export async function handOut(db: Db, env: ControlEnv, claimed: readonly ClaimedJob[]): Promise<HandedOut[]> {
  const wants = claimed.map(wantsOf);
  if (wants.every(({ names, registry }) => names.length === 0 && registry === undefined))
    return claimed.map(({ job }) => ok(job));
  const vault = await readVault(db, {
    environments: [...new Set(claimed.map(({ job }) => job.environmentId))],
    names: [...new Set(wants.flatMap(({ names }) => names))],
    releases: [...new Set(claimed.flatMap(({ releaseId }) => releaseId ?? []))],
  });
  const keyring = await readKeyring(env);
  const notes: Statement[] = [];
  const done: HandedOut[] = [];
  for (const [index, one] of claimed.entries()) {
    const { names, registry } = wants[index] ?? NOTHING;
    const opened = await openSecrets(one, names, { vault, keyring });
    const login =
      registry === undefined ? ok(undefined) : await openLogin(one.job, registry, { vault, keyring });
    if (!opened.ok) done.push(opened);
    else if (!login.ok) done.push(login);
    else {
      if (names.length > 0) notes.push(...noteOf(db, one, opened.value.versions));
      done.push(ok(complete(one.job, opened.value.values, login.value)));
    }
  }
  await runBatch(db, notes);
  return done;
}

interface Wants {
  readonly names: readonly string[];
  readonly registry: string | undefined;
}
const NOTHING: Wants = { names: [], registry: undefined };

function wantsOf({ job, secrets: names }: ClaimedJob): Wants {
  if (job.kind === "pull") return { names: [], registry: registryOf(job.image) };
  if (job.kind === "start") return { names, registry: registryOf(job.spec.image) };
  if (job.kind === "run") return { names, registry: undefined };
  if (job.kind === "command") return { names, registry: registryOf(job.image) };
  // Stopping and removing needs neither: it must not fail for a secret that nobody has any more.
  const makes = job.kind === "accessory" && (job.action === "start" || job.action === "upgrade");
  return makes ? { names, registry: registryOf(job.spec.image) } : NOTHING;
}

interface Sources {
  readonly vault: Vault;
  readonly keyring: Result<Keyring, string>;
}

async function openSecrets(
  { job, releaseId }: ClaimedJob,
  names: readonly string[],
  { vault, keyring }: Sources,
): Promise<Result<{ values: Record<string, string>; versions: Record<string, number> }, JobError>> {
  const values: Record<string, string> = {};
  const versions: Record<string, number> = {};
  for (const name of names) {
    const row = secretFor(vault, { environmentId: job.environmentId, name, releaseId });
    if (!row) return err(missing(job, name));
    const place = { purpose: "secret", owner: row.environmentId, name } as const;
    const opened = await tryOpen(keyring, place, row);
    if (!opened.ok) return err(unreadable(`the secret ${name} can't be opened: ${opened.error}`));
    values[name] = opened.value;
    versions[name] = row.version;
  }
  return ok({ values, versions });
}

/**
 * The value that the release was made with, for as long as it is kept; else that of today. None is given that was removed. Of
 * a preview its own, else the one of today that all previews of its template share: never the template's.
 */
function secretFor(vault: Vault, of: { environmentId: string; name: string; releaseId: string | null }) {
  const isMeant = (one: { environmentId: string; name: string }) =>
    one.environmentId === of.environmentId && one.name === of.name;
  const current = vault.values.find(isMeant);
  const pinned = vault.pins.find(({ release }) => release === of.releaseId)?.versions?.[of.name];
  const past = vault.past.find((one) => isMeant(one) && one.version === pinned);
  return current ? (past ?? current) : sharedFor(vault, of);
}

function sharedFor({ values, previews }: Vault, of: { environmentId: string; name: string }) {
  const owner = previews.find(({ environmentId }) => environmentId === of.environmentId)?.owner;
  return values.find(({ environmentId, name }) => environmentId === owner && name === of.name);
}

/** The app's login at that registry, if it has one: without, the agent uses its host's own. */
async function openLogin(job: Job, registry: string, { vault, keyring }: Sources) {
  const row = vault.logins.find(
    ({ environmentId, login }) => environmentId === job.environmentId && login.registry === registry,
  )?.login;
  if (!row) return ok(undefined);
  const opened = await tryOpen(keyring, { purpose: "registry", owner: row.appId, name: registry }, row);
  if (opened.ok) return ok({ registry, username: row.username, password: opened.value });
  return err(unreadable(`the password for ${registry} can't be opened: ${opened.error}`));
}

const tryOpen = async (
  keyring: Result<Keyring, string>,
  place: SealedPlace,
  row: { sealed: string; keyId: string },
): Promise<Result<string, string>> => (keyring.ok ? open(keyring.value, place, row) : keyring);

function missing(job: Job, name: string): JobError {
  const { app, environment } = "spec" in job ? job.spec : "app" in job ? job : { app: "", environment: "" };
  const message = `the secret ${name} has no value in ${app}/${environment}: set it (${setCommand(name, app, environment)}) and deploy again`;
  return { code: "secrets_missing", message, logs: [] };
}

const unreadable = (message: string): JobError => ({ code: "secrets_unreadable", message, logs: [] });

/** Names in both `env` and `secrets` are refused with the manifest; in a spec from before, the secret is what is meant. */
function complete(
  job: Job,
  values: Readonly<Record<string, string>>,
  login: { registry: string; username: string; password: string } | undefined,
): Job {
  const credentials = login ? { login } : {};
  if (job.kind === "pull") return { ...job, ...credentials };
  if (job.kind === "run") return { ...job, env: { ...job.env, ...values } };
  if (job.kind === "command") return { ...job, ...credentials, env: { ...job.env, ...values } };
  if (job.kind === "start")
    return { ...job, ...credentials, spec: { ...job.spec, env: { ...job.spec.env, ...values } } };
  if (job.kind === "accessory")
    return { ...job, ...credentials, spec: { ...job.spec, env: { ...job.spec.env, ...values } } };
  return job;
}

function noteOf(db: Db, { job, instanceId, anew }: ClaimedJob, versions: Readonly<Record<string, number>>) {
  if (job.kind === "start" && instanceId !== null)
    return [noteInstanceSecrets(db, instanceId, versions, anew)];
  if (job.kind !== "accessory") return [];
  const at = { environmentId: job.environmentId, name: job.spec.name, again: job.action === "start" };
  return [noteAccessorySecrets(db, at, versions)];
}
