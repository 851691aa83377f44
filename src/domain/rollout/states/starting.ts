import { areWorkersUp, missingWorkers, workerFailure } from "../../processes/workers.ts";
import { failureOf, late, lostOnTheWay, openWork } from "../causes.ts";
import type { Draft } from "../draft.ts";
import { fail } from "../ending.ts";
import type { ReleaseFacts } from "../release.ts";
import type { StateRule } from "./state-rule.ts";

/** starting → verifying: each of its instances is ready by its agent's word. */
export const starting: StateRule = {
  work: start,
  overdue: (draft, release) => {
    const waitsFor = openWork(draft, release, missingWorkers(draft, release) || undefined);
    fail(draft, release, late(draft, release, waitsFor));
  },
};

function start(draft: Draft, release: ReleaseFacts): void {
  const own = draft.instancesOf(release.id);
  // One whose port was taken is on its way out, and another one in its place.
  const coming = own.filter(({ state }) => state === "starting" || state === "ready");
  const jobs = draft.jobsOf(release, "start").filter((job) => coming.some(({ id }) => id === job.instanceId));
  const failed = jobs.find((job) => job.state === "failed");
  if (failed) return fail(draft, release, failureOf(draft, failed));
  const failure = workerFailure(draft, release);
  if (failure) return fail(draft, release, failure);
  if (draft.startsAnew) return;
  if (coming.length < release.spec.replicas)
    return fail(draft, release, lostOnTheWay(release, coming.length));
  if (jobs.length < coming.length || jobs.some((job) => job.state !== "done")) return;
  if (!areWorkersUp(draft, release, "start")) return;
  draft.moveRelease(release, "verifying", `${release.version}: all ready, asking each over its real path`, {
    deadlineAt: draft.now + release.spec.deadlines.verifyMs,
  });
}

/** An instance is ready when its start job is done, whatever its release does meanwhile. */
export function markReady(draft: Draft): void {
  for (const instance of draft.facts.instances) {
    if (instance.state !== "starting") continue;
    const done = draft.facts.jobs.some(
      (job) => job.kind === "start" && job.instanceId === instance.id && job.state === "done",
    );
    const version = draft.release(instance.releaseId)?.version;
    if (done)
      draft.changeInstance(instance, { state: "ready" }, `${version} on ${instance.hostName} is ready`);
  }
}
