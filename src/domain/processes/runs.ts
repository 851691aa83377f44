import { isOnline } from "../host-online.ts";
import { failureOf } from "../rollout/causes.ts";
import type { Draft } from "../rollout/draft.ts";
import type { JobFacts } from "../rollout/facts.ts";
import { onlineHosts } from "../rollout/placing/placement.ts";
import type { ReleaseFacts } from "../rollout/release.ts";
import { orderStop } from "../rollout/retire.ts";
import { orderCommand } from "./command-order.ts";
import { type ScheduledSpec, WEB } from "./process.ts";
import type { RunFacts, ScheduleMark } from "./run.ts";
import { nextTime, scheduleText } from "./schedule.ts";

/**
 * Scheduled processes and people's commands. A time of a schedule is taken in the same write that moves its mark to the next
 * one, and a run is given to a host that may not have taken it only after the first can't take it any more: whatever dies in
 * between, a time is run once, or said to be lost.
 */

/** For an agent's own word that the deadline has passed. After it nobody runs it any more. */
const LOST_AGENT_MS = 30_000;
/** How often a host is looked for that there is none of. */
const LOOK_MS = 15_000;
const STOP_GRACE_MS = 10_000;
/** Of times that passed unseen: more are not counted. */
const MOST_MISSED = 1_000;

export function tendRuns(draft: Draft): void {
  const { ending } = draft.facts;
  for (const run of draft.runs())
    if (ending && run.stopBy === null) draft.changeRun(run, { stopBy: ending.by });
  for (const run of draft.runs()) follow(draft, run);
  const owner = draft.facts.ending ? undefined : draft.stable();
  if (owner) takeTimes(draft, owner);
}

// --- times ------------------------------------------------------------------------------------------------------------

function takeTimes(draft: Draft, owner: ReleaseFacts): void {
  const marks = draft.facts.schedules ?? {};
  const wanted = Object.entries(owner.spec.processes ?? {}).flatMap(([name, process]) =>
    process.kind === "scheduled" ? [[name, process] as const] : [],
  );
  const next = Object.fromEntries(
    wanted.map(([name, process]) => [name, takeTime(draft, owner, { name, process, mark: marks[name] })]),
  );
  for (const { dueAt } of Object.values(next)) draft.wakeAt(dueAt);
  if (JSON.stringify(next) !== JSON.stringify(marks)) draft.changeEnvironment({ schedules: next });
}

interface Timed {
  readonly name: string;
  readonly process: ScheduledSpec;
  readonly mark: ScheduleMark | undefined;
}

/** Runs what is due, and answers when it comes next. Of times that passed while nobody looked the last one is run, late. */
function takeTime(draft: Draft, owner: ReleaseFacts, { name, process, mark }: Timed): ScheduleMark {
  const schedule = scheduleText(process.schedule);
  if (mark?.schedule !== schedule) return { schedule, dueAt: nextTime(process.schedule, draft.now) };
  if (mark.dueAt === null || mark.dueAt > draft.now) return mark;
  let due = mark.dueAt;
  let missed = 0;
  let next = nextTime(process.schedule, due);
  while (next !== null && next <= draft.now && missed < MOST_MISSED) {
    due = next;
    missed += 1;
    next = nextTime(process.schedule, due);
  }
  fire(draft, owner, { name, process, due, missed });
  return {
    schedule,
    dueAt: next !== null && next <= draft.now ? nextTime(process.schedule, draft.now) : next,
  };
}

interface Due {
  readonly name: string;
  readonly process: ScheduledSpec;
  readonly due: number;
  readonly missed: number;
}

function fire(draft: Draft, owner: ReleaseFacts, { name, process, due, missed }: Due): void {
  const open = draft.runs().filter((run) => run.process === name && run.endedAt === null);
  const [going] = open;
  const cause = skipped(going, open, process);
  const run: RunFacts = {
    id: `${draft.facts.id.replace(/^env_/, "")}-${name}-${due.toString(36)}`,
    releaseId: owner.id,
    process: name,
    command: process.command,
    by: "schedule",
    dueAt: due,
    missed,
    state: cause ? "skipped" : "waiting",
    cause: cause ?? null,
    ...{ exitCode: null, logs: [], hostId: null, jobId: null, attempts: 0, stopBy: null, startedAt: null },
    deadlineMs: process.deadlineMs,
    createdAt: draft.now,
    endedAt: cause ? draft.now : null,
  };
  draft.addRun(run);
  const late = missed > 0 ? ` (${missed} earlier ${missed === 1 ? "time" : "times"} passed unseen)` : "";
  tell(draft, run, `${name}: ${cause ? `skipped, ${cause}` : "its time has come"}${late}`);
}

function skipped(
  going: RunFacts | undefined,
  open: readonly RunFacts[],
  { overlap }: ScheduledSpec,
): string | undefined {
  if (!going) return undefined;
  if (overlap === "skip") return "the run before it still goes on";
  return open.length > 1 ? "the run before it still goes on, and one waits already" : undefined;
}

// --- runs -------------------------------------------------------------------------------------------------------------

