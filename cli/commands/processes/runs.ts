import { collect } from "../../../src/client/index.ts";
import type { RunView } from "../../../src/protocol/api/runs.ts";
import { EXIT } from "../../exit-codes.ts";
import { ago, at, inWords, table } from "../../io/print.ts";
import type { Outcome, Session } from "../../session.ts";
import { examples, parseCount, type Register } from "../../verb.ts";

interface RunsFlags {
  readonly limit: number;
  readonly process?: string;
}

export const runs: Register = (program, act) => {
  program
    .command("runs")
    .description("what ran to its end or is about to: schedules and commands, newest first")
    .option("--process <name>", "only of this process")
    .option("--limit <n>", "how many at most", parseCount(10_000), 20)
    .addHelpText("before", examples("sluice runs", "sluice runs --process nightly --json"))
    .action(act(list));
};

async function list(session: Session, { limit, process }: RunsFlags): Promise<Outcome> {
  const { app, environment } = session.target();
  const of = process === undefined ? {} : { process };
  const page = (query: { cursor?: string | undefined; limit?: number | undefined }) =>
    session.client.processes.runs(app, environment, { ...query, ...of });
  const items = await collect(page, limit);
  const rows = items.map((run) => row(run, session.now()));
  const heading = ["PROCESS", "STATE", "EXIT", "DUE", "BEGAN", "TOOK", "HOST", "VERSION", "ID", "CAUSE"];
  const text = items.length > 0 ? table([heading, ...rows]) : `nothing has run yet in ${app}/${environment}`;
  return { exit: EXIT.ok, json: { items }, text };
}

const row = (run: RunView, now: number) => [
  run.process ?? run.command.join(" ").slice(0, 40),
  inWords(run.state),
  run.exitCode === null ? "-" : String(run.exitCode),
  run.dueAt === null ? "-" : at(run.dueAt),
  run.startedAt === null ? "-" : ago(run.startedAt, now),
  run.startedAt === null || run.endedAt === null ? "-" : took(run.startedAt, run.endedAt),
  run.host ?? "-",
  run.version,
  run.id,
  run.cause ?? "",
];

const took = (from: string, to: string): string =>
  `${Math.round((Date.parse(to) - Date.parse(from)) / 1_000)} s`;
