import type { Region } from "../../src/protocol/region.ts";
import { EXIT } from "../exit-codes.ts";
import { confirm } from "../io/confirm.ts";
import { clean, duration } from "../io/print.ts";
import { CliError, Interrupted } from "../io/problem.ts";
import type { Outcome, Session } from "../session.ts";
import { apiToken, controlToken } from "./api-token.ts";
import { carryOut, type Made, type Workbench } from "./carry-out.ts";
import { connect, type Sdk } from "./cloudflare.ts";
import { type AccountFacts, keepsImages, readFacts, refuseForeign } from "./facts.ts";
import { type Home, homeOf, keepInstallation, keptInstallation } from "./files.ts";
import { type Health, type Reach, waitForHealth } from "./health.ts";
import { checkNames, controlUrl, controlWorker, type Installation, type Rotation } from "./installation.ts";
import { isDone, planSetup, type Step, stepLine } from "./plan.ts";
import { checkPermissions, checkToken } from "./probes.ts";
import { parseRegion, refuseMove, regionFor } from "./region.ts";
import { rotate } from "./rotate.ts";
import { findTarget, type Target } from "./target.ts";
import type { Wrangler, wranglerIn } from "./wrangler.ts";
import { migrationNames, workerConfig } from "./wrangler-config.ts";
import { readZoneSecurity, securityLines } from "./zone-security.ts";

export interface SetupOptions {
  readonly name: string;
  readonly zone?: string;
  readonly slotZone?: string;
  readonly account?: string;
  readonly region?: string;
  readonly controlHostname?: string;
  readonly access?: boolean;
  readonly images?: boolean;
  readonly controlTokenEnv?: string;
  readonly rotate?: Rotation;
  readonly dryRun?: boolean;
  readonly yes?: boolean;
  /** How long to wait for control's hostname; false: not at all. */
  readonly wait: number | false;
}

/** What setup needs of the world besides Cloudflare's API. */
export interface Ports extends Reach {
  readonly wrangler: typeof wranglerIn;
}

/** Makes an installation, brings it up to date, or finds that there is nothing to do: one plan for all three. */
export async function setup(session: Session, options: SetupOptions, ports: Ports): Promise<Outcome> {
  const home = homeOf(session.env, options.name);
  const region = options.region === undefined ? null : parseRegion(options.region);
  const before = keptInstallation(home)?.region ?? null;
  const found = await findOut(session, { ...options, asked: region ?? before }, home);
  const { sdk, token } = found;
  const facts = await readFacts(sdk, found.installation);
  // Set up by another machine: what control is bound to stays.
  const installation = { ...found.installation, images: found.installation.images || keepsImages(facts) };
  refuseForeign(facts, installation);
  refuseMove(facts, region, before);
  const bench: Workbench = {
    session,
    sdk,
    home,
    installation,
    facts,
    wrangler: wranglerOf(session, ports, { installation, home, token }),
    controlToken: controlToken(session, options.controlTokenEnv) ?? token,
  };
  if (options.rotate) return rotate(bench, options.rotate, { ports, ...options });
  const { steps, version } = plan(facts, installation);
  if (options.dryRun) return dryRun(installation, steps);
  const made = await work(bench, steps, options);
  const health = await awaitControl(session, ports, { installation, version, wait: options.wait });
  return outcome(bench, { steps, made, health, version });
}

interface Found {
  readonly sdk: Sdk;
  readonly installation: Installation;
  readonly token: string;
}

