import { spell } from "../../domain/times.ts";
import type { RunView } from "../../protocol/api/runs.ts";
import { authorize } from "../http/auth.ts";
import type { AppContext } from "../http/context.ts";
import { requireEnvironment } from "../http/require.ts";
import { listRuns } from "../store/processes/runs.ts";
import { runView } from "../views/run.ts";
import { page } from "./layout.tsx";
import type { Place } from "./moves.tsx";
import { Ago, Name, State, Table, type Tone, Up, words } from "./pieces.tsx";

const MOST = 50;

const TONES: Partial<Record<RunView["state"], Tone>> = {
  done: "ok",
  failed: "bad",
  lost: "bad",
  skipped: "warn",
  stopped: "idle",
  waiting: "idle",
};

/** What ran to its end, or is about to: schedules and people's commands. */
export async function runsPage(c: AppContext, { app, env }: Place): Promise<Response> {
  authorize(c, { role: "viewer", app, environment: env });
  const { environment } = await requireEnvironment(c, app, env);
  const process = c.req.query("process") ?? null;
  const rows = await listRuns(c.var.db, {
    environmentId: environment.id,
    process,
    before: null,
    limit: MOST,
  });
  const runs = rows.map(runView);
  const going = runs.filter(({ endedAt }) => endedAt === null).length;
  const says = going === 0 ? "Nothing runs now." : `${going} ${going === 1 ? "runs" : "run"} or wait now.`;
  const now = c.var.now();
  return page(c, {
    title: `Runs · ${app}`,
    section: "/",
    live: { feed: null, says },
    children: (
      <>
        <Up app={app} env={env} />
        <h1>Runs</h1>
        <p class="lead">
          {process === null ? "" : `Of ${process} only. `}
          {says} The newest {MOST}.
        </p>
        <Table
          label="Runs"
          stacks
          heads={["process", "state", "due", "took", "host", "version", "command and last lines"]}
          none={
            <>
              Nothing ran yet: schedules do by themselves, commands by{" "}
              <code>{`sluice run -a ${app} -e ${env}`}</code>.
            </>
          }
        >
          {runs.map((run) => (
            <Row run={run} now={now} />
          ))}
        </Table>
      </>
    ),
  });
}

const Row = ({ run, now }: { run: RunView; now: number }) => (
  <tr>
    <th scope="row">
      {run.process ?? "by hand"}
      {run.process === null && <div class="soft">{run.by}</div>}
    </th>
    <td>
      <State tone={TONES[run.state] ?? "moving"}>{words(run.state)}</State>
      {run.exitCode !== null && run.exitCode !== 0 && <div class="soft">exit code {run.exitCode}</div>}
    </td>
    <td class="when">
      <Ago at={run.dueAt ?? run.createdAt} now={now} />
      {run.missed > 0 && <div class="warn">{run.missed} missed before it</div>}
    </td>
    <td class="when" data-label="took">
      {took(run, now)}
    </td>
    <td>{run.host ?? ""}</td>
    <td>
      <a href={`/ui/releases/${run.release}`}>{run.version}</a>
    </td>
    <td class="whole-row">
      <code>{run.command.join(" ")}</code>
      {run.cause && (
        <div>
          <Name>{run.cause}</Name>
        </div>
      )}
      {run.logs.length > 0 && (
        <details id={`of-${run.id}`}>
          <summary>its last lines</summary>
          <pre tabindex={0} dir="auto">
            {run.logs.join("\n")}
          </pre>
        </details>
      )}
    </td>
  </tr>
);

function took({ startedAt, endedAt }: RunView, now: number): string {
  if (startedAt === null) return "";
  return spell((endedAt === null ? now : Date.parse(endedAt)) - Date.parse(startedAt));
}
