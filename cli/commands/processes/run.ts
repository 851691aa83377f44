import { Option } from "commander";
import type { Client } from "../../../src/client/index.ts";
import type { RunView } from "../../../src/protocol/api/runs.ts";
import { clean } from "../../io/print.ts";
import type { Outcome, Session, Target } from "../../session.ts";
import { examples, parseDuration, type Register } from "../../verb.ts";

const LOOK_MS = 500;

interface RunFlags {
  readonly deadline: number;
}

export const run: Register = (program, act) => {
  program
    .command("run")
    .argument("<command...>", "after --, with its arguments")
    .description("run a command once in the live image; its output and exit code are this one's")
    .addOption(
      new Option("--deadline <duration>", "it is ended after so long")
        .argParser(parseDuration)
        .default(3_600_000, "1h"),
    )
    .addHelpText(
      "before",
      examples("sluice run -- npm run report", "sluice run -e staging --deadline 10m -- ./manage.py check"),
    )
    .action(act(command));
};

async function command(session: Session, words: string[], { deadline }: RunFlags): Promise<Outcome> {
  const target = session.target();
  // Ctrl-C ends the command, and what it still prints is read: this client goes on.
  const client = session.patientClient();
  const body = { command: words, deadlineSeconds: Math.max(10, Math.round(deadline / 1_000)) };
  const begun = await client.processes.begin(target.app, target.environment, body);
  const stop = () => {
    session.out.say("ending it; once more to leave it be");
    client.processes
      .stop(target.app, target.environment, begun.id)
      .catch((error: unknown) => session.out.say(`it could not be ended: ${String(error)}`));
  };
  session.signal.addEventListener("abort", stop, { once: true });
  const ended = await follow(session, { client, target, begun });
  session.signal.removeEventListener("abort", stop);
  if (ended.cause !== null && ended.state !== "done") session.out.say(clean(ended.cause));
  return { exit: exitOf(ended), json: { command: "run", run: ended } };
}

/** As shells have it: 130 for what Ctrl-C ended, and a signal's death is not a success. */
function exitOf({ state, exitCode }: RunView): number {
  if (state === "done") return 0;
  if (state === "stopped") return 130;
  return exitCode || 1;
}

interface Followed {
  readonly client: Client;
  readonly target: Target;
  readonly begun: RunView;
}

/** Prints what it prints, until it has ended and all of it was read. */
async function follow(session: Session, { client, target, begun }: Followed): Promise<RunView> {
  const { app, environment } = target;
  const look = () => client.processes.run(app, environment, begun.id);
  let now = begun;
  let printed = 0;
  const seen = new AbortController();
  let reading: Promise<void> | undefined;
  const read = async () => {
    const options = { run: begun.id, follow: true, tail: MOST_LINES, signal: seen.signal };
    for await (const item of client.environments.logs(app, environment, options)) {
      if (item.kind === "gap") session.out.say(clean(item.gap.message));
      if (item.kind !== "line") continue;
      printed += 1;
      print(session, item.line);
    }
  };
  while (now.endedAt === null) {
    if (now.state === "running") {
      // What it could not read is read in the end.
      reading ??= read().catch(() => {});
    }
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    now = await look();
  }
  seen.abort();
  await reading;
  // Its host keeps what it wrote for a while: whatever was not read by then is.
  if (now.startedAt !== null || now.state === "done" || now.state === "failed")
    await readRest(session, { client, target, begun }, { printed });
  return now;
}

const MOST_LINES = 10_000;

async function readRest(
  session: Session,
  { client, target, begun }: Followed,
  { printed }: { printed: number },
): Promise<void> {
  let skip = printed;
  const options = { run: begun.id, follow: false, tail: MOST_LINES };
  try {
    for await (const item of client.environments.logs(target.app, target.environment, options))
      if (item.kind === "line" && skip-- <= 0) print(session, item.line);
  } catch (error) {
    session.out.say(`the rest of what it printed can't be read: ${String(error)}`);
  }
}

function print(
  { out }: Session,
  line: { readonly stream: "stdout" | "stderr"; readonly text: string },
): void {
  if (out.mode === "stream") return out.line({ type: "line", ...line });
  if (out.mode === "object") return;
  if (line.stream === "stderr") out.say(out.stdoutIsTty ? clean(line.text) : line.text);
  else out.print(out.stdoutIsTty ? clean(line.text) : line.text);
}
