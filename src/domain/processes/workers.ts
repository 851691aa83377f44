import { isCrashing, isHeard } from "../rollout/carry.ts";
import { failureOf, names } from "../rollout/causes.ts";
import type { Draft } from "../rollout/draft.ts";
import type { WorkerFacts } from "../rollout/facts.ts";
import { JOB_SLACK_MS } from "../rollout/instances.ts";
import { onlineHosts } from "../rollout/placing/placement.ts";
import { isActive, type ReleaseFacts, type ReleaseFailure, type WorkerTrouble } from "../rollout/release.ts";
import { confirmStop, orderStop } from "../rollout/retire.ts";
import { type WorkerSpec, workerOf, workersOf } from "./process.ts";
import { orderWorker } from "./worker-start.ts";

/**
 * Workers follow the release that has, or last had, all traffic. Whatever moves traffic (a strategy's last step, a rollback,
 * a take-back) moves them with it, since each tick compares what should run with what does:
 *
 * - `start-first`: new ones start, and the old ones stop when as many new ones as wanted are healthy.
 * - `stop-first`: old ones stop, and new ones start when each host has said that none is left. A host that is silent may
 *   still run one, so that is waited for until it answers or a person removes it.
 *
 * A worker on a host that is silent, or to be emptied, is replaced elsewhere in the same two ways. While there is no
 * elsewhere, one on a host that is to be emptied works on.
 */

/** Not healthy for this long is a failure of the release that brought it, and said of one that is live. */
const UNHEALTHY_MS = 15_000;
/** A worker that can't be started is tried again after this, then after twice as long, and so on. */
const RETRY_MS = 10_000;
const MOST_RETRY_MS = 300_000;

export function tendWorkers(draft: Draft): void {
  const owner = draft.facts.ending ? undefined : draft.stable();
  const coming = draft.facts.ending ? undefined : draft.releases().find(({ state }) => isBesides(state));
  for (const worker of draft.workers()) settleOne(draft, worker);
  const processes = new Set([
    ...draft.workers().map(({ process }) => process),
    ...(owner ? workersOf(owner.spec).map(([name]) => name) : []),
    ...(coming ? workersOf(coming.spec).map(([name]) => name) : []),
  ]);
  for (const name of processes) {
    const early = coming && workerOf(coming.spec, name)?.at === "start" ? coming : undefined;
    if (early && early.id !== owner?.id) grow(draft, early, name);
    tend(draft, name, owner, early);
  }
}

/** Its instances are started, or were: those processes that are to start with them do. */
const isBesides = (state: ReleaseFacts["state"]): boolean => isActive(state) && state !== "preparing";

/** A start that is done makes it ready; a stop that is done, stopped. */
function settleOne(draft: Draft, worker: WorkerFacts): void {
  if (worker.state === "stopping") return confirmStop(draft, worker);
  if (worker.state !== "starting" || startOf(draft, worker)?.state !== "done") return;
  const version = draft.release(worker.releaseId)?.version;
  draft.changeWorker(
    worker,
    { state: "ready" },
    `${nameOf(worker)} of ${version} runs on ${worker.hostName}`,
  );
}

function tend(
  draft: Draft,
  name: string,
  owner: ReleaseFacts | undefined,
  early: ReleaseFacts | undefined,
): void {
  const wanted = owner && workerOf(owner.spec, name);
  const others = ofProcess(draft, name).filter(
    ({ releaseId, state }) => releaseId !== owner?.id && releaseId !== early?.id && state !== "stopping",
  );
  if (!owner || !wanted) return stopAll(draft, others);
  // What was given up as bad stops at once: nothing is kept of it until others are there.
  stopAll(
    draft,
    others.filter(({ releaseId }) => isGivenUp(draft.release(releaseId))),
  );
  if (wanted.handover === "stop-first") {
    stopAll(draft, [...others, ...lostOf(draft, owner, name)]);
    if (isClear(draft, owner, name)) grow(draft, owner, name);
    return;
  }
  grow(draft, owner, name);
  const up = keptOf(draft, owner, name).filter((worker) => isHealthy(worker, draft.now));
  if (up.length >= wanted.replicas) stopAll(draft, [...others, ...lostOf(draft, owner, name)]);
}

