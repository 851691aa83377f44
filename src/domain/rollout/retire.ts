import { answers } from "./carry.ts";
import type { Draft } from "./draft.ts";
import type { InstanceFacts, JobFacts, WorkerFacts } from "./facts.ts";
import type { ReleaseFacts } from "./release.ts";
import { askedUntil } from "./table/rest.ts";

/** draining → warm → stopping → stopped: how an instance leaves, without dropping what it has begun. */

/** A stop that failed is tried again after this long, the next one after twice as long, and so on up to twenty times. */
const STOP_RETRY_MS = 30_000;

export function retire(draft: Draft, instance: InstanceFacts): void {
  const release = draft.release(instance.releaseId);
  if (!release) throw new Error(`instance ${instance.id} is of unknown release ${instance.releaseId}`);
  if (instance.hostRemoved) return end(draft, instance);
  if (instance.state === "stopping") return confirmStop(draft, instance);
  // Never had traffic, so there is nothing to drain. Its host may be away: it is not waited for to be ready.
  if (isNew(instance) && release.state === "rolling_back") return stop(draft, instance);
  // Made by the very decision that ended its release.
  if (isNew(instance) && (release.state === "failed" || release.state === "aborted"))
    return stop(draft, instance);
  // A replacement of what another release took over from meanwhile.
  if (isNew(instance) && release.state === "superseded" && !isComingBack(draft)) return stop(draft, instance);
  if (instance.state !== "draining" && instance.state !== "warm") return;
  const keptUntil = keptFor(release);
  const until = Math.max(keptUntil, instance.drainUntil ?? 0, askedUntil(draft.facts, release, instance));
  if (until <= draft.now) return stop(draft, instance);
  if (instance.state === "draining" && (instance.drainUntil ?? 0) <= draft.now) {
    draft.changeInstance(instance, { state: "warm" }, restWords(draft, release, instance));
  }
  const wakeAt = instance.state === "warm" ? until : (instance.drainUntil ?? until);
  if (Number.isFinite(wakeAt)) draft.wakeAt(wakeAt);
}

/** One that ended may run again by then, and is kept all the same. One that was taken back only waits for its stop. */
function restWords(draft: Draft, release: ReleaseFacts, instance: InstanceFacts): string | undefined {
  if (release.state === "rolling_back") return undefined;
  const words = answers(instance, draft.now) ? "is kept warm" : "has drained, and does not answer";
  return `${release.version} on ${instance.hostName} ${words}`;
}

const isNew = ({ state }: InstanceFacts): boolean => state === "ready" || state === "starting";

/** A rolling change goes back by starting old ones. */
const isComingBack = (draft: Draft): boolean =>
  draft.facts.releases.some(({ state }) => state === "rolling_back");

/** Nobody is left to stop it, or to say that it did. */
function end(draft: Draft, instance: InstanceFacts): void {
  draft.cancel(draft.facts.jobs.filter((job) => job.instanceId === instance.id && job.finishedAt === null));
  draft.changeInstance(instance, { state: "stopped", stoppedAt: draft.now });
}

/** One whose weight a person set to 0 on its way is kept: the next step may give it traffic again. */
function keptFor(release: ReleaseFacts): number {
  if (release.state === "shifting" && release.weightBp === 0) return Number.POSITIVE_INFINITY;
  return release.state === "superseded" ? (release.warmUntil ?? 0) : 0;
}

/** Asks the host to stop the container; the slot stays taken until the host says that it is gone. */
export function stop(draft: Draft, instance: InstanceFacts): void {
  const release = draft.release(instance.releaseId);
  const graceMs = release?.spec.stopGraceMs ?? 0;
  draft.changeInstance(instance, { state: "stopping" }, `${release?.version} on ${instance.hostName} stops`);
  orderStop(draft, instance, graceMs);
}

type Container = Pick<InstanceFacts, "id" | "hostId" | "releaseId">;

export function orderStop(draft: Draft, instance: Container, graceMs: number): void {
  // A host that is away may yet come to a start, after it has stopped what it had.
  const starts = draft.facts.jobs.filter(
    ({ kind, instanceId, finishedAt }) =>
      kind === "start" && instanceId === instance.id && finishedAt === null,
  );
  draft.cancel(starts);
  const attempt = stopsOf(draft, instance).length + 1;
  draft.order({
    id: `stop-${instance.id}-${attempt}`,
    kind: "stop",
    hostId: instance.hostId,
    releaseId: instance.releaseId,
    instanceId: instance.id,
    payload: { instance: instance.id, graceMs },
    // A host that is away gets it when it is back; a week later a person has to look.
    deadlineAt: draft.now + 7 * 86_400_000,
  });
}

/** Stopped when its host says so; a stop that failed is ordered again. */
export function confirmStop(draft: Draft, container: InstanceFacts | WorkerFacts): void {
  const stops = stopsOf(draft, container);
  const over = { state: "stopped", stoppedAt: draft.now } as const;
  const isStopped = stops.some((job) => job.state === "done");
  if (isStopped && "process" in container)
    return draft.changeWorker(container, over, killedWords(draft, container, stops));
  if (isStopped && !("process" in container)) return draft.changeInstance(container, over);
  const last = stops.at(-1);
  if (stops.some((job) => job.state === "queued" || job.state === "leased")) return;
  const retryAt = (last?.finishedAt ?? container.stateSince) + STOP_RETRY_MS * Math.min(stops.length, 20);
  if (retryAt <= draft.now)
    return orderStop(draft, container, draft.release(container.releaseId)?.spec.stopGraceMs ?? 0);
  draft.wakeAt(retryAt);
}

/** Work it had begun may be lost: that is said. */
function killedWords(draft: Draft, worker: WorkerFacts, stops: readonly JobFacts[]): string | undefined {
  if (!stops.some(({ result }) => result?.killed)) return undefined;
  const version = draft.release(worker.releaseId)?.version;
  return `${worker.process} of ${version} on ${worker.hostName} did not end within its \`stopGrace\` and was killed`;
}

const stopsOf = (draft: Draft, { id }: Pick<InstanceFacts, "id">) =>
  draft.facts.jobs.filter((job) => job.kind === "stop" && job.instanceId === id);
