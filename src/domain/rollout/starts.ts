import { isDown } from "./carry.ts";
import { failureOf } from "./causes.ts";
import type { Draft } from "./draft.ts";
import type { InstanceFacts } from "./facts.ts";
import { JOB_SLACK_MS } from "./instances.ts";
import type { ReleaseFacts, ReleaseFailure } from "./release.ts";
import { askUnverified } from "./watch.ts";

/** A new instance that never became ready, does not answer on its real path, or served and is down. Asks those that are ready. */
export function brokenStart(draft: Draft, release: ReleaseFacts): ReleaseFailure | undefined {
  askNew(draft, release);
  return draft
    .instancesOf(release.id)
    .map((instance) => startFailure(draft, release, instance) ?? downfall(draft, instance))
    .find((failure) => failure !== undefined);
}

/** Why one of a rolling change's new instances will not serve; undefined: it may yet. */
export function startFailure(
  draft: Draft,
  release: ReleaseFacts,
  instance: InstanceFacts,
): ReleaseFailure | undefined {
  const about = { host: instance.hostName, instance: instance.id, logs: [] };
  if (instance.state === "starting") {
    const job = draft.jobsOf(release, "start").find(({ instanceId }) => instanceId === instance.id);
    if (job?.state === "failed") return failureOf(draft, job);
    const until = instance.stateSince + release.spec.health.startup.deadlineMs + JOB_SLACK_MS;
    if (until > draft.now) return void draft.wakeAt(until);
    const message = `${instance.hostName} has not said that ${instance.id} is ready: is its agent running?`;
    return { code: "deadline", message, ...about };
  }
  if (instance.state !== "ready") return undefined;
  if (instance.verifiedAt !== null && instance.reportState === "ready") return undefined;
  const until = instance.stateSince + release.spec.deadlines.verifyMs;
  if (until > draft.now) return void draft.wakeAt(until);
  const cause = instance.verifyCause ?? instance.reportCause ?? "no answer yet";
  const message = `${instance.hostName}: ${instance.origin} does not answer: ${cause}`;
  return { code: "unreachable", message, ...about };
}

/** Asks those that are ready, and have not answered yet. */
export function askNew(draft: Draft, release: ReleaseFacts): void {
  askUnverified(
    draft,
    draft.instancesOf(release.id).filter((instance) => instance.state === "ready"),
  );
}

/** One that was admitted and is down since says of the others what they will come to. */
function downfall(draft: Draft, instance: InstanceFacts): ReleaseFailure | undefined {
  if (instance.state !== "serving" || !isDown(instance, draft.now)) return undefined;
  const { id, hostName, verifyCause, reportCause } = instance;
  const message = `${hostName}: ${id} served and is down (${verifyCause ?? reportCause ?? "not ready"})`;
  return { code: "instances_lost", message, host: hostName, instance: id, logs: [] };
}