/** Starts what is missing, stops what is too many, and writes down what goes wrong. */
function grow(draft: Draft, release: ReleaseFacts, name: string): void {
  const wanted = workerOf(release.spec, name);
  if (!wanted) return;
  for (const worker of ofRelease(draft, release, name)) noteFailedStart(draft, release, worker);
  const kept = keptOf(draft, release, name);
  watchWorkers(draft, release, name, kept);
  const surplus = kept.length - wanted.replicas;
  if (surplus > 0) {
    const worstFirst = kept.toSorted(
      (a, b) =>
        Number(isHealthy(a, draft.now)) - Number(isHealthy(b, draft.now)) || b.stateSince - a.stateSince,
    );
    return stopAll(draft, worstFirst.slice(0, surplus));
  }
  const trouble = troubleOf(draft, release, name);
  const retryAt = trouble && trouble.count > 0 ? trouble.at + backOff(trouble.count) : 0;
  if (surplus < 0 && retryAt > draft.now) return draft.wakeAt(retryAt);
  for (let missing = -surplus; missing > 0; missing--) if (!startOne(draft, release, name)) return;
}

const backOff = (count: number): number => Math.min(MOST_RETRY_MS, RETRY_MS * 2 ** (count - 1));

/** On the host where none failed, then that has fewest of this process, then fewest of the environment's. */
function startOne(draft: Draft, release: ReleaseFacts, name: string): boolean {
  const online = onlineHosts({ ...draft.facts, spec: release.spec }, draft.now);
  if (!online.ok) {
    // One that fails is told of already: the two would take each other's place at every look.
    if (!troubleOf(draft, release, name)?.isOwn)
      note(draft, release, name, { code: online.error.code, message: online.error.detail, isOwn: false });
    draft.wakeAt(draft.now + RETRY_MS);
    return false;
  }
  const ranks = new Map(online.value.map(({ id }) => [id, rankOf(draft, release, name, id)]));
  const [host] = online.value.toSorted(
    (a, b) => compare(ranks.get(a.id) ?? [], ranks.get(b.id) ?? []) || (a.name < b.name ? -1 : 1),
  );
  if (!host) return false;
  orderWorker(draft, release, { process: name, hostId: host.id, hostName: host.name });
  return true;
}

function rankOf(draft: Draft, release: ReleaseFacts, name: string, hostId: string): readonly number[] {
  const here = draft.workers().filter((worker) => worker.hostId === hostId);
  const coming = draft.newWorkers.filter((worker) => worker.hostId === hostId);
  const isGoing = ({ state }: WorkerFacts) => state === "stopping";
  const failures = here.filter((one) => one.process === name && one.releaseId === release.id && isGoing(one));
  const staying = [...here.filter((one) => !isGoing(one)), ...coming];
  const same = staying.filter((one) => one.process === name && one.releaseId === release.id);
  const web = draft.instances().filter((instance) => instance.hostId === hostId);
  return [failures.length > 0 ? 1 : 0, same.length, staying.length + web.length];
}

/** By the first number that differs. */
const compare = (a: readonly number[], b: readonly number[]): number =>
  a.map((value, index) => value - (b[index] ?? 0)).find((difference) => difference !== 0) ?? 0;

const isGivenUp = (release: ReleaseFacts | undefined): boolean =>
  release === undefined || ["failed", "aborted", "rolling_back", "rolled_back"].includes(release.state);

// --- what is there ----------------------------------------------------------------------------------------------------

const ofProcess = (draft: Draft, name: string): WorkerFacts[] =>
  draft.workers().filter(({ process }) => process === name);

const ofRelease = (draft: Draft, { id }: ReleaseFacts, name: string): WorkerFacts[] =>
  ofProcess(draft, name).filter(({ releaseId, state }) => releaseId === id && state !== "stopping");

const keptOf = (draft: Draft, release: ReleaseFacts, name: string): WorkerFacts[] =>
  ofRelease(draft, release, name).filter((worker) => isKept(draft, release, worker));

