import { moment } from "../../domain/times.ts";
import type { EnvironmentView } from "../../protocol/api/environments.ts";
import type { EventView } from "../../protocol/api/events.ts";
import type { ReleaseView } from "../../protocol/api/releases.ts";
import { authorize } from "../http/auth.ts";
import type { AppContext } from "../http/context.ts";
import { requireEnvironment, statusView } from "../routes/status.ts";
import { listEvents } from "../store/events.ts";
import { listReleases } from "../store/status.ts";
import { listVerdicts } from "../store/verdicts.ts";
import { verdictView } from "../views/release.ts";
import { eventView } from "../views/rows.ts";
import { Compared } from "./canary.tsx";
import { page } from "./layout.tsx";
import { MOVES, type MoveName, moveHref, type Place, whoMay } from "./moves.tsx";
import {
  Ago,
  goesOnAt,
  iconOf,
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
} from "./parts.tsx";

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
  const [events, releases, verdicts] = await Promise.all([
    listEvents(c.var.db, { before: null, limit: EVENTS, app, environment: env }),
    listReleases(c.var.db, { environmentId: status.environment.id, before: null, limit: RELEASES }),
    judged ? listVerdicts(c.var.db, { release: judged.id, before: null, limit: VERDICTS }) : [],
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
        <p class="soft">
          <a href={`/ui/apps/${app}/${env}/logs`}>Log</a> · <a href={`/ui/apps/${app}/${env}/runs`}>Runs</a>
          {view.active && (
            <>
              {" "}
              ·{" "}
              <a href={`/ui/apps/${app}/${env}/logs?release=${view.active.id}`}>
                Log of {view.active.version}
              </a>
            </>
          )}
        </p>
        <Split view={view} />
        {view.active && <Rollout release={view.active} now={now} />}
        {judged && <Compared release={judged} verdicts={verdicts.map(verdictView())} now={now} isNowOnly />}
        <Instances view={view} now={now} />
        <Beside view={view} />
        <h2>Releases</h2>
        <Releases rows={releases.map(({ release }) => release)} place={place} now={now} />
        <Events events={events.map(eventView).filter((event) => event !== undefined)} now={now} />
      </>
    ),
  });
}

/** One sentence and its colour. */
function summary(view: EnvironmentView): { tone: Tone; says: string } {
  const { active, live, mode, split, instances } = view;
  if (active?.approval?.waits)
    return { tone: "warn", says: `${active.version} waits for an approval (${active.approval.before})` };
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

/** When it goes on, in words; null: nothing is known of it. */
function goesOn(release: ReleaseView, now: number) {
  const at = goesOnAt(release);
  if (at !== null && at <= now) return <>its time is up: waits for the verdict</>;
  if (at !== null)
    return (
      <>
        goes on <Until at={at} now={now} />
      </>
    );
  if (release.paused) return <>waits for a person</>;
  if (release.deadlineAt === null) return null;
  return (
    <>
      gives up <Until at={Date.parse(release.deadlineAt)} now={now} />
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
function possible({ active, rollback, split }: EnvironmentView): MoveName[] {
  if (active?.approval?.waits) return ["approve", "reject"];
  if (active?.paused)
    return active.paused.by === "sluice" ? ["promote", "abort"] : ["promote", "resume", "abort"];
  if (active) return ["promote", "pause", "abort"];
  return [
    ...(rollback.possible ? (["rollback"] as const) : []),
    ...(split.length > 0 ? (["weight"] as const) : []),
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
  return (
    <>
      <h2>
        Steps of {release.version} <small>{release.strategy}</small>
      </h2>
      <ol class="steps">
        {plan.steps.map(({ label }, index) => (
          <li class={index < at ? "done" : ""} aria-current={index === at ? "step" : undefined}>
            <b>{label}</b>
            <small>{index < at ? "done" : index > at ? "to come" : (goesOn(release, now) ?? "now")}</small>
          </li>
        ))}
      </ol>
    </>
  );
};

const Instances = ({ view, now }: { view: EnvironmentView; now: number }) => (
  <>
    <h2>Instances</h2>
    <Table label="Instances" heads={["host", "slot", "version", "state", "since", "cause"]} none="None.">
      {view.instances.map((one) => (
        <tr>
          <th scope="row">{one.host}</th>
          <td class="num">{one.slot}</td>
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
          <td>
            <Name>{one.cause ?? ""}</Name>
          </td>
        </tr>
      ))}
    </Table>
  </>
);

/** What runs beside the web. */
const Beside = ({ view }: { view: EnvironmentView }) => {
  if (view.processes.length + view.accessories.length === 0) return null;
  return (
    <>
      <h2>Beside the web</h2>
      <Table label="Processes and accessories" heads={["name", "kind", "state", "cause"]}>
        {view.processes.map(({ name, kind, ready, replicas, nextAt, cause }) => (
          <tr>
            <th scope="row">{name}</th>
            <td>{kind}</td>
            <td>
              <State tone={cause || (ready ?? 0) < (replicas ?? 0) ? "warn" : "ok"}>
                {kind === "worker"
                  ? `${ready} of ${replicas} ready`
                  : nextAt
                    ? `next at ${moment(Date.parse(nextAt))}`
                    : "no time set"}
              </State>
            </td>
            <td>
              <Name>{cause ?? ""}</Name>
            </td>
          </tr>
        ))}
        {view.accessories.map(({ name, state, cause }) => (
          <tr>
            <th scope="row">{name}</th>
            <td>accessory</td>
            <td>
              <State tone={toneOf(state)}>{state}</State>
            </td>
            <td>
              <Name>{cause ?? ""}</Name>
            </td>
          </tr>
        ))}
      </Table>
    </>
  );
};

interface ReleaseLine {
  readonly id: string;
  readonly version: string;
  readonly state: string;
  readonly kind: string;
  readonly by: string;
  readonly createdAt: number;
}

const Releases = ({ rows, place, now }: { rows: readonly ReleaseLine[]; place: Place; now: number }) => (
  <Table label="Releases" heads={["version", "state", "made by", "made", "compared"]} none="None yet.">
    {rows.map((row, index) => {
      const before = rows[index + 1];
      return (
        <tr>
          <th scope="row">
            <a href={`/ui/releases/${row.id}`}>{row.version}</a>
          </th>
          <td>
            <State tone={toneOf(row.state)}>{words(row.state)}</State>
          </td>
          <td>
            {row.by}
            {row.kind === "deploy" ? "" : ` (${row.kind})`}
          </td>
          <td class="when">
            <Ago at={new Date(row.createdAt).toISOString()} now={now} />
          </td>
          <td>
            {before && (
              <a href={`/ui/apps/${place.app}/${place.env}/compare?a=${before.id}&b=${row.id}`}>
                against {before.version}
              </a>
            )}
          </td>
        </tr>
      );
    })}
  </Table>
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
