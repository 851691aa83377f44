import { z } from "zod";
import { EXIT } from "../exit-codes.ts";
import { confirm } from "../io/confirm.ts";
import { clean } from "../io/print.ts";
import { CliError } from "../io/problem.ts";
import type { Outcome } from "../session.ts";
import { adminToken, type Made, putSecrets, type Workbench } from "./carry-out.ts";
import type { WorkerFacts } from "./facts.ts";
import { keepNextSecretsKey, keptSecretsKey, promoteSecretsKey } from "./files.ts";
import type { Reach } from "./health.ts";
import { controlUrl, controlWorker, type Rotation } from "./installation.ts";
import { isSecretsKey, newSecretsKey, newShieldKey, sha256 } from "./secrets.ts";

interface Options {
  readonly ports: Reach;
  readonly dryRun?: boolean;
  readonly yes?: boolean;
}

const WORDS: Readonly<Record<Rotation, string>> = {
  "admin-token": "change  the admin token; the old one ends at once",
  "secrets-key": "change  SECRETS_KEY, seal every secret anew, then remove the key before",
  "shield-key":
    "change  SHIELD_KEY of both Workers; slots in another zone may refuse the edge for some seconds",
  "control-token": "change  CLOUDFLARE_API_TOKEN of control",
};

export async function rotate(
  bench: Workbench,
  what: Rotation,
  { ports, dryRun, yes }: Options,
): Promise<Outcome> {
  const { control, edge } = bench.facts;
  if (!control || !edge)
    throw new CliError(
      "not_found",
      `there is no installation ${bench.installation.name} to rotate a secret of: run sluice setup first`,
    );
  const json = { command: "setup", rotate: what, dryRun: dryRun === true };
  if (dryRun) return { exit: EXIT.ok, json, text: WORDS[what] };
  bench.session.out.say(`  ${WORDS[what]}`);
  await confirm(bench.session, "Do this?", yes);
  const made: Made = {};
  await ROTATE[what](bench, control, { made, ports });
  bench.session.out.say(`${bench.session.out.paint("green", "✔")} ${what} is rotated`);
  if (!made.adminToken) return { exit: EXIT.ok, json };
  bench.session.out.say(`it is in ${made.savedTo}; shown only this once:`);
  return {
    exit: EXIT.ok,
    json: { ...json, adminToken: made.adminToken },
    text: made.adminToken,
    secret: true,
  };
}

interface Turn {
  readonly made: Made;
  readonly ports: Reach;
}
type Rotate = (bench: Workbench, control: WorkerFacts, turn: Turn) => Promise<void>;

const ROTATE: Readonly<Record<Rotation, Rotate>> = {
  "admin-token": (bench, _control, { made }) =>
    putSecrets(bench, "control", { ADMIN_TOKEN_SHA256: sha256(adminToken(bench, made)) }),
  "control-token": (bench) => putSecrets(bench, "control", { CLOUDFLARE_API_TOKEN: bench.controlToken }),
  "shield-key": async (bench) => {
    const SHIELD_KEY = newShieldKey();
    await putSecrets(bench, "control", { SHIELD_KEY });
    await putSecrets(bench, "edge", { SHIELD_KEY });
  },
  "secrets-key": rotateSecretsKey,
};

/** With both keys control opens what either sealed, so that nothing is unreadable at any moment, wherever this stops. */
async function rotateSecretsKey(bench: Workbench, control: WorkerFacts, { ports }: Turn): Promise<void> {
  const { home, session, installation } = bench;
  requireOwnControl(bench);
  const underWay = control.bindings.some(({ name }) => name === "SECRETS_KEY_BEFORE");
  if (underWay) session.out.say("a rotation is under way: it is brought to its end");
  else {
    const before = session.env.SECRETS_KEY?.trim() || keptSecretsKey(home);
    const { keyId } = await askReseal(bench, ports);
    if (!before || !isSecretsKey(before) || idOf(before) !== keyId) throw unknownKey(home.folder, keyId);
    const key = newSecretsKey();
    keepNextSecretsKey(home, key);
    await putSecrets(bench, "control", { SECRETS_KEY: key, SECRETS_KEY_BEFORE: before });
  }
  promoteSecretsKey(home);
  const kept = keptSecretsKey(home);
  await resealAll(bench, ports, kept && idOf(kept));
  await putSecrets(bench, "control", { SECRETS_KEY_BEFORE: null });
  session.out.say(
    `  the new key is in ${home.folder}/secrets-key: put a copy of it where you keep the one of ${installation.name}`,
  );
}

const idOf = (key: string): string => key.split(":")[0] ?? "";

const unknownKey = (folder: string, keyId: string): CliError =>
  new CliError(
    "not_configured",
    `control's present key is \`${clean(keyId)}\`, and this machine has no copy of it (${folder}/secrets-key); Cloudflare shows it to nobody. Set SECRETS_KEY to the copy you kept: without it the secrets can't be sealed anew`,
    { title: "the present key is needed" },
  );

/** The token goes to this installation's control, or nowhere. */
function requireOwnControl({ session, installation }: Workbench): void {
  const { url } = session.config;
  if (new URL(url).origin === controlUrl(installation)) return;
  throw new CliError(
    "no_config",
    `the command line is set to ${url}, and not to ${controlUrl(installation)}: set SLUICE_URL and SLUICE_TOKEN`,
  );
}

const answerSchema = z.object({ keyId: z.string(), left: z.number(), resealed: z.number() });

async function askReseal({ session }: Workbench, ports: Reach): Promise<z.infer<typeof answerSchema>> {
  const { url, token } = session.config;
  const answer = await ports.fetch(`${url}/api/v1/secrets/reseal`, {
    method: "POST",
    headers: { authorization: `Bearer ${token}` },
    signal: session.signal,
  });
  const parsed = answerSchema.safeParse(await answer.json().catch(() => undefined));
  if (parsed.success) return parsed.data;
  throw new CliError(
    "unavailable",
    `control at ${url} did not seal secrets anew (HTTP ${answer.status}); run the same command again`,
  );
}

/** New secrets are at work within seconds; this is far more. */
const DEADLINE_MS = 180_000;
const EVERY_MS = 2_000;

async function resealAll(bench: Workbench, ports: Reach, keyId: string | undefined): Promise<void> {
  const { session, installation } = bench;
  const start = session.now();
  let resealed = 0;
  for (;;) {
    const answer = await askReseal(bench, ports);
    const isNew = keyId === undefined || answer.keyId === keyId;
    if (isNew) resealed += answer.resealed;
    if (isNew && answer.left === 0) return session.out.say(`  ${resealed} sealed anew`);
    if (session.now() - start > DEADLINE_MS) throw notResealed(controlWorker(installation.name), answer.left);
    // An older isolate answers with the older key for a moment.
    if (!isNew || answer.resealed === 0) await ports.sleep(EVERY_MS, session.signal);
  }
}

const notResealed = (worker: string, left: number): CliError =>
  new CliError(
    "timeout",
    `${left} secrets are still under the key before. ${worker} has both keys and opens all; those that it can't open have to be set again (sluice secrets list). Run the same command again to finish`,
    { title: "the rotation is not finished" },
  );
