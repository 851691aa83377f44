import { FULL_WEIGHT } from "../routing/table.ts";
import type { Draft } from "./draft.ts";
import type { ReleaseFacts, ReleaseFailure } from "./release.ts";
import { stop } from "./retire.ts";
import { shiftWeights } from "./shift.ts";

/** Ends a release that has no traffic. What it started is stopped, what serves is left alone. */
export function fail(draft: Draft, release: ReleaseFacts, failure: ReleaseFailure): void {
  endWithoutTraffic(draft, release, "failed", `${release.version} failed: ${failure.message}`, failure);
}

export function endWithoutTraffic(
  draft: Draft,
  release: ReleaseFacts,
  state: "failed" | "aborted" | "superseded",
  message: string,
  failure: ReleaseFailure | null = null,
): void {
  draft.moveRelease(release, state, message, {
    endedAt: draft.now,
    weightBp: 0,
    ...(failure ? { failure } : {}),
  });
  cancelJobs(draft, release);
  for (const instance of draft.instancesOf(release.id)) {
    if (instance.state === "pending")
      draft.changeInstance(instance, { state: "stopped", stoppedAt: draft.now });
    else if (instance.state !== "stopping") stop(draft, instance);
  }
}

/**
 * Ends a release that was taking traffic: what it has goes back to stable. A rolling one is rolled back the way it came,
 * a few at a time, because the few old instances that are left could not carry all of it.
 */
export function giveBack(
  draft: Draft,
  release: ReleaseFacts,
  message: string,
  failure: ReleaseFailure,
): void {
  const { stableReleaseId } = draft.facts;
  const rolls = release.spec.strategy.kind === "rolling";
  const deadlineAt = rolls ? draft.now + release.spec.deadlines.releaseMs : null;
  draft.moveRelease(release, "rolling_back", message, { failure, paused: null, endedAt: null, deadlineAt });
  cancelJobs(draft, release);
  for (const instance of draft.instancesOf(release.id)) {
    if (["starting", "ready", "pending"].includes(instance.state)) stop(draft, instance);
  }
  if (release.weightBp === 0 || (rolls && stableReleaseId)) return;
  shiftWeights(draft, new Map(stableReleaseId ? [[stableReleaseId, FULL_WEIGHT]] : []));
}

function cancelJobs(draft: Draft, release: ReleaseFacts): void {
  const open = draft.facts.jobs.filter((job) => job.releaseId === release.id && job.finishedAt === null);
  draft.cancel(open.filter((job) => job.kind !== "stop"));
}