function follow(draft: Draft, run: RunFacts): void {
  if (run.endedAt !== null) return;
  if (run.state === "waiting") return begin(draft, run);
  const job = draft.facts.jobs.find(({ id }) => id === run.jobId);
  if (!job) return end(draft, run, "lost", "nothing is known of it any more");
  if (job.state === "done") return end(draft, run, "done", null, job);
  if (job.state === "failed") return failed(draft, run, job);
  if (job.state === "cancelled") return again(draft, run);
  if (job.state === "leased" && run.state === "queued") {
    draft.changeRun(run, { state: "running", startedAt: draft.now });
    tell(draft, { ...run, state: "running" }, `${nameOf(run)} runs on ${hostOf(draft, job.hostId)}`);
  }
  endLate(draft, run, job);
}

/** A queued one goes to another host when its own is silent; one that is begun is waited for until nobody can be at it. */
function endLate(draft: Draft, run: RunFacts, job: JobFacts): void {
  const over = job.deadlineAt + LOST_AGENT_MS;
  draft.wakeAt(Math.max(draft.now + 1, over));
  if (over <= draft.now) {
    draft.cancel([job]);
    return end(draft, run, "lost", `${hostOf(draft, job.hostId)} never said how it ended`);
  }
  const isThere = draft.facts.hosts.some((host) => host.id === job.hostId && isOnline(host, draft.now));
  if (job.state === "queued" && (!isThere || run.stopBy !== null)) draft.withdraw(job);
  else if (job.state === "queued") draft.wakeAt(draft.now + LOOK_MS);
  else if (run.stopBy !== null && run.state !== "stopping") askToStop(draft, run, job);
}

function askToStop(draft: Draft, run: RunFacts, { hostId, releaseId }: JobFacts): void {
  draft.changeRun(run, { state: "stopping" });
  orderStop(draft, { id: run.id, hostId, releaseId }, STOP_GRACE_MS);
}

/** Its host could not take it, or was removed before it did: nobody began it, so it may go to another. */
function again(draft: Draft, run: RunFacts): void {
  if (run.stopBy !== null) return end(draft, run, "stopped", `ended by ${run.stopBy} before it began`);
  draft.changeRun(run, { state: "waiting", jobId: null, hostId: null });
}

function failed(draft: Draft, run: RunFacts, job: JobFacts): void {
  if (run.stopBy !== null) return end(draft, run, "stopped", `ended by ${run.stopBy}`, job);
  end(draft, run, "failed", failureOf(draft, job).message, job);
}

function begin(draft: Draft, run: RunFacts): void {
  if (run.stopBy !== null) return end(draft, run, "stopped", `ended by ${run.stopBy} before it began`);
  const before = draft
    .runs()
    .find((other) => isBefore(other, run) && other.endedAt === null && run.process !== null);
  if (before) return;
  const release =
    run.process === null ? draft.release(run.releaseId) : (draft.stable() ?? draft.release(run.releaseId));
  const since = run.dueAt ?? run.createdAt;
  const giveUpAt = Math.max(since, run.createdAt) + run.deadlineMs;
  if (!release) return end(draft, run, "lost", "its release is gone");
  if (draft.now >= giveUpAt) return end(draft, run, "lost", "no host was there to run it");
  const online = onlineHosts({ ...draft.facts, spec: release.spec }, draft.now);
  if (!online.ok) return draft.wakeAt(Math.min(giveUpAt, draft.now + LOOK_MS));
  const homes = new Set(draft.instancesOf(release.id).map(({ hostId }) => hostId));
  const busy = (id: string) =>
    draft.runs().filter((other) => other.hostId === id && other.endedAt === null).length;
  // Where its instances are its image is, too.
  const [host] = online.value.toSorted(
    (a, b) =>
      Number(homes.has(b.id)) - Number(homes.has(a.id)) ||
      busy(a.id) - busy(b.id) ||
      (a.name < b.name ? -1 : 1),
  );
  if (host) orderCommand(draft, release, { run, hostId: host.id });
}

const isBefore = (other: RunFacts, run: RunFacts): boolean =>
  other.process === run.process && other.id !== run.id && (other.dueAt ?? 0) < (run.dueAt ?? 0);

function end(
  draft: Draft,
  run: RunFacts,
  state: "done" | "failed" | "lost" | "stopped",
  cause: string | null,
  job?: JobFacts,
): void {
  const logs = job?.result?.logs ?? job?.error?.logs ?? [];
  const exitCode = state === "done" ? 0 : (job?.error?.exitCode ?? null);
  draft.changeRun(run, { state, cause, exitCode, logs, endedAt: draft.now });
  const words = { done: "is done", failed: "failed", lost: "is lost", stopped: "was stopped" }[state];
  tell(draft, { ...run, state }, `${nameOf(run)} ${words}${cause ? `: ${cause}` : ""}`);
}

const nameOf = ({ process, command }: RunFacts): string => process ?? command.join(" ").slice(0, 100);

const hostOf = (draft: Draft, id: string): string =>
  draft.facts.hosts.find((host) => host.id === id)?.name ?? id;

function tell(draft: Draft, run: RunFacts, message: string): void {
  const { id, process, state, dueAt } = run;
  draft.event("run.state", run.releaseId, message, { run: id, process: process ?? WEB, state, dueAt });
}