/** The token and what it may, the account and the zones. Changes nothing. */
async function findOut(
  session: Session,
  options: SetupOptions & { asked: Region | null },
  home: Home,
): Promise<Found> {
  const kept = keptInstallation(home);
  const { name } = options;
  const access = options.access ?? kept?.access ?? false;
  const images = options.images ?? kept?.images ?? false;
  const zone = (options.zone ?? kept?.zone.name)?.toLowerCase();
  if (zone === undefined)
    throw new CliError(
      "usage",
      "say which domain it is for: --zone example.com (a zone of your Cloudflare account)",
    );
  const token = await apiToken(session, { access, images }, name);
  const connection = { baseUrl: session.env.CLOUDFLARE_API_BASE_URL, signal: session.signal };
  const sdk = connect({ token, ...connection });
  await checkToken(sdk);
  const before = kept?.zone.name === zone ? kept : undefined;
  const slotZone = (options.slotZone ?? before?.slotZone.name ?? zone).toLowerCase();
  const target = await findTarget(sdk, { zone, slotZone, account: options.account });
  const controlHostname = (
    options.controlHostname ??
    before?.controlHostname ??
    `sluice.${zone}`
  ).toLowerCase();
  const installation = { ...target, name, access, images, controlHostname, region: options.asked };
  checkNames(installation);
  const count = await checkPermissions(sdk, target, { user: "setup", access, images, name });
  const narrow = controlToken(session, options.controlTokenEnv);
  if (narrow !== undefined)
    await checkPermissions(connect({ token: narrow, ...connection }), target, {
      user: "control",
      access,
      images,
      name: `${name}-control`,
    });
  introduce(session, installation, count);
  await warnOfSecurity(session, sdk, target);
  return { sdk, installation, token };
}

