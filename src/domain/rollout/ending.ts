import { FULL_WEIGHT } from "../routing/table.ts";
import { answering, canCarry, isCrashing } from "./carry.ts";
import type { Draft } from "./draft.ts";
import type { ReleaseFacts, ReleaseFailure } from "./release.ts";
import { stop } from "./retire.ts";
import { shiftWeights } from "./shift.ts";
import { heirsOf } from "./target.ts";
import { strengthOf } from "./watch.ts";

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
 * Ends a release that was taking traffic: what it has goes to who can carry it, stable first. A rolling one is rolled back
 * the way it came, a few at a time, because the few old instances that are left could not carry all of it. False: nobody
 * else can, so it keeps what it has, and says so.
 */
export function giveBack(
  draft: Draft,
  { id }: Pick<ReleaseFacts, "id">,
  message: string,
  failure: ReleaseFailure,
): boolean {
  // As this step leaves it: its first instances may have begun to serve just now.
  const release = draft.release(id);
  if (!release) throw new Error(`no release ${id}`);
  const rolls = release.spec.strategy.kind === "rolling" && draft.stable() !== undefined;
  const to = rolls || release.weightBp === 0 ? undefined : receiverOf(draft, release, failure);
  if (to?.id === release.id)
    return draft.stable() ? keep(draft, release, failure) : standAlone(draft, release, failure);
  const deadlineAt = rolls ? draft.now + release.spec.deadlines.releaseMs : null;
  draft.moveRelease(release, "rolling_back", message, { failure, paused: null, endedAt: null, deadlineAt });
  cancelJobs(draft, release);
  stopUnserving(draft, release);
  if (release.weightBp === 0 || rolls) return true;
  shiftWeights(draft, new Map(to ? [[to.id, FULL_WEIGHT]] : []));
  if (to) draft.changeEnvironment({ stableReleaseId: to.id });
  return true;
}

/** Who gets what a release gives up. Itself: nobody else can carry it. Undefined: nobody answers, and there is no other. */
function receiverOf(draft: Draft, release: ReleaseFacts, failure: ReleaseFailure): ReleaseFacts | undefined {
  const { now } = draft;
  const others = [draft.stable(), ...heirsOf({ releases: draft.releases() }, release)].filter(
    (other) => other !== undefined && other.id !== release.id,
  ) as ReleaseFacts[];
  const able = others.find((other) => canCarry(other, draft.instancesOf(other.id), now));
  if (able) return able;
  const strength = ({ id }: ReleaseFacts) => answering(draft.instancesOf(id), now).length;
  if (canCarry(release, draft.instancesOf(release.id), now)) return release;
  // Its own are among the few that answer: without them it were fewer still.
  const isLoss = failure.code === "instances_lost";
  const sound = answering(draft.instancesOf(release.id), now).filter((one) => !isCrashing(one, now));
  if (isLoss && sound.length > 0) return release;
  // Fewer than half on every side: whoever answers at all is better than who does not.
  const [strongest] = [...others, release].sort((a, b) => strength(b) - strength(a));
  if (strongest && strength(strongest) > 0) return strongest;
  // Nobody is known to answer, as when control itself was away: a loss is then no reason to move.
  return isLoss ? release : others[0];
}

/** The first release there is: what serves of it is all that anybody has. */
function standAlone(draft: Draft, release: ReleaseFacts, failure: ReleaseFailure): true {
  const message = `${release.version} serves with what it has (${strengthOf(draft, release)}), though ${failure.message}`;
  const change = { servingAt: draft.now, weightBp: FULL_WEIGHT, paused: null, failure };
  draft.moveRelease(release, "settling", message, change);
  draft.event("traffic.alert", release.id, message, { failure });
  draft.changeEnvironment({ stableReleaseId: release.id });
  cancelJobs(draft, release);
  stopUnserving(draft, release);
  return true;
}

function stopUnserving(draft: Draft, release: ReleaseFacts): void {
  for (const instance of draft.instancesOf(release.id)) {
    if (["starting", "ready", "pending"].includes(instance.state)) stop(draft, instance);
  }
}

function keep(draft: Draft, release: ReleaseFacts, failure: ReleaseFailure): false {
  draft.wakeAt(draft.now + RETRY_MS);
  const { version } = release;
  const stable = draft.stable();
  const other = stable ? strengthOf(draft, stable) : "there is no other release";
  const message = `${version} keeps its traffic, for nobody else can carry it (${other}), though ${failure.message}`;
  if (isNews(release, failure)) {
    draft.changeRelease(release.id, { failure });
    draft.event("traffic.alert", release.id, message, { failure });
  }
  return false;
}

/** `failure` remembers what was said. After the first reason only a loss is another: two that hold would take turns in it. */
const isNews = ({ failure: said }: ReleaseFacts, { code }: ReleaseFailure): boolean =>
  said === null || (code === "instances_lost" && said.code !== code);

/** How often a release that could not give its traffic back tries again. */
const RETRY_MS = 5_000;

/** A hook that has begun is left to its end: half a migration is worse than one nobody waits for. */
export function cancelJobs(draft: Draft, release: ReleaseFacts): void {
  const open = draft.facts.jobs.filter((job) => job.releaseId === release.id && job.finishedAt === null);
  draft.cancel(open.filter(({ kind, state }) => kind !== "stop" && !(kind === "run" && state === "leased")));
}
