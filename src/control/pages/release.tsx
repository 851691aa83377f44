import { isAtRest } from "../../domain/rollout/release.ts";
import { spell } from "../../domain/times.ts";
import type { ReleaseView } from "../../protocol/api/releases.ts";
import { authorize } from "../http/auth.ts";
import type { AppContext } from "../http/context.ts";
import { releaseStatusView, requireRelease } from "../http/require.ts";
import { type EventRow, readFeed } from "../store/events.ts";
import { listReleases } from "../store/status.ts";
import { listVerdicts } from "../store/verdicts.ts";
import { verdictView } from "../views/release.ts";
import { eventView } from "../views/rows.ts";
import { briefly, Compared } from "./canary.tsx";
import { Changes, changesOf } from "./compare.tsx";
import { Rollout } from "./environment.tsx";
import { page } from "./layout.tsx";
import { Ago, count, iconOf, markOf, Name, percent, State, Table, toneOf, words } from "./pieces.tsx";

/** One release: how it went, by which numbers, and what it changed. */
export async function releasePage(c: AppContext, id: string): Promise<Response> {
  const status = await requireRelease(c, id);
  const { app, environment, release: row } = status;
  authorize(c, { role: "viewer", app, environment: environment.name });
  const now = c.var.now();
  const [release, verdicts, feed, [before]] = await Promise.all([
    releaseStatusView(c, status),
    listVerdicts(c.var.db, { release: id, before: null, limit: 120 }),
    readFeed(c.var.db, id, 0),
    listReleases(c.var.db, {
      environmentId: environment.id,
      before: { createdAt: row.createdAt, id },
      limit: 1,
    }),
  ]);
  const tone = toneOf(release.state);
  const says = `${release.version} is ${words(release.state)}`;
  return page(c, {
    title: `${percent(release.weight)} ${markOf(tone)} ${release.version} · ${app}`,
    icon: iconOf(tone, release.weight),
    section: "/",
    live: { feed: isAtRest(row.state) ? null : id, says },
    children: (
      <>
        <p>
          <a href={`/ui/apps/${app}/${environment.name}`}>
            {app} / {environment.name}
          </a>
        </p>
        <h1>{release.version}</h1>
        <p>
          <State tone={tone}>{words(release.state)}</State>{" "}
          <span class="soft">
            {percent(release.weight)} · made by {release.by} <Ago at={release.createdAt} now={now} />
          </span>
        </p>
        <Failure failure={release.failure} />
        <FailedRequest request={release.failedRequest} />
        <div class="grid">
          <Facts release={release} />
          <Timings timings={release.timings} />
        </div>
        <Rollout release={release} now={now} />
        <Compared release={release} verdicts={verdicts.map(verdictView(release.failedRequest))} now={now} />
        {before && (
          <>
            <h2>
              What it changed <small>against {before.release.version}</small>
            </h2>
            <Changes changes={changesOf(before.release, row)} />
          </>
        )}
        <h2>Events</h2>
        <Events events={feed.events} now={now} />
      </>
    ),
  });
}

const Events = ({ events, now }: { events: readonly EventRow[]; now: number }) => (
  <Table label="Events" stacks heads={["when", "what"]} none="None.">
    {events
      .map(eventView)
      .filter((event) => event !== undefined)
      .map(({ at, message }) => (
        <tr>
          <td class="when">
            <Ago at={at} now={now} />
          </td>
          <td>
            <Name>{message}</Name>
          </td>
        </tr>
      ))}
  </Table>
);

const Failure = ({ failure }: { failure: ReleaseView["failure"] }) =>
  failure && (
    <section class="card" aria-label="Why it failed">
      <p class="bad">
        <b>
          <Name>{briefly(failure.message)}</Name>
        </b>
      </p>
      {failure.logs.length > 0 && (
        <pre tabindex={0} dir="auto">
          {failure.logs.join("\n")}
        </pre>
      )}
    </section>
  );

/** What the app wrote of a request that failed on the route which the verdict names. */
const FailedRequest = ({ request }: { request: ReleaseView["failedRequest"] }) =>
  request && (
    <section class="card" aria-label="A request that failed">
      <p>
        <b>
          <Name>{request.route}</Name>
        </b>{" "}
        failed{request.host ? ` on ${request.host}` : ""} as request <code>{request.id}</code>
        {request.note && `: ${request.note}`}
      </p>
      {request.lines.length > 0 && (
        <pre tabindex={0} dir="auto">
          {request.lines.join("\n")}
        </pre>
      )}
    </section>
  );

const Facts = ({ release }: { release: ReleaseView }) => (
  <section class="card" aria-label="Facts">
    <dl class="facts">
      <dt>Image</dt>
      <dd>
        <code>{release.image}</code>
      </dd>
      {release.digest && (
        <>
          <dt>Digest</dt>
          <dd>
            <code>{release.digest}</code>
          </dd>
        </>
      )}
      {release.git && (
        <>
          <dt>Commit</dt>
          <dd>
            <code>{release.git.sha}</code> <Name>{release.git.branch ?? ""}</Name>
            {release.git.run && (
              <>
                {" "}
                <a href={release.git.run}>CI run</a>
              </>
            )}
          </dd>
        </>
      )}
      <dt>Strategy</dt>
      <dd>{release.strategy}</dd>
      <dt>Visitors meanwhile</dt>
      <dd>
        {count(release.traffic.failed)} failed of {count(release.traffic.requests)}
      </dd>
      <dt>Rollback</dt>
      <dd>{release.plan.rollback}</dd>
    </dl>
  </section>
);

const Timings = ({ timings }: { timings: ReleaseView["timings"] }) => (
  <section class="card" aria-label="Timings">
    <dl class="facts">
      {Object.entries(timings).map(([state, ms]) => (
        <>
          <dt>{words(state)}</dt>
          <dd>{spell(ms)}</dd>
        </>
      ))}
    </dl>
    {Object.keys(timings).length === 0 && <p class="soft">It has not begun.</p>}
  </section>
);
