import { ApiError, ConnectionError, collect, ProtocolError } from "../../src/client/index.ts";
import type { EnvironmentView } from "../../src/protocol/api/environments.ts";
import type { StaleSecretView } from "../../src/protocol/api/secrets.ts";
import { EXIT } from "../exit-codes.ts";
import { failedRequestText } from "../failed-request.ts";
import { lookAgain } from "../follow/look-again.ts";
import { accessoryRows } from "../io/accessory-text.ts";
import { ago, clean, facts, inWords, percent, plural, table, until } from "../io/print.ts";
import { CliError } from "../io/problem.ts";
import { Screen } from "../io/screen.ts";
import type { Outcome, Session } from "../session.ts";
import { examples, type Register } from "../verb.ts";

export const status: Register = (program, act) => {
  program
    .command("status")
    .description("what serves what share now, what is on its way, what a rollback would do")
    .option("--all", "every app and environment, one line each")
    .option("--watch", "keep looking: one screen on a terminal, else a new text when something changed")
    .addHelpText(
      "before",
      examples("sluice status", "sluice status -a shop -e staging --json", "sluice status --all"),
    )
    .action(act(run));
};

async function run(session: Session, options: { all?: boolean; watch?: boolean }): Promise<Outcome> {
  if (options.watch) return watchStatus(session, options);
  const { globals, client } = session;
  if (options.all || (globals.app === undefined && !session.findManifest())) return all(session);
  const target = session.target();
  const [{ environment }, warnings] = await Promise.all([
    client.environments.get(target.app, target.environment),
    allowanceWarnings(session),
  ]);
  for (const warning of warnings) session.out.say(warning);
  const next = environment.next.map((step) => ({ ...step, command: session.carry(step.command) }));
  const text = statusText({ ...environment, next }, session.now());
  return { exit: EXIT.ok, json: { environment: { ...environment, next } }, text };
}

/** Looks again and again, until Ctrl-C. */
async function watchStatus(session: Session, { all }: { all?: boolean }): Promise<Outcome> {
  const { out, client } = session;
  if (all || out.mode === "object")
    throw new CliError(
      "usage",
      "--watch is of one environment and has no end: without --all, and with --json=stream",
    );
  const target = session.target();
  const screen = new Screen(out);
  let seen: string | undefined;
  let text = "";
  const look = async () => {
    const { environment, etag } = await client.environments.get(target.app, target.environment);
    const isNews = etag === undefined || etag !== seen;
    seen = etag;
    text = statusText(environment, session.now());
    if (out.mode !== "stream") screen.show(text, isNews);
    else if (isNews) out.line({ type: "status", environment });
  };
  await look();
  const lost = (why: string) =>
    out.redrawsAnswer && out.mode !== "stream" ? screen.show(`${text}\n! ${clean(why)}`, true) : out.say(why);
  await lookAgain(session, { look, lost });
  return { exit: EXIT.ok, json: {} };
}

/** Nobody waits longer for what was not asked for. */
const ALLOWANCES_MS = 2_000;

/** What ends before the day does is worth a word wherever somebody looks; that it can't be known is not. */
async function allowanceWarnings({ client, out, signal }: Session): Promise<string[]> {
  const limit = AbortSignal.timeout(ALLOWANCES_MS);
  try {
    const asked = { only: "allowances", signal: AbortSignal.any([signal, limit]) } as const;
    const { checks } = await client.installation.doctor(asked);
    const warned = checks.filter(({ status, subject }) => status === "warn" && subject === "free plan");
    return warned.map(({ detail, fix }) => {
      const mend = fix === null ? "" : `\n  mend: ${clean(fix)}`;
      return `${out.paint("yellow", "!")} ${clean(detail)}${mend}`;
    });
  } catch (error) {
    // A token for one app may not see the account's day, and an older control doesn't know it.
    const isExpected = [ApiError, ConnectionError, ProtocolError].some((kind) => error instanceof kind);
    if (isExpected || limit.aborted) return [];
    throw error;
  }
}

async function all(session: Session): Promise<Outcome> {
  const apps = await collect((page) => session.client.apps.list(page));
  const rows = apps.flatMap((app) =>
    app.environments.map((env) => [
      env.app,
      env.environment,
      shares(env) || "-",
      env.active ? `${env.active.version} ${inWords(env.active.state)}` : "-",
      env.hostnames[0] ?? "-",
    ]),
  );
  const text =
    rows.length > 0
      ? table([["APP", "ENVIRONMENT", "SERVES", "ON ITS WAY", "HOSTNAME"], ...rows])
      : "no apps yet";
  return { exit: EXIT.ok, json: { items: apps }, text };
}

const shares = (environment: EnvironmentView) =>
  environment.split
    .filter((entry) => entry.weight > 0)
    .map((entry) => `${clean(entry.version)} ${percent(entry.weight)}`)
    .join(", ");

