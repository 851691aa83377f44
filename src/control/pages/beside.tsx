import type { EnvironmentView } from "../../protocol/api/environments.ts";
import { iso } from "../iso.ts";
import type { LastRun } from "../store/processes/runs.ts";
import type { Place } from "./moves.tsx";
import { Ago, Name, State, Table, type Tone, toneOf, Until, words } from "./pieces.tsx";

interface BesideProps {
  readonly view: EnvironmentView;
  readonly lastRuns: readonly LastRun[];
  readonly place: Place;
  readonly now: number;
}
type ProcessView = EnvironmentView["processes"][number];

/** What runs beside the web: workers, schedules and how each last went, accessories. */
export const Beside = ({ view, lastRuns, place, now }: BesideProps) => {
  if (view.processes.length + view.accessories.length === 0) return null;
  return (
    <>
      <h2>Beside the web</h2>
      <Table label="Processes and accessories" stacks heads={["name", "kind", "state", "cause"]}>
        {view.processes.map((process) => {
          const last = lastRuns.find((run) => run.process === process.name);
          return (
            <tr>
              <th scope="row">{process.name}</th>
              <td>{process.kind}</td>
              <td>
                {process.kind === "worker" ? (
                  <Worker process={process} />
                ) : (
                  <Schedule process={process} last={last} now={now} />
                )}
              </td>
              <td>
                {process.cause && <Name>{process.cause}</Name>}
                {last && hasFailed(last) && <LastLines run={last} place={place} />}
              </td>
            </tr>
          );
        })}
        {view.accessories.map(({ name, state, cause }) => (
          <tr>
            <th scope="row">{name}</th>
            <td>accessory</td>
            <td>
              <State tone={toneOf(state)}>{words(state)}</State>
            </td>
            <td>{cause && <Name>{cause}</Name>}</td>
          </tr>
        ))}
      </Table>
    </>
  );
};

const Worker = ({ process: { cause, ready, replicas } }: { process: ProcessView }) => (
  <State tone={cause || (ready ?? 0) < (replicas ?? 0) ? "warn" : "ok"}>
    {ready} of {replicas} ready
  </State>
);

/** Of how it last went: a run that is asked for again by its next time is no longer news of the app's health. */
const hasFailed = ({ state }: LastRun): boolean => state === "failed" || state === "lost";

const Schedule = (props: { process: ProcessView; last: LastRun | undefined; now: number }) => {
  const { process, last, now } = props;
  const tone: Tone = last && hasFailed(last) ? "bad" : process.nextAt === null ? "warn" : "ok";
  return (
    <>
      <State tone={tone}>{last ? words(last.state) : "not run yet"}</State>
      {last?.endedAt && (
        <span class="soft">
          {" "}
          <Ago at={iso(last.endedAt)} now={now} />
        </span>
      )}
      <div class="soft">
        {process.nextAt === null ? (
          "no time set"
        ) : (
          <>
            next <Until at={Date.parse(process.nextAt)} now={now} />
          </>
        )}
      </div>
    </>
  );
};

const LastLines = ({ run: { process, cause }, place: { app, env } }: { run: LastRun; place: Place }) => (
  <>
    <Name>{cause ?? ""}</Name> <a href={`/ui/apps/${app}/${env}/runs?process=${process}`}>its runs</a>
  </>
);
