import { failureOf, late, openWork } from "../causes.ts";
import type { Draft } from "../draft.ts";
import { fail } from "../ending.ts";
import type { ReleaseFacts } from "../release.ts";
import type { StateRule } from "./state-rule.ts";

/** starting → verifying: each of its instances is ready by its agent's word. */
export const starting: StateRule = {
  work: start,
  overdue: (draft, release) => fail(draft, release, late(draft, release, openWork(draft, release))),
};

function start(draft: Draft, release: ReleaseFacts): void {
  const jobs = draft.jobsOf(release, "start");
  const failed = jobs.find((job) => job.state === "failed");
  if (failed) return fail(draft, release, failureOf(draft, failed));
  if (jobs.length < draft.instancesOf(release.id).length || jobs.some((job) => job.state !== "done")) return;
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
