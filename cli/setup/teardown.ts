import { resolve } from "node:path";
import { clean as cleanLab, newLab } from "../doctor/lab.ts";
import { nameOf, overAt, timeOf } from "../doctor/run-name.ts";
import { EXIT } from "../exit-codes.ts";
import { confirmTyping } from "../io/confirm.ts";
import { clean } from "../io/print.ts";
import { CliError } from "../io/problem.ts";
import type { Outcome, Session } from "../session.ts";
import { apiToken } from "./api-token.ts";
import { ask, connect, type Sdk, unlessMissing } from "./cloudflare.ts";
import { forget, type Home, homeOf, keptInstallation } from "./files.ts";
import { refuseInUse } from "./in-use.ts";
import { databaseName, type Installation } from "./installation.ts";
import { checkToken } from "./probes.ts";
import { isNothing, type Remains, readRemains } from "./remains.ts";
import type { Ports } from "./setup.ts";
import { findTarget } from "./target.ts";
import { keptLines, planTeardown } from "./teardown-plan.ts";

export interface TeardownOptions {
  readonly name?: string;
  readonly zone?: string;
  readonly account?: string;
  readonly deleteData?: boolean;
  readonly export?: string;
  readonly force?: boolean;
  readonly dryRun?: boolean;
  readonly yes?: boolean;
}

/** Removes what setup made, and what control made for apps' hostnames. Hosts are removed before, by control. */
export async function teardown(session: Session, options: TeardownOptions, ports: Ports): Promise<Outcome> {
  const { name = "sluice" } = options;
  if (options.yes && options.name === undefined)
    throw new CliError("usage", "with --yes the installation has to be named: --name sluice");
  const home = homeOf(session.env, name);
  const { sdk, installation, token } = await findOut(session, options, home);
  const remains = await readRemains(sdk, installation, keptInstallation(home));
  // Without its domain a teardown was cut short, past all that carried traffic: there is nobody to ask, and no need.
  if (remains.domains.length > 0)
    await refuseInUse(session, { home, installation, ports, force: options.force });
  const removals = planTeardown(sdk, installation, remains, options);
  const lines = [
    ...removals.map(({ words }) => `remove  ${words}`),
    ...keptLines(installation, remains, options),
  ];
  const json = {
    command: "teardown",
    dryRun: options.dryRun === true,
    name,
    removed: removals.map(({ words }) => words),
    left: left(remains),
  };
  if (options.dryRun) return { exit: EXIT.ok, json, text: lines.join("\n") };
  for (const line of lines) session.out.say(`  ${line}`);
  if (isNothing(remains)) {
    await sweepDoctors(session, sdk, installation);
    return nothingThere(session, home, json);
  }
  await confirmTyping(session, {
    question: `This removes the installation ${name}.`,
    word: name,
    yes: options.yes,
  });
  if (options.export !== undefined && remains.database)
    await exportData(session, { ports, home, installation, token, file: options.export });
  for (const { words, need, run } of removals) {
    await ask(`remove ${words}`, need, () => unlessMissing(run));
    session.out.say(`${session.out.paint("green", "✔")} ${words}`);
  }
  await sweepDoctors(session, sdk, installation);
  return ending(session, { home, remains, options, json });
}

/** What a `doctor --live` that was killed left: once control is gone, none runs that would remove it. */
async function sweepDoctors({ out, now }: Session, sdk: Sdk, installation: Installation): Promise<void> {
  const lab = newLab({ sdk, sweeper: sdk, installation, now: now() });
  const { left, others } = await cleanLab(lab);
  for (const what of left)
    out.say(`a \`sluice doctor --live\` left things that could not be removed: ${clean(what)}`);
  for (const run of others)
    out.say(
      `things of a \`sluice doctor --live\` stay: ${nameOf(run)}. If none is at work, run this again after ${timeOf(overAt(run))}`,
    );
}

async function findOut(session: Session, options: TeardownOptions, home: Home) {
  const kept = keptInstallation(home);
  const { name = "sluice" } = options;
  const zone = options.zone ?? kept?.zone.name;
  if (zone === undefined)
    throw new CliError(
      "usage",
      `this machine has no record of an installation ${name}; say which domain it is for: --zone example.com`,
    );
  const extras = { access: kept?.access ?? false, images: false };
  const token = await apiToken(session, extras, name);
  const sdk = connect({ token, baseUrl: session.env.CLOUDFLARE_API_BASE_URL, signal: session.signal });
  await checkToken(sdk);
  const target = await findTarget(sdk, {
    zone,
    slotZone: kept?.slotZone.name ?? zone,
    account: options.account,
  });
  const installation: Installation = {
    ...target,
    name,
    ...extras,
    region: kept?.region ?? null,
    controlHostname: kept?.controlHostname ?? `sluice.${zone}`,
  };
  return { sdk, installation, token };
}

const left = ({ ofHosts, foreign }: Remains) => [...ofHosts, ...foreign];

function nothingThere(session: Session, home: Home, json: object): Outcome {
  forget(home, { data: true });
  session.out.say("nothing is there to remove");
  return { exit: EXIT.ok, json };
}

interface Export {
  readonly ports: Ports;
  readonly home: Home;
  readonly installation: Installation;
  readonly token: string;
  readonly file: string;
}

async function exportData(
  session: Session,
  { ports, home, installation, token, file }: Export,
): Promise<void> {
  const wrangler = ports.wrangler({
    folder: home.folder,
    token,
    account: installation.account.id,
    env: session.env,
    signal: session.signal,
  });
  const name = databaseName(installation.name);
  const output = resolve(session.cwd, file);
  await wrangler({
    args: ["d1", "export", name, "--remote", "--output", output],
    what: `export ${name}`,
    need: "d1",
  });
  session.out.say(`${session.out.paint("green", "✔")} ${name} is exported to ${output}`);
}

interface Ending {
  readonly home: Home;
  readonly remains: Remains;
  readonly options: TeardownOptions;
  readonly json: object;
}

/** While the data stays its key stays: without it the secrets in there are lost. */
function ending(session: Session, { home, remains, options, json }: Ending): Outcome {
  const staysData = remains.database !== null && !options.deleteData;
  forget(home, { data: !staysData });
  if (staysData)
    session.out.say(
      `the key of its secrets stays in ${home.folder}/secrets-key; sluice setup takes both up again`,
    );
  if (remains.ofHosts.length > 0)
    session.out.say(
      `these are left in the account, and control is no more: remove them in Cloudflare's dashboard\n${remains.ofHosts.map((what) => `  ${clean(what)}`).join("\n")}`,
    );
  session.out.say("the installation is removed");
  return { exit: EXIT.ok, json };
}
