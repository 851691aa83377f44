import { eq } from "drizzle-orm";
import { waitWords } from "../../domain/approval/gate.ts";
import type { EnvironmentView } from "../../protocol/api/environments.ts";
import type { EventView } from "../../protocol/api/events.ts";
import type { ReleaseView } from "../../protocol/api/releases.ts";
import { authorize } from "../http/auth.ts";
import type { AppContext } from "../http/context.ts";
import { requireEnvironment, statusView } from "../http/require.ts";
import { iso } from "../iso.ts";
import { listEvents } from "../store/events.ts";
import { selectLastRuns } from "../store/processes/runs.ts";
import { environments } from "../store/schema/environments.ts";
import { listReleases, type ReleaseRow } from "../store/status.ts";
import { listVerdicts } from "../store/verdicts.ts";
import { verdictView } from "../views/release.ts";
import { eventView } from "../views/rows.ts";
import { Beside } from "./beside.tsx";
import { briefly, Compared } from "./canary.tsx";
import { page } from "./layout.tsx";
import { couldServe, MOVES, type MoveName, moveHref, type Place, whoMay } from "./moves.tsx";
import {
  Ago,
  goesOnAt,
  iconOf,
  isNewlyFailed,
  markOf,
  Name,
  percent,
  SplitBar,
  State,
  Table,
  type Tone,
  toneOf,
  Until,
  words,
} from "./pieces.tsx";
import { Releases } from "./releases.tsx";

const EVENTS = 25;
const RELEASES = 10;
/** Of an hour, one each 30 s or so: as many as a curve of this size can show. */
const VERDICTS = 120;

/** One environment: what serves, what moves and when it goes on, and what can be done about it. */
export async function environmentPage(c: AppContext, place: Place): Promise<Response> {
  const { app, env } = place;
  authorize(c, { role: "viewer", app, environment: env });
  const status = await requireEnvironment(c, app, env);
  const now = c.var.now();
  const view = await statusView(c, status);
  const judged = view.active ?? view.live;
  const [events, releases, verdicts, lastRuns] = await Promise.all([
    listEvents(c.var.db, { before: null, limit: EVENTS, app, environment: env }),
    listReleases(c.var.db, { environmentId: status.environment.id, before: null, limit: RELEASES }),
    judged ? listVerdicts(c.var.db, { release: judged.id, before: null, limit: VERDICTS }) : [],
    view.processes.some(({ kind }) => kind === "scheduled")
      ? selectLastRuns(c.var.db, eq(environments.id, status.environment.id))
      : [],
  ]);
  const { tone, says } = summary(view);
  const next = view.active && goesOn(view.active, now);
  const share = view.active?.weight ?? view.split[0]?.weight ?? 0;
  return page(c, {
    title: `${percent(share)} ${markOf(tone)} ${app}`,
    icon: iconOf(tone, share),
    section: "/",
    live: { feed: view.active?.id ?? null, says },
    children: (
      <>
        <div class="head">
          <div>
            <h1>
              {app} / {env}
            </h1>
            <p>
              <State tone={tone}>{says}</State>
              {next && <span class="soft"> · {next}</span>}
            </p>
          </div>
          <Moves c={c} place={place} view={view} />
        </div>
        <Ways place={place} active={view.active} />
        <Failed newest={releases[0]?.release} now={now} />
        <Split view={view} />
        {view.active && <Rollout release={view.active} now={now} />}
        {judged && <Compared release={judged} verdicts={verdicts.map(verdictView())} now={now} isNowOnly />}
        <Instances view={view} now={now} />
        <Beside view={view} lastRuns={lastRuns} place={place} now={now} />
        <h2>Releases</h2>
        <Releases rows={releases.map(({ release }) => release)} place={place} now={now} />
        {releases.length === RELEASES && (
          <p>
            <a href={`/ui/apps/${app}/${env}/releases`}>All releases</a>
          </p>
        )}
        <Events events={events.map(eventView).filter((event) => event !== undefined)} now={now} />
      </>
    ),
  });
}

/** To its logs and runs. */
const Ways = ({ place: { app, env }, active }: { place: Place; active: EnvironmentView["active"] }) => (
  <p class="soft">
    <a href={`/ui/apps/${app}/${env}/logs`}>Log</a> · <a href={`/ui/apps/${app}/${env}/runs`}>Runs</a>
    {active && (
      <>
        {" "}
        · <a href={`/ui/apps/${app}/${env}/logs?release=${active.id}`}>Log of {active.version}</a>
      </>
    )}
  </p>
);

/** One sentence and its colour. */
function summary(view: EnvironmentView): { tone: Tone; says: string } {
  const { active, live, mode, split, instances } = view;
  if (active?.approval?.waits)
    return {
      tone: "warn",
      says: `${active.version} ${waitWords({ ...active.approval, gate: active.approval.before })}`,
    };
  if (active?.paused) return { tone: "warn", says: `${active.version} is paused: ${active.paused.reason}` };
  if (active) return { tone: toneOf(active.state), says: `${active.version} is ${words(active.state)}` };
  if (mode !== "open") return { tone: "warn", says: mode === "paused" ? "requests are held" : "maintenance" };
  if (split.length === 0) return { tone: "idle", says: "nothing serves here yet" };
  const serving = instances.filter(({ release }) => split.some((one) => one.release === release));
  const unready = serving.filter(({ ready }) => !ready).length;
  if (unready > 0)
    return { tone: "warn", says: `${serving.length - unready} of ${serving.length} instances are ready` };
  return { tone: "ok", says: `${live?.version ?? split[0]?.version} is live` };
}