/** An environment as a person wants it in the first five seconds: what serves, is it moving, what can I do. */
function statusText(environment: EnvironmentView, now: number): string {
  const { active, lock, rollback, lastFailed } = environment;
  const rows = withTraffic(environment).map((entry) => [
    `  ${entry.version}`,
    percent(entry.weight),
    `${entry.ready}/${entry.instances} ready`,
    noteOf(environment, entry.release, now),
  ]);
  const paused =
    active?.paused &&
    `by ${clean(active.paused.by)} ${ago(active.paused.at, now)}: ${clean(active.paused.reason)}`;
  const details = facts([
    ["on its way", active ? movingText(active) : undefined],
    ["paused", paused || undefined],
    ["judge", active?.verdict ? clean(active.verdict.words) : undefined],
    ["deadline", active?.deadlineAt ? until(active.deadlineAt, now) : undefined],
    ["queued", environment.queued.map((entry) => clean(entry.version)).join(", ") || undefined],
    [
      "lock",
      lock
        ? `${clean(lock.holder)}: ${clean(lock.reason)}, expires ${until(lock.expiresAt, now)}`
        : undefined,
    ],
    ["windows", environment.closed === null ? undefined : clean(environment.closed)],
    ["visitors", environment.mode === "open" ? undefined : MODES[environment.mode]],
    ["last failed", lastFailed ? failedText(lastFailed, now) : undefined],
    ["rollback", rollbackText(rollback)],
    ...environment.staleSecrets.flatMap((secret) => staleTexts(secret, now)).map(asSecret),
  ]);
  const notReady = environment.instances
    .filter((instance) => !instance.ready && instance.cause)
    .map((i) => `  ✖ ${clean(`${i.version} on ${i.host} slot ${i.slot}: ${i.cause}`)}`);
  const astray = environment.routes
    .filter((route) => route.state !== "ready")
    .map((route) => `  ✖ ${clean(`${route.hostname}: ${route.cause ?? route.state}`)}`);
  const looked = (active ?? environment.live)?.look ?? [];
  const sights = looked.map(({ detail, fix }) => `  ! ${clean(detail)}\n      mend: ${clean(fix)}`);
  const next = environment.next.map((step) => `    ${clean(step.command)}  (${clean(step.when)})`);
  return [
    `${environment.app}/${environment.environment}  ${environment.hostnames.map(clean).join(" ")}`,
    rows.length > 0 ? table(rows) : "  nothing serves: no release has traffic yet",
    ...astray,
    ...notReady,
    ...sights,
    ...accessoryRows(environment.accessories),
    ...environment.processes.map((process) => processText(process, now)),
    ...details,
    ...failedRequestText((active ?? lastFailed)?.failedRequest ?? null),
    ...(next.length > 0 ? ["  next:", ...next] : []),
  ].join("\n");
}

function processText(process: EnvironmentView["processes"][number], now: number): string {
  const { name, replicas, ready, schedule, nextAt, cause } = process;
  const how =
    schedule === null
      ? `${ready} of ${replicas} healthy`
      : `${schedule}, ${nextAt === null ? "never again" : `next ${until(nextAt, now)}`}`;
  const mark = cause === null && (ready ?? 0) >= (replicas ?? 0) ? " " : "✖";
  return `  ${mark} ${clean(name)}  ${clean(how)}${cause === null ? "" : `: ${clean(cause)}`}`;
}

/** The split, and below it the releases that have instances and no traffic: kept warm, or on their way. */
function withTraffic({ split, instances }: EnvironmentView): EnvironmentView["split"] {
  const others = instances.filter((instance) => !split.some((entry) => entry.release === instance.release));
  const idle = [...Map.groupBy(others, (instance) => instance.release)].map(([release, list]) => ({
    release,
    version: list[0]?.version ?? release,
    weight: 0,
    ready: list.filter((instance) => instance.ready).length,
    instances: list.length,
  }));
  return [...split, ...idle];
}

function noteOf({ active, live }: EnvironmentView, release: string, now: number): string {
  if (active?.id === release) return `${active.id}, ${inWords(active.state)}`;
  if (live?.id === release && live.servingAt) return `${live.id}, since ${ago(live.servingAt, now)}`;
  return release;
}

const MODES = {
  paused: "NOT LET IN: requests are held, then 503",
  maintenance: "NOT LET IN: maintenance, 503",
};

const stepText = ({ state, step }: NonNullable<EnvironmentView["active"]>) =>
  step && state === "shifting" ? ` (step ${step.index + 1} of ${step.of}: ${clean(step.label)})` : "";

function movingText(release: NonNullable<EnvironmentView["active"]>): string {
  const { version, state, failure, by } = release;
  const moves = `${clean(version)} ${inWords(state)}${stepText(release)}`;
  return failure
    ? `${moves}: ${clean(failure.message)} (released by ${clean(by)})`
    : `${moves}, asked for by ${clean(by)}`;
}

function failedText(release: NonNullable<EnvironmentView["lastFailed"]>, now: number): string {
  const { version, state, failure, endedAt } = release;
  const when = endedAt === null ? "" : ` ${ago(endedAt, now)}`;
  return `${clean(version)}, ${inWords(state)}${when}${failure ? `: ${clean(failure.message)}` : ""}`;
}

function rollbackText(rollback: EnvironmentView["rollback"]): string {
  if (!rollback.possible) return `not possible: ${clean(rollback.reason)}`;
  return `${rollback.how ?? ""} to ${clean(rollback.to?.version ?? "?")}: ${clean(rollback.reason)}`.trim();
}

const asSecret = (text: string): [string, string] => ["secrets", text];

/** Who still runs another value than the one that is set, and what mends it. */
function staleTexts(secret: StaleSecretView, now: number): string[] {
  const name = clean(secret.name);
  const old =
    secret.setAt === null ? `the removed ${name}` : `the old ${name} (set ${ago(secret.setAt, now)})`;
  const runs = (n: number) => `${plural(n, "instance")} still ${n === 1 ? "runs" : "run"} ${old}`;
  const { instances, kept, accessories } = secret;
  return [
    ...(instances.length > 0 ? [`${runs(instances.length)}: deploy again to hand it out`] : []),
    ...(kept.length > 0
      ? [
          `${plural(kept.length, "instance")} kept for a rollback ${kept.length === 1 ? "has" : "have"} ${old}`,
        ]
      : []),
    ...accessories.map(
      (accessory) => `accessory ${clean(accessory)} still runs ${old}: upgrade it to hand it out`,
    ),
  ];
}
