import type { JobResult } from "../../src/protocol/agent/job-results.ts";
import type { RunRecord } from "../journal.ts";
import { done, failed, type Outcome } from "../outcome.ts";
import { describeExit, type Exit, runTitle, type Stopped } from "../runtime/runtime.ts";

/** What shells and inits exit with when there is nothing to run, or it may not be run. */
const NOT_FOUND = 127;
const NOT_EXECUTABLE = 126;

/** What a hook's end means. */
export function endOf(
  record: RunRecord,
  exit: Exit,
  { logs, why }: { logs: string[]; why: string | undefined },
): Outcome<JobResult> {
  if (record.stopAskedAt !== undefined) return ended(record, exit, logs);
  const isUnknown = exit.exitCode === undefined && exit.signal === undefined;
  if (isUnknown) return interrupted(record, exit, logs);
  if (exit.exitCode === 0) return done({ logs });
  const cause = why ? `: ${why}` : hint(record, exit);
  return failed(codeOf(record), `${named(record)} ${describeExit(exit)}${cause}`, {
    ...(exit.exitCode !== undefined && { exitCode: exit.exitCode }),
    ...(exit.signal && { signal: exit.signal }),
    logs,
  });
}

/** A hook that had not ended when its time was over. */
export function hungOf(
  record: RunRecord,
  { stopped, afterMs, logs }: { stopped: Outcome<Stopped>; afterMs: number; logs: string[] },
): Outcome<never> {
  const said = `${named(record)} hung: it had not ended after ${Math.round(afterMs / 1000)} s`;
  if (!stopped.ok) {
    const next = "look for it on the host, it may still be at work";
    return failed(codeOf(record), `${said}, and could not be ended (${stopped.error.message}): ${next}`, {
      logs,
    });
  }
  const how = stopped.value.killed ? "it ignored SIGTERM and was killed" : "it was ended by SIGTERM";
  return failed(codeOf(record), `${said}; ${how}. Part of its work may be done`, {
    signal: stopped.value.killed ? "SIGKILL" : "SIGTERM",
    logs,
  });
}

/** Control asked for its end. */
const ended = (record: RunRecord, exit: Exit, logs: string[]): Outcome<never> =>
  failed(codeOf(record), `${named(record)} was ended as asked`, {
    ...(exit.exitCode !== undefined && { exitCode: exit.exitCode }),
    ...(exit.signal && { signal: exit.signal }),
    logs,
  });

const codeOf = ({ hook }: RunRecord) => (hook ? "hook_failed" : "command_failed");

function interrupted(record: RunRecord, exit: Exit, logs: string[]): Outcome<never> {
  if (!record.hook) {
    const message = `${named(record)} was begun, but how it ended is not known: the agent was killed meanwhile. It is not run again`;
    return failed("command_interrupted", message, { logs });
  }
  if (exit.unstarted) {
    const message = `${named(record)} was prepared, but the agent was killed before it began. Nothing of it ran: deploy again`;
    return failed("hook_interrupted", message, { logs });
  }
  const how = exit.gone
    ? "nothing is left of it on the host"
    : "it ended while no agent was there to see how";
  return failed(
    "hook_interrupted",
    `${named(record)} was begun, but how it ended is not known: the agent was killed meanwhile, and ${how}. It is not run again. Look at what it changes (the database's table of migrations, say) and put right what is half done, then deploy again: a new release runs its own hook`,
    { logs },
  );
}

const named = (record: RunRecord): string =>
  `${runTitle(record)} (${record.command.join(" ").slice(0, 200)}) of ${record.app} ${record.version}`;

function hint({ command }: RunRecord, { exitCode }: Exit): string {
  if (exitCode === NOT_FOUND) return `: ${command[0]} was not found in its image`;
  if (exitCode === NOT_EXECUTABLE) return `: ${command[0]} can't be executed in its image`;
  return "";
}