const lostOf = (draft: Draft, release: ReleaseFacts, name: string): WorkerFacts[] =>
  ofRelease(draft, release, name).filter((worker) => !isKept(draft, release, worker));

/** Its host is there, stays or is the only one, has it, and has not been given too long to start it. */
function isKept(draft: Draft, release: ReleaseFacts, worker: WorkerFacts): boolean {
  if (!isHeard(worker, draft.now) || worker.reportState === "gone") return false;
  if (worker.hostDraining && onlineHosts({ ...draft.facts, spec: release.spec }, draft.now).ok) return false;
  if (worker.state !== "starting") return true;
  const until = startUntil(release, worker);
  if (until > draft.now) draft.wakeAt(until);
  return until > draft.now;
}

const startUntil = (release: ReleaseFacts, worker: WorkerFacts): number =>
  worker.stateSince + (workerOf(release.spec, worker.process)?.health.deadlineMs ?? 0) + JOB_SLACK_MS;

const isHealthy = (worker: WorkerFacts, now: number): boolean =>
  worker.state === "ready" &&
  worker.reportState === "ready" &&
  isHeard(worker, now) &&
  !isCrashing(worker, now);

/** True when none but the release's own sound ones can be running. Else waits, and says for whom if that takes long. */
function isClear(draft: Draft, release: ReleaseFacts, name: string): boolean {
  const kept = new Set(keptOf(draft, release, name).map(({ id }) => id));
  const left = ofProcess(draft, name).filter(({ id, hostRemoved }) => !kept.has(id) && !hostRemoved);
  const silent = left.filter((worker) => !isHeard(worker, draft.now));
  if (silent.length > 0) {
    const hosts = names(silent.map(({ hostName }) => hostName));
    const message = `${name} waits: it may still run on ${hosts}, which is not heard from, and must not run twice. It starts when that host answers, or when it is removed (\`sluice hosts remove ${silent[0]?.hostName}\`)`;
    note(draft, release, name, { code: "host_silent", message, isOwn: false });
  }
  return left.length === 0;
}

function stopAll(draft: Draft, workers: readonly WorkerFacts[]): void {
  for (const worker of workers) {
    if (draft.workers().some(({ id, state }) => id === worker.id && state === "stopping")) continue;
    const release = draft.release(worker.releaseId);
    const graceMs = (release && workerOf(release.spec, worker.process)?.stopGraceMs) ?? 0;
    const words = `${nameOf(worker)} of ${release?.version} on ${worker.hostName} stops`;
    draft.changeWorker(worker, { state: "stopping" }, words);
    orderStop(draft, worker, graceMs);
  }
}

const startOf = (draft: Draft, worker: WorkerFacts) =>
  draft.facts.jobs.find(({ kind, instanceId }) => kind === "start" && instanceId === worker.id);

const nameOf = ({ process }: WorkerFacts): string => process;

// --- what goes wrong --------------------------------------------------------------------------------------------------

function noteFailedStart(draft: Draft, release: ReleaseFacts, worker: WorkerFacts): void {
  if (worker.state !== "starting") return;
  const job = startOf(draft, worker);
  const isLate = startUntil(release, worker) <= draft.now && isHeard(worker, draft.now);
  if (job?.state !== "failed" && !isLate) return;
  const said = job?.state === "failed" ? failureOf(draft, job) : undefined;
  const message = said?.message ?? `${worker.hostName} has not said that it runs: is its agent running?`;
  const count = (troubleOf(draft, release, worker.process)?.count ?? 0) + 1;
  note(draft, release, worker.process, {
    code: "worker_failed",
    message: `${worker.process} can't be started: ${message}`,
    logs: said?.logs ?? [],
    isOwn: true,
    count,
  });
  stopAll(draft, [worker]);
}

