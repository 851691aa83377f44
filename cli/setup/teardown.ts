import { resolve } from "node:path";
import { Client, ConnectionError, collect } from "../../src/client/index.ts";
import { confirmTyping } from "../confirm.ts";
import { EXIT } from "../exit-codes.ts";
import { clean, plural } from "../print.ts";
import { CliError } from "../problem.ts";
import type { Outcome, Session } from "../session.ts";
import { apiToken } from "./api-token.ts";
import { ask, connect, type Sdk, unlessMissing } from "./cloudflare.ts";
import { forget, type Home, homeOf, keptInstallation, keptLogin } from "./files.ts";
import {
  controlUrl,
  controlWorker,
  databaseName,
  edgeWorker,
  type Installation,
  namespaceTitle,
  serviceTokenName,
} from "./installation.ts";
import type { NeedKey } from "./permissions.ts";
import { checkToken } from "./probes.ts";
import { isNothing, type Remains, readRemains } from "./remains.ts";
import type { Ports } from "./setup.ts";
import { findTarget } from "./target.ts";

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
  if (isNothing(remains)) return nothingThere(session, home, json);
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
  return ending(session, { home, remains, options, json });
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
  const token = await apiToken(session, kept?.access ?? false, name);
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
    access: kept?.access ?? false,
    controlHostname: kept?.controlHostname ?? `sluice.${zone}`,
  };
  return { sdk, installation, token };
}

interface Guard {
  readonly home: Home;
  readonly installation: Installation;
  readonly ports: Ports;
  readonly force: boolean | undefined;
}

/** Traffic first: nothing that serves is taken away by this. */
async function refuseInUse(session: Session, guard: Guard): Promise<void> {
  if (guard.force) return;
  const { hosts: known, apps } = await inUse(session, guard);
  const hosts = known.filter(({ state }) => state !== "removed");
  const live = apps.flatMap((app) => app.environments.filter(({ instances }) => instances.length > 0));
  if (hosts.length === 0 && live.length === 0) return;
  const names = live.map(({ app, environment }) => `${clean(app)}/${clean(environment)}`);
  throw new CliError(
    "conflict",
    `${plural(hosts.length, "host")} (${hosts.map(({ name }) => clean(name)).join(", ") || "none"}) and ${plural(names.length, "environment")} with instances (${names.join(", ") || "none"}); nothing was removed`,
    {
      title: "it is in use",
      next: hosts.map(({ name }) => ({
        command: `sluice hosts remove ${clean(name)}`,
        when: "takes its tunnel and records away, too",
      })),
    },
  );
}

async function inUse(session: Session, { home, installation, ports }: Guard) {
  const url = controlUrl(installation);
  const login = keptLogin(home, session.env.SLUICE_URL === url ? session.env.SLUICE_TOKEN : undefined);
  const advice =
    "Mend that, or add --force if control is gone for good: then hosts' tunnels and records stay behind, and are named";
  if (login === undefined)
    throw new CliError(
      "no_config",
      `there is no admin token of ${url} here to ask what is in use: set SLUICE_URL and SLUICE_TOKEN. ${advice}.`,
    );
  const client = new Client({
    url,
    token: login,
    userAgent: "sluice-cli/teardown",
    signal: session.signal,
    fetch: ports.fetch,
  });
  try {
    return {
      hosts: await collect((page) => client.hosts(page)),
      apps: await collect((page) => client.apps(page)),
    };
  } catch (error) {
    if (!(error instanceof ConnectionError)) throw error;
    throw new CliError(
      "no_contact",
      `control at ${url} can't be asked what is in use: ${error.message}. ${advice}.`,
    );
  }
}

interface Removal {
  readonly words: string;
  readonly need: NeedKey;
  readonly run: () => PromiseLike<unknown>;
}

/** Routes before the edge, so that a hostname follows its DNS record at once; the edge before control, to which it is bound. */
function planTeardown(
  sdk: Sdk,
  installation: Installation,
  remains: Remains,
  { deleteData }: TeardownOptions,
): Removal[] {
  const { name } = installation;
  const account_id = installation.account.id;
  const { namespace, database, serviceToken } = remains;
  const worker = (script: string): Removal => ({
    words: `Worker ${script}`,
    need: "workers",
    run: () => sdk.workers.scripts.delete(script, { account_id }),
  });
  return [
    ...remains.routes.map(
      ({ id, zone, pattern }): Removal => ({
        words: `route ${pattern}`,
        need: "routes",
        run: () => sdk.workers.routes.delete(id, { zone_id: zone }),
      }),
    ),
    ...remains.records.map(
      ({ id, zone, name: record }): Removal => ({
        words: `DNS record ${record}`,
        need: "dns",
        run: () => sdk.dns.records.delete(id, { zone_id: zone }),
      }),
    ),
    ...(remains.edge ? [worker(edgeWorker(name))] : []),
    ...remains.domains.map(
      ({ id, hostname }): Removal => ({
        words: `custom domain ${hostname}`,
        need: "workers",
        run: () => sdk.workers.domains.delete(id, { account_id }),
      }),
    ),
    ...(remains.control ? [worker(controlWorker(name))] : []),
    ...(namespace
      ? [
          {
            words: `KV namespace ${namespaceTitle(name)}`,
            need: "kv" as const,
            run: () => sdk.kv.namespaces.delete(namespace, { account_id }),
          },
        ]
      : []),
    ...(serviceToken
      ? [
          {
            words: `Access service token ${serviceTokenName(name)}`,
            need: "accessTokens" as const,
            run: () => sdk.zeroTrust.access.serviceTokens.delete(serviceToken, { account_id }),
          },
        ]
      : []),
    ...(database && deleteData
      ? [
          {
            words: `D1 database ${databaseName(name)} with all of Sluice's data`,
            need: "d1" as const,
            run: () => sdk.d1.database.delete(database, { account_id }),
          },
        ]
      : []),
  ];
}

function keptLines({ name }: Installation, remains: Remains, { deleteData }: TeardownOptions): string[] {
  const data = `keep    D1 database ${databaseName(name)}: releases, hosts, sealed secrets; --delete-data removes it, --export <file> first makes a copy`;
  return [
    ...(remains.database && !deleteData ? [data] : []),
    ...remains.foreign.map((what) => `keep    ${what}: nothing shows that this installation made it`),
    ...remains.ofHosts.map((what) => `keep    ${clean(what)}: of a host that was not removed`),
  ];
}

const left = ({ ofHosts, foreign }: Remains) => [...ofHosts, ...foreign];

function nothingThere(session: Session, home: Home, json: object): Outcome {
  forget(home, { keys: true });
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
  forget(home, { keys: !staysData });
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
