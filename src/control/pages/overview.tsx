import { awaited, waitWords } from "../../domain/approval/gate.ts";
import { isOnline } from "../../domain/host-online.ts";
import { isActive } from "../../domain/rollout/release.ts";
import { stepsOf } from "../../domain/rollout/steps.ts";
import { authorize } from "../http/auth.ts";
import type { AppContext } from "../http/context.ts";
import { iso } from "../iso.ts";
import {
  type Overview,
  type OverviewEnvironment,
  type OverviewRelease,
  readOverview,
} from "../store/figures/overview.ts";
import { briefly } from "./canary.tsx";
import { page } from "./layout.tsx";
import {
  Ago,
  iconOf,
  isNewlyFailed,
  markOf,
  Name,
  percent,
  SplitBar,
  State,
  type Tone,
  Until,
  words,
} from "./pieces.tsx";

/** First page: what needs somebody, then every app in every environment. */
export async function overviewPage(c: AppContext): Promise<Response> {
  const { app, environment } = c.var.principal;
  authorize(c, { role: "viewer", app, environment });
  const now = c.var.now();
  const glances = glancesOf(await readOverview(c.var.db, { app, environment }), now);
  const needs = [...glances.rows.flatMap((row) => row.needs), ...glances.hosts].toSorted(worseFirst);
  const moving = glances.rows.filter(({ active }) => active).length;
  const tone: Tone = needs.some((need) => need.tone === "bad") ? "bad" : needs.length > 0 ? "warn" : "ok";
  const says =
    needs.length === 0
      ? "Nothing needs you."
      : `${needs.length} ${needs.length === 1 ? "thing needs" : "things need"} you.`;
  const apps = Map.groupBy(glances.rows, (row) => row.app);
  return page(c, {
    title: `${markOf(tone)} ${needs.length > 0 ? `${needs.length} ` : ""}Sluice`,
    icon: iconOf(tone, 100),
    section: "/",
    live: { feed: null, says },
    children: (
      <>
        <h1>{says}</h1>
        <p class="lead">
          {plural(glances.rows.length, "environment")} of {plural(apps.size, "app")};{" "}
          {moving === 0 ? "nothing moves" : `${moving} ${moving === 1 ? "moves" : "move"}`}.
        </p>
        {needs.length > 0 && <Needs needs={needs} now={now} />}
        <h2>Apps</h2>
        {apps.size === 0 && (
          <p class="card none">
            No app yet. Write a <code>sluice.yaml</code>, then <code>sluice deploy --apply</code>.
          </p>
        )}
        <ul class="apps">
          {[...apps].map(([name, rows]) => (
            <li>
              <h3>{name}</h3>
              <div class="envs">
                {rows.map((row) => (
                  <Cell row={row} now={now} />
                ))}
              </div>
            </li>
          ))}
        </ul>
      </>
    ),
  });
}

const plural = (n: number, what: string) => `${n} ${what}${n === 1 ? "" : "s"}`;

interface Need {
  readonly tone: Tone;
  readonly word: string;
  readonly where: string;
  readonly href: string;
  readonly what: string;
  readonly since: number | null;
}

const Needs = ({ needs, now }: { needs: readonly Need[]; now: number }) => (
  <ul class="needs" aria-label="What needs you">
    {needs.map(({ tone, word, where, href, what, since }) => (
      <li>
        <State tone={tone}>{word}</State>
        <a href={href}>{where}</a>
        <span>
          <Name>{what}</Name>{" "}
          {since !== null && (
            <span class="soft">
              <Ago at={iso(since)} now={now} />
            </span>
          )}
        </span>
      </li>
    ))}
  </ul>
);

/** What is broken before what waits; of each, what is so right now, then the newest. */
const worseFirst = (a: Need, b: Need): number =>
  Number(b.tone === "bad") - Number(a.tone === "bad") || sinceOf(b) - sinceOf(a);

const sinceOf = ({ since }: Need): number => since ?? Number.MAX_SAFE_INTEGER;

interface Glance {
  readonly app: string;
  readonly environment: OverviewEnvironment;
  readonly serving: readonly OverviewRelease[];
  readonly active: OverviewRelease | undefined;
  readonly counts: { readonly ready: number; readonly all: number };
  readonly verdict: Overview["verdicts"][number] | undefined;
  readonly needs: readonly Need[];
}

function glancesOf(seen: Overview, now: number): { rows: Glance[]; hosts: Need[] } {
  const releases = Map.groupBy(seen.releases, (row) => row.environmentId);
  const counts = new Map(seen.instances.map((row) => [row.releaseId, row]));
  const verdicts = new Map(seen.verdicts.map((row) => [row.releaseId, row]));
  const foreign = Map.groupBy(seen.foreign, (row) => row.environmentId);
  const failedRuns = Map.groupBy(seen.failedRuns, (row) => row.environmentId);
  const rows = seen.environments.map((environment): Glance => {
    const own = releases.get(environment.id) ?? [];
    const serving = own.filter(({ weightBp }) => weightBp > 0).toSorted((a, b) => b.weightBp - a.weightBp);
    const active = own.find(({ state }) => isActive(state) || state === "rolling_back");
    const each = serving.map(({ id }) => counts.get(id) ?? { ready: 0, all: 0 });
    const glance = {
      app: environment.app,
      environment,
      serving,
      active,
      counts: { ready: sum(each.map(({ ready }) => ready)), all: sum(each.map(({ all }) => all)) },
      verdict: active && verdicts.get(active.id),
    };
    const [newest] = own;
    const beside = {
      foreign: foreign.get(environment.id) ?? [],
      failedRuns: failedRuns.get(environment.id) ?? [],
    };
    return { ...glance, needs: needsOf(glance, newest, beside, now) };
  });
  return { rows, hosts: hostNeeds(seen.hosts, now) };
}