/** Of those that were started: a crash loop, or a check that fails for too long. Says as well when all is well again. */
function watchWorkers(draft: Draft, release: ReleaseFacts, name: string, kept: readonly WorkerFacts[]): void {
  const bad = kept.find((worker) => isFailing(draft, worker));
  if (bad) {
    const why = isCrashing(bad, draft.now) ? `ended ${bad.exits.length} times` : "is not healthy";
    const cause = bad.reportCause ? ` (${bad.reportCause})` : "";
    const message = `${name} on ${bad.hostName} ${why}${cause}`;
    return note(draft, release, name, { code: "worker_unhealthy", message, isOwn: true });
  }
  const wanted = workerOf(release.spec, name)?.replicas ?? 0;
  const up = kept.filter((worker) => isHealthy(worker, draft.now)).length;
  if (troubleOf(draft, release, name) && up >= wanted) clear(draft, release, name);
}

function isFailing(draft: Draft, worker: WorkerFacts): boolean {
  if (worker.state !== "ready") return false;
  if (isCrashing(worker, draft.now)) return true;
  if (worker.reportState === "ready") return false;
  const since = worker.reportAt ?? worker.stateSince;
  if (since + UNHEALTHY_MS > draft.now) draft.wakeAt(since + UNHEALTHY_MS);
  return since + UNHEALTHY_MS <= draft.now;
}

const troubleOf = (draft: Draft, { id }: ReleaseFacts, name: string): WorkerTrouble | undefined =>
  draft.release(id)?.workerTroubles?.[name];

type Noted = Pick<WorkerTrouble, "code" | "message" | "isOwn"> &
  Partial<Pick<WorkerTrouble, "count" | "logs">>;

/** Written down once, and again with each start that fails; told the first time. */
function note(draft: Draft, release: ReleaseFacts, name: string, { count, logs = [], ...what }: Noted): void {
  const before = troubleOf(draft, release, name);
  if (before?.code === what.code && count === undefined) return;
  const troubles = draft.release(release.id)?.workerTroubles ?? {};
  const trouble = { ...what, logs, at: draft.now, count: count ?? before?.count ?? 0 };
  draft.changeRelease(release.id, { workerTroubles: { ...troubles, [name]: trouble } });
  if (before?.code === what.code) return;
  const data = { process: name, code: what.code, logs };
  draft.event("worker.alert", release.id, `${release.version}: ${what.message}`, data);
}

function clear(draft: Draft, release: ReleaseFacts, name: string): void {
  const { [name]: _, ...others } = draft.release(release.id)?.workerTroubles ?? {};
  draft.changeRelease(release.id, { workerTroubles: others });
  const message = `${release.version}: ${name} is healthy again`;
  draft.event("worker.alert", release.id, message, { process: name, code: null });
}

// --- what a release asks ----------------------------------------------------------------------------------------------

/** Why its workers say that the release is no good; undefined: they don't. A silent host is not its fault. */
export function workerFailure(draft: Draft, release: ReleaseFacts): ReleaseFailure | undefined {
  const found = Object.values(draft.release(release.id)?.workerTroubles ?? {}).find(({ isOwn }) => isOwn);
  return found && { code: found.code, message: found.message, logs: found.logs };
}

/** Each of its workers is healthy, or waits for what is no fault of the release. `only`: those that start with it. */
export function areWorkersUp(draft: Draft, release: ReleaseFacts, only?: "start"): boolean {
  const { workerTroubles = {} } = draft.release(release.id) ?? release;
  return workersOf(release.spec)
    .filter(([, { at }]) => only === undefined || at === only)
    .every(([name, wanted]) => workerTroubles?.[name] !== undefined || isWhole(draft, release, name, wanted));
}

function isWhole(draft: Draft, release: ReleaseFacts, name: string, { replicas }: WorkerSpec): boolean {
  const up = ofRelease(draft, release, name).filter((worker) => isHealthy(worker, draft.now));
  return up.length >= replicas;
}

/** `worker 1 of 2`: which of its workers a release still waits for. */
export function missingWorkers(draft: Draft, release: ReleaseFacts): string {
  return workersOf(release.spec)
    .filter(([name, wanted]) => !isWhole(draft, release, name, wanted))
    .map(([name, { replicas }]) => {
      const up = ofRelease(draft, release, name).filter((worker) => isHealthy(worker, draft.now));
      return `${name} ${up.length} of ${replicas}`;
    })
    .join(", ");
}