/** What came last did not stay: said beside what serves instead, until it is old news. */
const Failed = ({ newest, now }: { newest: ReleaseRow | undefined; now: number }) => {
  if (!newest || !isNewlyFailed(newest, now)) return null;
  return (
    <p class="verdict">
      <a href={`/ui/releases/${newest.id}`}>{newest.version}</a>{" "}
      <State tone="bad">{words(newest.state)}</State> ·{" "}
      <Name>{briefly(newest.failure?.message ?? "no cause is known")}</Name>{" "}
      <span class="soft">
        <Ago at={iso(newest.endedAt ?? now)} now={now} />
      </span>
    </p>
  );
};

/** When it goes on, in words; null: nothing is known of it. */
function goesOn(release: ReleaseView, now: number) {
  if (release.endedAt !== null || release.state === "rolling_back") return <>ended here</>;
  const at = goesOnAt(release);
  if (at !== null && at <= now) return <>its time is up: waits for the verdict</>;
  if (at !== null)
    return (
      <>
        goes on <Until at={at} now={now} />
      </>
    );
  if (release.deadlineAt === null) return release.paused ? <>waits for a person</> : null;
  return (
    <>
      {release.paused && !release.approval?.waits ? "waits for a person, " : ""}gives up{" "}
      <Until at={Date.parse(release.deadlineAt)} now={now} />
    </>
  );
}

const Moves = ({ c, place, view }: { c: AppContext; place: Place; view: EnvironmentView }) => (
  <ul class="moves" aria-label="What you can do">
    {possible(view).map((move) => {
      const lack = whoMay(c, place, move);
      const { name, tone } = MOVES[move];
      return (
        <li>
          {lack === null ? (
            <a class={`btn ${tone}`} id={`move-${move}`} href={moveHref(place, move)}>
              {name}
            </a>
          ) : (
            <a
              class="btn"
              id={`move-${move}`}
              href={moveHref(place, move)}
              aria-disabled="true"
              title={`${name} ${lack}`}
            >
              {name}
              <span class="sr"> {lack}</span>
            </a>
          )}
        </li>
      );
    })}
  </ul>
);

/** Those that make sense now; the page behind each says why one would be refused. */
function possible(view: EnvironmentView): MoveName[] {
  const { active, rollback } = view;
  if (active?.approval?.waits) return ["approve", "reject"];
  if (active?.paused)
    return active.paused.by === "sluice" ? ["promote", "abort"] : ["promote", "resume", "abort"];
  if (active) return ["promote", "pause", "abort"];
  return [
    ...(rollback.possible ? (["rollback"] as const) : []),
    ...(couldServe(view).length > 1 ? (["weight"] as const) : []),
  ];
}

const Split = ({ view }: { view: EnvironmentView }) => {
  const shares = view.split.map((one) => ({ ...one, fill: one.release === view.active?.id ? 1 : 0 }));
  if (shares.length === 0) return null;
  return (
    <section aria-label="Split">
      <SplitBar big shares={shares} />
      <ul class="legend">
        {shares.map(({ release, version, weight, ready, instances, fill }) => (
          <li>
            <span class={`key k${fill}`} />
            <a href={`/ui/releases/${release}`}>{version}</a> <b>{percent(weight)}</b>{" "}
            <span class="soft">
              {ready}/{instances} ready
            </span>
          </li>
        ))}
      </ul>
    </section>
  );
};

/** A release's steps, the current one with its countdown. */
export const Rollout = ({ release, now }: { release: ReleaseView; now: number }) => {
  const { step, plan } = release;
  if (plan.steps.length === 0) return null;
  const at = step?.index ?? (release.servingAt === null ? -1 : plan.steps.length);
  const afterwards = release.endedAt === null ? "to come" : "not reached";
  return (
    <>
      <h2>
        Steps of {release.version} <small>{release.strategy}</small>
      </h2>
      <ol class="steps">
        {plan.steps.map(({ label }, index) => (
          <li class={index < at ? "done" : ""} aria-current={index === at ? "step" : undefined}>
            <b>{label}</b>
            <small>{index < at ? "done" : index > at ? afterwards : (goesOn(release, now) ?? "now")}</small>
          </li>
        ))}
      </ol>
    </>
  );
};

const INSTANCE_HEADS = ["host", "slot", "version", "state", "since", "cause"] as const;

const Instances = ({ view, now }: { view: EnvironmentView; now: number }) => (
  <>
    <h2>Instances</h2>
    <Table label="Instances" stacks heads={INSTANCE_HEADS} nums={["slot"]} none="None.">
      {view.instances.map((one) => (
        <tr>
          <th scope="row">{one.host}</th>
          <td class="num" data-label="slot">
            {one.slot}
          </td>
          <td>{one.version}</td>
          <td>
            <State tone={one.ready || toneOf(one.state) === "idle" ? toneOf(one.state) : "warn"}>
              {words(one.state)}
              {one.ready ? "" : ", not ready"}
            </State>
          </td>
          <td class="when">
            <Ago at={one.since} now={now} />
          </td>
          <td>{one.cause && <Name>{one.cause}</Name>}</td>
        </tr>
      ))}
    </Table>
  </>
);

const Events = ({ events, now }: { events: readonly EventView[]; now: number }) => (
  <>
    <h2>Timeline</h2>
    <Table label="Timeline" stacks heads={["when", "who", "what"]} none="Nothing has happened yet.">
      {events.map(({ at, actor, message }) => (
        <tr>
          <td class="when">
            <Ago at={at} now={now} />
          </td>
          <td class="when">{actor}</td>
          <td>
            <Name>{message}</Name>
          </td>
        </tr>
      ))}
    </Table>
  </>
);
