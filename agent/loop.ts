import { AGENT_PROTOCOL, type Poll, pollAnswerSchema } from "../src/protocol/agent.ts";
import { backOff, type Clock, jittered } from "./clock.ts";
import type { Answer, Control } from "./control.ts";
import type { Dispatch } from "./dispatch.ts";
import type { Journal } from "./journal.ts";
import type { Log } from "./log.ts";
import type { LogStreams } from "./log-streams.ts";
import type { Signal } from "./signal.ts";

/** While jobs run, and for a while after, the next job of the same release is near. */
const BUSY_MS = 1_000;
const BUSY_FOR_MS = 10_000;
const ERRORS = { first: 1_000, max: 30_000 };
/** Nothing but a person changes a refusal. */
const REFUSED_MS = 60_000;

export interface LoopOptions {
  version: string;
  /** Made anew each time the agent process starts. */
  boot: string;
  journal: Journal;
  control: Control;
  dispatch: Dispatch;
  streams: LogStreams;
  clock: Clock;
  log: Log;
  wake: Signal;
  refusedMs?: number;
}

/** Polls control until aborted. An error changes nothing here but the time of the next poll. */
export async function pollLoop(options: LoopOptions, signal: AbortSignal): Promise<void> {
  const { control, dispatch, streams, clock, log, wake } = options;
  let failures = 0;
  let busyUntil = 0;
  while (!signal.aborted) {
    const answer = await control("/agent/v1/poll", pollOf(options), pollAnswerSchema);
    if (signal.aborted) return;
    if (!answer.ok) {
      if (failures === 0) logTrouble(log, answer);
      await waitAfterTrouble(options, answer, failures++, signal);
      continue;
    }
    if (failures > 0) log.info("control answers again", { afterFailures: failures });
    failures = 0;
    const { jobs, now } = answer.value;
    for (const job of jobs) {
      if (job.kind === "logs") streams.accept(job, now);
      else dispatch.accept(job, now);
    }
    // A reader of logs is no sign of further jobs.
    if (jobs.some(({ kind }) => kind !== "logs") || dispatch.isBusy) busyUntil = clock.now() + BUSY_FOR_MS;
    const idleMs = answer.value.pollAfterMs;
    const waitMs = clock.now() < busyUntil ? Math.min(BUSY_MS, idleMs) : idleMs;
    await wake.wait(signal, jittered(waitMs));
  }
}

function pollOf({ version, boot, journal, dispatch, clock }: LoopOptions): Poll {
  return {
    protocol: AGENT_PROTOCOL,
    agentVersion: version,
    clock: clock.now(),
    boot,
    wantsJobs: dispatch.wantsJobs,
    // From the journal: before the runtime has answered, what was last known is truer than "nothing runs".
    instances: Object.entries(journal.state.instances)
      .filter(([, record]) => !record.stopping)
      .slice(0, 500)
      .map(([instance, record]) => ({ instance, state: record.state })),
  };
}

type Trouble = Extract<Answer<unknown>, { ok: false }>;

function logTrouble(log: Log, trouble: Trouble): void {
  if (trouble.kind === "unreachable") {
    log.warn("control does not answer; everything here runs on", { detail: trouble.detail });
  } else if (trouble.status === 401) {
    const next = "containers keep running; enrol this host again with `agent enroll --token …`";
    log.error("control refuses this host's token", { code: trouble.code, detail: trouble.detail, next });
  } else {
    log.error("control refuses the poll", { code: trouble.code, detail: trouble.detail });
  }
}

async function waitAfterTrouble(
  { clock, wake, refusedMs = REFUSED_MS }: LoopOptions,
  trouble: Trouble,
  failures: number,
  signal: AbortSignal,
) {
  // A wake-up means control is back: don't sit out the back-off. A refusal no wake-up changes.
  if (trouble.kind === "unreachable") await wake.wait(signal, jittered(backOff(failures, ERRORS)));
  else await clock.sleep(jittered(refusedMs), signal);
}