function introduce(session: Session, { account, zone, slotZone }: Installation, permissions: number): void {
  const { out } = session;
  out.say(`account  ${clean(account.name)} (${account.id})`);
  out.say(`zone     ${zone.name}${slotZone.id === zone.id ? "" : `, the hosts' slots in ${slotZone.name}`}`);
  out.say(
    `token    may read all ${permissions} kinds of things it needs; that it may also edit shows at the first write`,
  );
}

/** Said before anything is made: an agent that is challenged looks like one that is down. */
async function warnOfSecurity({ out }: Session, sdk: Sdk, { zone, slotZone }: Target): Promise<void> {
  const zones = zone.id === slotZone.id ? [zone] : [zone, slotZone];
  for (const found of await Promise.all(zones.map((one) => readZoneSecurity(sdk, one))))
    for (const line of securityLines(found)) out.say(`${out.paint("yellow", "!")} ${clean(line)}`);
}

const wranglerOf = (
  session: Session,
  ports: Ports,
  { installation, home, token }: { installation: Installation; home: Home; token: string },
): Wrangler =>
  ports.wrangler({
    folder: home.folder,
    token,
    account: installation.account.id,
    env: session.env,
    signal: session.signal,
  });

function plan(facts: AccountFacts, installation: Installation): { steps: Step[]; version: string } {
  const ids = {
    database: facts.database?.id ?? "",
    namespace: facts.namespace?.id ?? "",
    region: regionFor(facts, installation.region),
  };
  const control = workerConfig("control", installation, ids);
  const edge = workerConfig("edge", installation, ids);
  const steps = planSetup(facts, { installation, control, edge, migrations: migrationNames() });
  return { steps, version: control.vars.VERSION ?? "" };
}

function dryRun(installation: Installation, steps: readonly Step[]): Outcome {
  return {
    exit: EXIT.ok,
    json: { command: "setup", dryRun: true, ...facts(installation), steps },
    text: steps.map(stepLine).join("\n"),
  };
}

const facts = (installation: Installation) => ({
  name: installation.name,
  url: controlUrl(installation),
  account: installation.account,
  zone: installation.zone,
  slotZone: installation.slotZone,
});

async function work(bench: Workbench, steps: readonly Step[], { yes }: SetupOptions): Promise<Made> {
  const { session, installation } = bench;
  const { out } = session;
  const made: Made = {};
  for (const step of steps) out.say(`  ${stepLine(step)}`);
  if (isDone(steps)) {
    out.say("nothing to change");
    note(bench, made);
    return made;
  }
  const ahead = steps.filter(({ action }) => action !== "keep");
  await confirm(session, `Do this in the account ${clean(installation.account.name)}?`, yes);
  // Before the first change and after each: a teardown of a half-made installation has to know what it is.
  note(bench, made);
  for (const step of ahead) {
    const start = session.now();
    await carryOut(bench, step, made).catch((error: unknown) => {
      if (error instanceof Interrupted) out.say("run the same command again: it goes on where it stopped");
      throw error;
    });
    note(bench, made);
    out.say(`${out.paint("green", "✔")} ${step.words}  ${out.paint("dim", duration(session.now() - start))}`);
  }
  return made;
}

/** Without a database of ours on record, one that happens to have its name is never removed. */
function note({ home, installation, facts }: Workbench, made: Made): void {
  const database = made.databaseId ?? facts.database?.id;
  const namespace = made.namespaceId ?? facts.namespace?.id;
  const ids = {
    ...(database === undefined ? {} : { database }),
    ...(namespace === undefined ? {} : { namespace }),
  };
  keepInstallation(home, { ...installation, ids });
}

interface Awaited {
  readonly installation: Installation;
  readonly version: string;
  readonly wait: number | false;
}

async function awaitControl(
  session: Session,
  ports: Ports,
  { installation, version, wait }: Awaited,
): Promise<Health | null> {
  if (wait === false) return null;
  const url = controlUrl(installation);
  session.out.say(`waiting for ${url}/health, at most ${duration(wait)}`);
  const health = await waitForHealth(session, ports, { url, version, forMs: wait });
  if (health.ok) session.out.say(`${session.out.paint("green", "✔")} ${url} answers, version ${version}`);
  else
    session.out.say(
      `${session.out.paint("yellow", "!")} ${url} does not answer yet: ${health.last}. All is deployed; a new hostname's certificate may take minutes.\n  next:  sluice setup --name ${installation.name}   to wait on; it changes nothing`,
    );
  return health;
}

interface Result {
  readonly steps: readonly Step[];
  readonly made: Made;
  readonly health: Health | null;
  readonly version: string;
}

/** The admin token alone goes to stdout, and only when it is new: nothing else ever shows it again. */
function outcome(bench: Workbench, { steps, made, health, version }: Result): Outcome {
  const { installation } = bench;
  lastWords(bench, made);
  const { adminToken } = made;
  return {
    exit: health?.ok === false ? EXIT.noAnswer : EXIT.ok,
    json: {
      command: "setup",
      dryRun: false,
      ...facts(installation),
      version,
      steps,
      answers: health === null ? null : health.ok,
      ...(adminToken === undefined ? {} : { adminToken, savedTo: made.savedTo }),
    },
    text: adminToken,
    secret: adminToken !== undefined,
  };
}

function lastWords({ session, home, installation, controlToken: given }: Workbench, made: Made): void {
  const { out } = session;
  const secrets = [made.secretsKeyFile, made.adminToken].filter((one) => one !== undefined);
  if (secrets.length === 0) return;
  if (made.secretsKeyFile)
    out.say(
      `the key of the apps' secrets is in ${made.secretsKeyFile}: put a copy where you keep passwords. Without it, a lost Worker loses them`,
    );
  if (given === session.env.CLOUDFLARE_API_TOKEN && made.adminToken)
    out.say(
      `${controlWorker(installation.name)} was given this same API token; a narrower one: sluice setup --rotate control-token --control-token-env <VARIABLE>`,
    );
  if (!made.adminToken) return;
  const isOwn = made.savedTo !== home.cliFile;
  const use = isOwn
    ? `${home.cliFile} is another installation's, and was left alone; for this one: export SLUICE_URL=${controlUrl(installation)} SLUICE_TOKEN=…`
    : "so the command line works at once";
  out.say(`the admin token is in ${made.savedTo}; ${use}`);
  out.say(
    `  next:  sluice hosts enroll web-1   then run its line on the host\nthe admin token, shown only this once:`,
  );
}
