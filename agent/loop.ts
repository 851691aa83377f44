import type { HostFactsReport } from "../src/protocol/agent/host-facts.ts";
import { type Poll, pollAnswerSchema } from "../src/protocol/agent/poll.ts";
import { AGENT_PROTOCOL } from "../src/protocol/agent/wire.ts";
import { type Clock, jittered, outagePause } from "./clock.ts";
import type { Tunnel } from "./cloudflared/tunnel.ts";
import type { Answer, Control } from "./control/control.ts";
import type { Identity } from "./control/identity.ts";
import { renewToken } from "./control/rotate.ts";
import type { Facts } from "./host/facts.ts";
import type { Instances } from "./instances/instances.ts";
import type { Reports } from "./instances/reports.ts";
import type { Dispatch } from "./jobs/dispatch.ts";
import type { Log } from "./log.ts";
import type { LogStreams } from "./logs/streams.ts";
import type { Signal } from "./signal.ts";

/** While jobs run, and for a while after, the next job of the same release is near. */
const BUSY_MS = 1_000;
const BUSY_FOR_MS = 10_000;
/** The protocol's limit. */
const MOST_LISTED = 500;
/** Nothing but a person changes a refusal. */
const REFUSED_MS = 60_000;

export interface LoopOptions {
  version: string;
  /** Made anew each time the agent process starts. */
  boot: string;
  instances: Instances;
  reports: Reports;
  control: Control;
  identity: Identity;
  dispatch: Dispatch;
  streams: LogStreams;
  facts: Facts;
  tunnel: Tunnel;
  /** The wake-up socket; absent: none is tried for. */
  socket: { readonly isOpen: boolean } | undefined;
  clock: Clock;
  log: Log;
  wake: Signal;
  refusedMs: number | undefined;
}

/** Polls control until aborted. An error changes nothing here but the time of the next poll. */
export async function pollLoop(options: LoopOptions, signal: AbortSignal): Promise<void> {
  const { control, dispatch, streams, facts, tunnel, clock, log, wake } = options;
  let failures = 0;
  let busyUntil = 0;
  while (!signal.aborted) {
    const news = await facts.due();
    const answer = await control("/agent/v1/poll", pollOf(options, news), pollAnswerSchema);
    if (signal.aborted) return;
    if (!answer.ok) {
      if (failures === 0) logTrouble(log, answer);
      const tries = failures++;
      const isRefused = answer.kind === "refused" && answer.status === 401;
      // The other one at once, then back to this one and wait.
      if (isRefused && options.identity.useOther() && tries % 2 === 0) continue;
      await waitAfterTrouble(options, answer, tries, signal);
      continue;
    }
    if (failures > 0) log.info("control answers again", { afterFailures: failures });
    failures = 0;
    const { jobs, secrets, requests, now, tunnelRev, rotate } = answer.value;
    if (news) facts.told(news);
    tunnel.heard(tunnelRev);
    for (const job of jobs) {
      if (job.kind === "logs") streams.accept(job, now, requests?.[job.id]);
      else dispatch.accept(job, now, secrets?.[job.id]);
    }
    // A reader of logs is no sign of further jobs.
    if (jobs.some(({ kind }) => kind !== "logs") || dispatch.isBusy)
      busyUntil = clock.monotonic() + BUSY_FOR_MS;
    // At once again, so that the new token is in use, and the old one over, in the same moment.
    if (rotate && (await renewToken(options))) continue;
    const idleMs = answer.value.pollAfterMs;
    const isSoon = clock.monotonic() < busyUntil && BUSY_MS < idleMs;
    await wake.wait(signal, isSoon ? jittered(BUSY_MS) : later(idleMs));
  }
}

function pollOf(options: LoopOptions, facts: HostFactsReport | undefined): Poll {
  const { version, boot, instances, reports, dispatch, streams, clock, socket } = options;
  const listed = reports.instances;
  return {
    protocol: AGENT_PROTOCOL,
    agentVersion: version,
    clock: clock.now(),
    boot,
    takes: dispatch.takes,
    jobs: [...dispatch.jobs, ...streams.jobs],
    ...(socket && { connected: socket.isOpen }),
    ...(facts && { facts }),
    // Before the runtime has answered, what was last known is truer than "nothing runs", but it is no inventory.
    ...(instances.areKnown && listed.length <= MOST_LISTED && { seq: reports.seq }),
    instances: listed.slice(0, MOST_LISTED),
  };
}

/** "After", as control says, and spread out: a fleet must not come in one moment, nor cost more than it has to. */
const later = (ms: number, random: () => number = Math.random) => Math.round(ms * (1 + 0.2 * random()));

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
  if (trouble.kind === "unreachable") await wake.wait(signal, outagePause(failures));
  else await clock.sleep(jittered(refusedMs), signal);
}
