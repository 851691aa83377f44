import { awaited, notApproved, passes } from "../../approval/gate.ts";
import { pinnedImage } from "../../image.ts";
import { failureOf, hostName, late, lostOnTheWay, names, openWork } from "../causes.ts";
import type { Draft } from "../draft.ts";
import { fail } from "../ending.ts";
import { isHookRunning, orderHook } from "../hooks.ts";
import { JOB_SLACK_MS, orderStart } from "../instances.ts";
import type { ReleaseFacts } from "../release.ts";
import { openShift } from "./shifting.ts";
import type { StateRule } from "./state-rule.ts";

/** preparing → starting: its image is on every host, and the expand hook was run in it. Nothing that serves is touched. */
export const preparing: StateRule = {
  work: prepare,
  overdue: (draft, release) => {
    const approval = awaited(release);
    fail(
      draft,
      release,
      approval ? notApproved(release, approval) : late(draft, release, openWork(draft, release)),
    );
  },
};

interface Pinned {
  readonly digest: string | null;
  readonly pinnedImage: string;
}

function prepare(draft: Draft, release: ReleaseFacts): void {
  const pulls = draft.jobsOf(release, "pull");
  const failed = pulls.find((job) => job.state === "failed");
  if (failed) return fail(draft, release, failureOf(draft, failed));
  if (pulls.length === 0 || pulls.some((job) => job.state !== "done")) return;
  const digests = new Map(pulls.map((job) => [job.result?.digest ?? "", job]));
  if (digests.size > 1) {
    const seen = [...digests]
      .map(([digest, job]) => `${hostName(draft, job.hostId)} has ${digest}`)
      .join(", ");
    const message = `${release.image} is not the same image on every host: ${seen}. Deploy by digest, or push the tag again`;
    return fail(draft, release, { code: "image_differs", message, logs: [] });
  }
  const { hostId, result } = pulls[0] ?? { hostId: "", result: null };
  const pinnedAs = pinnedImage(release.pinnedImage ?? release.image, result?.digest);
  if (!pinnedAs.ok) {
    const message = `${hostName(draft, hostId)} ${pinnedAs.error}`;
    return fail(draft, release, { code: "image_differs", message, logs: [] });
  }
  const pinned = { digest: result?.digest ?? null, pinnedImage: pinnedAs.value };
  if (!isApproved(draft, release, pinned)) return;
  if (!expand(draft, release, { host: hostId, image: pinned.pinnedImage })) return;
  begin(draft, release, pinned);
}

/** Asked for when its digest is known, and nothing of it has run: what was pulled is what is approved. */
function isApproved(draft: Draft, release: ReleaseFacts, pinned: Pinned): boolean {
  if (passes(draft, { ...release, ...pinned }, { gate: "release" })) return true;
  // People are shown what they are asked for.
  if (release.digest !== pinned.digest) draft.changeRelease(release.id, pinned);
  return false;
}

/** Runs the expand hook once, in the new image, before anything of the release starts. True: nothing left to do. */
function expand(draft: Draft, release: ReleaseFacts, where: { host: string; image: string }): boolean {
  const command = release.spec.hooks.expand;
  if (!command || release.kind !== "deploy") return true;
  const [job] = draft.jobsOf(release, "run");
  if (!job && isHookRunning(draft, release)) {
    waitFor(draft, release);
    return false;
  }
  if (!job) {
    orderHook(draft, release, { hook: "expand", command, ...where });
    return false;
  }
  if (job.state === "failed") fail(draft, release, failureOf(draft, job));
  return job.state === "done";
}

/** The time that somebody else's hook takes is not this release's. */
function waitFor(draft: Draft, release: ReleaseFacts): void {
  const ends = draft.facts.jobs
    .filter(({ kind, finishedAt }) => kind === "run" && finishedAt === null)
    .map(({ deadlineAt }) => deadlineAt + JOB_SLACK_MS * 2);
  const deadlineAt = Math.max(release.deadlineAt ?? 0, ...ends);
  if (deadlineAt !== release.deadlineAt) draft.changeRelease(release.id, { deadlineAt });
}

function begin(draft: Draft, release: ReleaseFacts, pinned: Pinned): void {
  if (release.spec.strategy.kind === "rolling") {
    draft.changeRelease(release.id, pinned);
    return openShift(draft, release, `${release.version}: rolling, a few at a time`);
  }
  const instances = draft.instancesOf(release.id);
  if (instances.length < release.spec.replicas)
    return fail(draft, release, lostOnTheWay(release, instances.length));
  const spread = names(instances.map((instance) => instance.hostName));
  const message = `${release.version}: starting ${count(instances.length, "instance")} on ${spread}`;
  const deadlineAt = draft.now + release.spec.health.startup.deadlineMs + JOB_SLACK_MS;
  draft.moveRelease(release, "starting", message, { ...pinned, deadlineAt });
  for (const instance of instances) {
    draft.changeInstance(instance, { state: "starting" });
    orderStart(draft, release, instance);
  }
}

const count = (n: number, noun: string): string => `${n} ${noun}${n === 1 ? "" : "s"}`;
