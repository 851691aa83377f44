import { FULL_WEIGHT } from "../routing/table.ts";
import type { Rolling } from "../spec.ts";
import { jobsOf, PROBE_INTERVAL_MS } from "./begin.ts";
import { failureOf } from "./causes.ts";
import type { Draft } from "./decision.ts";
import { giveBack } from "./ending.ts";
import type { InstanceFacts } from "./facts.ts";
import { JOB_SLACK_MS } from "./instances.ts";
import type { ReleaseFacts, ReleaseFailure } from "./release.ts";
import { stop } from "./retire.ts";
import { roll, rollLimits } from "./roll.ts";
import { SMOKE_RETRY_MS, takeOver } from "./settling.ts";
import { shiftWeights } from "./shift.ts";

/** A rolling release on its way there, and on its way back. */

export function rollOn(draft: Draft, release: ReleaseFacts, strategy: Rolling): void {
  const smoke = smokeBefore(draft, release);
  if (smoke !== "asking" && smoke !== null)
    return giveBack(draft, release, `${release.version} rolls back: ${smoke.message}`, smoke);
  const limits = rollLimits(strategy, release.spec.replicas);
  const from = servingStable(draft, release);
  const went = roll(draft, { to: release, from, limits, grow: true, admits: smoke === null });
  if (went === "done") return takeOver(draft, draft.release(release.id) ?? release);
  if (went === "going") return;
  const message = "no host has a free slot, and none becomes free: add a host, or set `maxUnavailable` to 1";
  const failure = { code: "no_slots", message, logs: [] };
  giveBack(draft, release, `${release.version} rolls back: ${message}`, failure);
}

/** Its first instances are checked before one of them serves. Null: all as wanted. */
function smokeBefore(draft: Draft, release: ReleaseFacts): ReleaseFailure | "asking" | null {
  if (release.spec.smoke.length === 0) return null;
  const outcome = release.smoke?.before;
  if (outcome) return outcome.failure;
  const verified = draft.instancesOf(release.id).some(({ verifiedAt }) => verifiedAt !== null);
  if (verified) {
    draft.decision.smokes.push({ release, when: "before" });
    draft.wakeAt(draft.now + SMOKE_RETRY_MS);
  }
  return "asking";
}

/** A new instance that never became ready, or is ready and does not answer on its real path. Asks those that are. */
export function brokenStart(draft: Draft, release: ReleaseFacts): ReleaseFailure | undefined {
  askNew(draft, release);
  return draft
    .instancesOf(release.id)
    .map((instance) => startFailure(draft, release, instance))
    .find((failure) => failure !== undefined);
}

function startFailure(
  draft: Draft,
  release: ReleaseFacts,
  instance: InstanceFacts,
): ReleaseFailure | undefined {
  const about = { host: instance.hostName, instance: instance.id, logs: [] };
  if (instance.state === "starting") {
    const job = jobsOf(draft, release, "start").find(({ instanceId }) => instanceId === instance.id);
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

function askNew(draft: Draft, release: ReleaseFacts): void {
  const waiting = draft
    .instancesOf(release.id)
    .filter((instance) => instance.state === "ready" && instance.verifiedAt === null);
  draft.decision.probes.push(...waiting);
  if (waiting.length > 0) draft.wakeAt(draft.now + PROBE_INTERVAL_MS);
}

export function servingStable(draft: Draft, release: ReleaseFacts): ReleaseFacts | undefined {
  const stable = draft.facts.stableReleaseId ? draft.release(draft.facts.stableReleaseId) : undefined;
  return stable && stable.id !== release.id && stable.weightBp > 0 ? stable : undefined;
}

// --- the way back ---------------------------------------------------------------------------------------------------

export function endRollback(draft: Draft, release: ReleaseFacts): void {
  const { strategy } = release.spec;
  const stable = draft.facts.stableReleaseId ? draft.release(draft.facts.stableReleaseId) : undefined;
  const rolls = strategy.kind === "rolling" && stable !== undefined && stable.id !== release.id;
  if (rolls && !rollBack(draft, release, { stable, strategy })) return;
  const busy = draft.instancesOf(release.id).filter((instance) => instance.state !== "stopping");
  if (busy.length > 0) return;
  draft.moveRelease(release, "rolled_back", `${release.version} is rolled back`, { endedAt: draft.now });
}

/** One tick of putting the old instances back. True: stable has all that it will get. */
function rollBack(
  draft: Draft,
  release: ReleaseFacts,
  { stable, strategy }: { stable: ReleaseFacts; strategy: Rolling },
): boolean {
  askNew(draft, stable);
  for (const instance of draft.instancesOf(stable.id))
    if (startFailure(draft, stable, instance)) {
      stop(draft, instance);
      giveUp(draft, release);
    }
  const grow = (draft.release(release.id)?.deadlineAt ?? Number.POSITIVE_INFINITY) > draft.now;
  if (!grow && !canCarry(draft, stable)) return stay(draft, release);
  const limits = rollLimits(strategy, stable.spec.replicas);
  const went = roll(draft, { to: stable, from: release, limits, grow, admits: true });
  if (went === "stuck") giveUp(draft, release);
  if (went !== "done") return false;
  shiftWeights(draft, new Map([[stable.id, FULL_WEIGHT]]));
  return true;
}

/** From now on no old instance is started again: what is left of them takes all of the traffic. */
const giveUp = (draft: Draft, { id }: ReleaseFacts): void =>
  draft.changeRelease(id, { deadlineAt: draft.now });

const canCarry = (draft: Draft, stable: ReleaseFacts): boolean =>
  draft.instancesOf(stable.id).some(({ state }) => ["starting", "ready", "serving"].includes(state));

/** Nothing of the old release can serve. What still does of the new one goes on: a bad release is better than none. */
function stay(draft: Draft, release: ReleaseFacts): boolean {
  const serves = draft.instancesOf(release.id).some(({ state }) => state === "serving");
  shiftWeights(draft, new Map(serves ? [[release.id, FULL_WEIGHT]] : []), { keepInstances: true });
  if (!serves) return true;
  draft.decision.environment.stableReleaseId = release.id;
  const message = `${release.version} stays: the release before it could not be started again`;
  draft.moveRelease(release, "live", message, { endedAt: draft.now, failure: release.failure });
  return false;
}