const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);

/** More than these are one thing: a network or a control that nobody reaches, say. */
const HOSTS_EACH = 3;

function hostNeeds(hosts: Overview["hosts"], now: number): Need[] {
  const away = hosts
    .filter((host) => !isOnline(host, now))
    .toSorted((a, b) => (b.lastSeenAt ?? 0) - (a.lastSeenAt ?? 0));
  const all = { tone: "bad", href: "/ui/hosts" } as const;
  if (away.length <= HOSTS_EACH)
    return away.map(({ name, lastSeenAt: since }) => ({
      ...{ ...all, word: "host offline", where: name, since },
      what: since === null ? "its agent was never heard from" : "its agent was last heard from",
    }));
  const names = away.slice(0, HOSTS_EACH).map(({ name }) => name);
  const what = `${names.join(", ")} and ${away.length - HOSTS_EACH} more; the last one was heard from`;
  return [
    {
      ...all,
      word: "hosts offline",
      where: `${away.length} hosts`,
      what,
      since: away[0]?.lastSeenAt ?? null,
    },
  ];
}

/** What a person has to decide or mend. A pause that ends by itself is none. */
function needsOf(
  { environment, active, serving, counts }: Omit<Glance, "needs">,
  newest: OverviewRelease | undefined,
  beside: Pick<Overview, "foreign" | "failedRuns">,
  now: number,
): Need[] {
  const at = { where: `${environment.app} / ${environment.name}`, href: pathOf(environment) };
  const needs: Need[] = [];
  const add = (tone: Tone, word: string, what: string, since: number | null) =>
    needs.push({ tone, word, what, since, ...at });
  const approval = active && awaited(active);
  if (active && approval)
    add("warn", "waits for you", `${active.version}: ${waitWords(approval)}`, approval.askedAt);
  else if (active?.paused && active.paused.until === null)
    add("warn", "waits for you", `${active.version}: ${active.paused.reason}`, active.paused.at);
  if (newest && isNewlyFailed(newest, now))
    add(
      "bad",
      words(newest.state),
      `${newest.version}: ${briefly(newest.failure ?? "no cause is known")}`,
      newest.endedAt,
    );
  if (serving.length > 0 && counts.ready === 0) add("bad", "down", "no instance that serves is ready", null);
  else if (counts.ready < counts.all)
    add("warn", "degraded", `${counts.ready} of ${counts.all} instances are ready`, null);
  for (const [name, trouble] of Object.entries(serving[0]?.workerTroubles ?? {}))
    add("bad", "worker", `${name}: ${trouble.message}`, null);
  for (const { process, cause, endedAt } of beside.failedRuns)
    add("bad", "run failed", cause ?? `${process} did not end well`, endedAt);
  if (environment.mode.kind !== "open") add("warn", environment.mode.kind, "visitors are not let in", null);
  for (const { hostname, cause } of beside.foreign)
    add("warn", "route", `${hostname}: ${cause ?? "leads elsewhere"}`, null);
  return needs;
}

const pathOf = ({ app, name }: { app: string; name: string }) => `/ui/apps/${app}/${name}`;

const Cell = ({ row, now }: { row: Glance; now: number }) => {
  const { environment, serving, active, counts, verdict } = row;
  const worst = row.needs.find(({ tone }) => tone === "bad") ?? row.needs[0];
  const stable = serving.find(({ id }) => id === environment.stableReleaseId) ?? serving[0];
  const tone = active ? (active.paused ? "warn" : "moving") : worst ? worst.tone : stable ? "ok" : "idle";
  const word = active
    ? active.paused
      ? awaited(active)
        ? "waits for approval"
        : "paused"
      : words(active.state)
    : (worst?.word ?? (stable ? "live" : "nothing serves"));
  return (
    <a class="env" href={pathOf(environment)}>
      <b>{environment.name}</b> {stable?.version} <State tone={tone}>{word}</State>
      {counts.all > 0 && (
        <i>
          {" "}
          {counts.ready}/{counts.all}
        </i>
      )}
      {active && (
        <>
          {serving.length > 1 && <SplitBar shares={sharesOf(serving, environment)} />}
          <small>
            {active.version} {percent(active.weightBp / 100)}
            <NextMove release={active} now={now} />
          </small>
          {verdict && <small>{briefly(verdict.words)}</small>}
        </>
      )}
    </a>
  );
};

/** The newer one first, as on the environment's page. */
const sharesOf = (serving: readonly OverviewRelease[], environment: OverviewEnvironment) =>
  serving.map((one) => shareOf(one, environment)).toSorted((a, b) => b.fill - a.fill);

const shareOf = ({ id, version, weightBp }: OverviewRelease, { stableReleaseId }: OverviewEnvironment) => ({
  version,
  weight: weightBp / 100,
  fill: id === stableReleaseId ? 0 : 1,
});

const NextMove = ({ release, now }: { release: OverviewRelease; now: number }) => {
  const { paused, stepIndex, stepSince, state, deadlineAt } = release;
  if (paused && paused.until !== null)
    return (
      <>
        {" "}
        · goes on <Until at={paused.until} now={now} />
      </>
    );
  const step = stepIndex === null ? undefined : stepsOf(release)[stepIndex];
  const forMs = step?.kind === "weight" ? step.bakeMs : step?.forMs;
  if (state === "shifting" && stepSince !== null && forMs)
    return (
      <>
        {" "}
        · goes on <Until at={stepSince + forMs} now={now} />
      </>
    );
  if (deadlineAt === null) return null;
  return (
    <>
      {" "}
      · {paused && !awaited(release) ? "waits for a person, " : ""}gives up{" "}
      <Until at={deadlineAt} now={now} />
    </>
  );
};
