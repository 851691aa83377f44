import { jobsOf, orderHook, PROBE_INTERVAL_MS } from "./begin.ts";
import { describe, endStep } from "./canary.ts";
import { failureOf } from "./causes.ts";
import type { Draft } from "./decision.ts";
import { giveBack } from "./ending.ts";
import type { InstanceFacts } from "./facts.ts";
import { WINDOW_MS } from "./meter.ts";
import { rollbackTarget, stepsOf } from "./plan.ts";
import type { Paused, ReleaseFacts, ReleaseFailure } from "./release.ts";
import { roll, rollLimits } from "./roll.ts";
import { FULL_WEIGHT } from "./routing.ts";
import { percent, STALENESS_MS, shiftWeights } from "./shift.ts";
import type { AnalysisSpec, Rolling, Step } from "./spec.ts";

/** shifting → settling → live, step by step; and the way back. */

/** Serving instances of a release on its way are asked over their real path this often. */
const WATCH_MS = 5_000;
/** Not answering, or not ready, for this long counts as lost. */
const LOST_MS = 15_000;

export function shift(draft: Draft, release: ReleaseFacts): void {
  const lost = lostCause(draft, release);
  if (lost) return giveBack(draft, release, `${release.version} rolls back: ${lost.message}`, lost);
  if (judged(draft, release)) return;
  if (release.paused) {
    if (release.paused.until === null || release.paused.until > draft.now)
      return draft.wakeAt(release.paused.until);
    return nextStep(draft, release);
  }
  const { strategy } = release.spec;
  if (strategy.kind === "rolling") return rollOn(draft, release, strategy);
  const step = stepsOf(release.spec)[release.stepIndex ?? 0];
  if (!step) throw new Error(`release ${release.id} has no step ${release.stepIndex}`);
  // A first release has nobody to be compared with; a rollback goes to what has served before.
  if (release.kind === "rollback" || !servingStable(draft, release)) return takeOver(draft, release);
  if (release.stepSince === null) return enter(draft, release, step);
  remain(draft, release, step);
}

function enter(draft: Draft, release: ReleaseFacts, step: Step): void {
  const of = stepsOf(release.spec).length;
  draft.changeRelease(release.id, { stepSince: draft.now });
  if (step.kind === "weight") {
    const stable = draft.facts.stableReleaseId;
    const weights = new Map([[release.id, step.weightBp]]);
    if (stable && step.weightBp < FULL_WEIGHT) weights.set(stable, FULL_WEIGHT - step.weightBp);
    if (step.weightBp === FULL_WEIGHT) return takeOver(draft, release);
    shiftWeights(draft, weights);
  }
  if (step.kind === "pause") {
    const until = step.forMs === null ? null : draft.now + step.forMs;
    const reason = until === null ? "waits to be promoted" : "pauses as planned";
    pause(draft, release, { by: "sluice", reason, until });
  }
  const number = (release.stepIndex ?? 0) + 1;
  draft.event("release.progress", release.id, `${release.version}: step ${number} of ${of}, ${words(step)}`, {
    step: number - 1,
    of,
  });
}

/** In a step that has begun: is it over? */
function remain(draft: Draft, release: ReleaseFacts, step: Step): void {
  const { strategy } = release.spec;
  if (step.kind === "pause" || strategy.kind !== "canary") return nextStep(draft, release);
  const analysis = strategy.analysis;
  const bakeMs = step.kind === "weight" ? step.bakeMs : 0;
  const until = (release.stepSince ?? draft.now) + bakeMs;
  if (draft.now < until) return draft.wakeAt(until);
  const decision = judgement(draft, release);
  const waitMs = step.kind === "analysis" ? step.forMs : analysis.maxWaitMs;
  const canWait = draft.now < until + waitMs;
  if (!analysis.enabled || (step.kind === "weight" && bakeMs === 0)) return nextStep(draft, release);
  if (!decision || (decision.verdict === "continue" && canWait)) {
    if (canWait) return draft.wakeAt(Math.min(until + waitMs, draft.now + WINDOW_MS));
    return inconclusive(draft, release, analysis, "no request was measured");
  }
  const end = endStep(decision, { ...analysis, canWait });
  const said = describe(decision, analysis.onFailure);
  if (end.action === "promote") {
    draft.event("release.progress", release.id, `${release.version}: ${said}`, { verdict: decision.verdict });
    return nextStep(draft, release);
  }
  if (end.action === "wait") return draft.wakeAt(draft.now + WINDOW_MS);
  if (end.action === "abort")
    return giveBack(draft, release, `${release.version} rolls back: ${end.because}`, bad(end.because));
  pause(draft, release, { by: "analysis", reason: `${end.because} (${said})`, until: null });
}

function inconclusive(draft: Draft, release: ReleaseFacts, analysis: AnalysisSpec, because: string): void {
  const message = `the step's time is up and ${because}`;
  // Nothing measured is never a pass, even where the policy says promote.
  if (analysis.onInconclusive === "abort") {
    return giveBack(draft, release, `${release.version} rolls back: ${message}`, bad(message));
  }
  pause(draft, release, { by: "analysis", reason: message, until: null });
}

const bad = (message: string): ReleaseFailure => ({ code: "analysis_inconclusive", message, logs: [] });

/** A failed analysis acts at once, in the middle of any step. True: it did. */
function judged(draft: Draft, release: ReleaseFacts): boolean {
  const { strategy } = release.spec;
  const decision = judgement(draft, release);
  if (strategy.kind !== "canary" || decision?.verdict !== "rollback" || release.weightBp === 0) return false;
  const message = describe(decision, strategy.analysis.onFailure);
  if (strategy.analysis.onFailure === "pause") {
    if (release.paused?.by === "analysis") return false;
    pause(draft, release, { by: "analysis", reason: message, until: null });
    return true;
  }
  const [canary, stable] = [decision.rollout.canary, decision.rollout.baseline];
  const rate = (side: { errors: number; requests: number }) =>
    `${((100 * side.errors) / Math.max(1, side.requests)).toFixed(1)} % of ${side.requests}`;
  const failure = {
    code: "analysis_failed",
    message,
    check: {
      name: `canary analysis (${decision.reason})`,
      value: `errors ${rate(canary)}`,
      limit: `stable: ${rate(stable)}`,
    },
    logs: [],
  };
  giveBack(draft, release, `${release.version} rolls back: ${message}`, failure);
  return true;
}

const judgement = (draft: Draft, release: ReleaseFacts) =>
  draft.facts.analysis?.release === release.id ? draft.facts.analysis.decision : undefined;

export function nextStep(draft: Draft, release: ReleaseFacts): void {
  // A pause that a person or the judge set lies inside a step; a pause step is a step of its own; a hold comes before all.
  const entered = release.stepSince !== null;
  const steps = stepsOf(release.spec);
  const index = (release.stepIndex ?? 0) + (entered && steps.length > 0 ? 1 : 0);
  draft.changeRelease(release.id, {
    stepIndex: Math.min(index, Math.max(0, steps.length - 1)),
    stepSince: null,
    paused: null,
  });
}

export function pause(draft: Draft, release: ReleaseFacts, why: Omit<Paused, "at">): void {
  draft.changeRelease(release.id, {
    paused: { ...why, at: draft.now },
    // A person has this long; whoever never comes back leaves stable in charge.
    deadlineAt: Math.max(release.deadlineAt ?? 0, draft.now + release.spec.deadlines.pauseMs),
  });
  draft.event("release.progress", release.id, `${release.version}: paused, ${why.reason}`, {
    paused: { by: why.by, reason: why.reason, until: why.until },
  });
}

function words(step: Step): string {
  if (step.kind === "pause")
    return step.forMs === null ? "wait for a promote" : `pause for ${step.forMs / 1000} s`;
  if (step.kind === "analysis") return `wait for proof, at most ${step.forMs / 1000} s`;
  return `weight ${percent(step.weightBp)}${step.bakeMs > 0 ? ` for ${step.bakeMs / 1000} s` : ""}`;
}

// --- rolling --------------------------------------------------------------------------------------------------------

function rollOn(draft: Draft, release: ReleaseFacts, strategy: Rolling): void {
  const broken = brokenStart(draft, release);
  if (broken) return giveBack(draft, release, `${release.version} rolls back: ${broken.message}`, broken);
  askNew(draft, release);
  const stable = servingStable(draft, release);
  const limits = rollLimits(strategy, release.spec.replicas);
  if (roll(draft, { to: release, from: stable, limits, grow: true }) === "done")
    takeOver(draft, draft.release(release.id) ?? release);
}

/** A new instance that never became ready, or is ready and does not answer on its real path. */
function brokenStart(draft: Draft, release: ReleaseFacts): ReleaseFailure | undefined {
  const job = jobsOf(draft, release, "start").find(({ state }) => state === "failed");
  if (job) return failureOf(draft, job);
  const late = draft
    .instancesOf(release.id)
    .find(
      (instance) =>
        instance.state === "ready" && instance.stateSince + release.spec.deadlines.verifyMs <= draft.now,
    );
  if (!late) return undefined;
  const message = `${late.hostName}: ${late.origin} does not answer: ${late.verifyCause ?? "no answer yet"}`;
  return { code: "unreachable", message, host: late.hostName, instance: late.id, logs: [] };
}

function askNew(draft: Draft, release: ReleaseFacts): void {
  const waiting = draft
    .instancesOf(release.id)
    .filter((instance) => instance.state === "ready" && instance.verifiedAt === null);
  draft.decision.probes.push(...waiting);
  if (waiting.length > 0) draft.wakeAt(draft.now + PROBE_INTERVAL_MS);
}

function servingStable(draft: Draft, release: ReleaseFacts): ReleaseFacts | undefined {
  const stable = draft.facts.stableReleaseId ? draft.release(draft.facts.stableReleaseId) : undefined;
  return stable && stable.id !== release.id && stable.weightBp > 0 ? stable : undefined;
}

// --- lost instances -------------------------------------------------------------------------------------------------

/** Why the release can't be trusted with traffic any more: none of its serving instances answers. */
function lostCause(draft: Draft, release: ReleaseFacts): ReleaseFailure | undefined {
  const serving = draft.instancesOf(release.id).filter((instance) => instance.state === "serving");
  if (serving.length === 0 || release.weightBp === 0) return undefined;
  draft.decision.probes.push(...serving);
  draft.wakeAt(draft.now + WATCH_MS);
  const since = serving.map((instance) => downSince(instance));
  if (since.some((time) => time === null || time + LOST_MS > draft.now)) return undefined;
  const each = serving.map(
    (instance) => `${instance.hostName}: ${instance.verifyCause ?? instance.reportCause ?? "not ready"}`,
  );
  return { code: "instances_lost", message: `all its instances are lost (${each.join("; ")})`, logs: [] };
}

function downSince(instance: InstanceFacts): number | null {
  if (instance.unreachableSince !== null) return instance.unreachableSince;
  return instance.reportState === "ready" ? null : instance.reportAt;
}

// --- settling → live ------------------------------------------------------------------------------------------------

/** The release has all traffic: the others drain, and the next release may begin. */
export function takeOver(draft: Draft, release: ReleaseFacts): void {
  shiftWeights(draft, new Map([[release.id, FULL_WEIGHT]]));
  draft.moveRelease(release, "settling", `${release.version} serves 100 %`, {
    servingAt: draft.now,
    weightBp: FULL_WEIGHT,
    paused: null,
  });
  draft.decision.environment.stableReleaseId = release.id;
}

export function settle(draft: Draft, release: ReleaseFacts): void {
  const failure = lostCause(draft, release) ?? smokeFailure(draft, release);
  if (failure === "asking") return;
  if (failure && takeBack(draft, release, failure)) return;
  const due = draft.facts.instances
    .filter((instance) => instance.releaseId !== release.id && instance.state === "draining")
    .map((instance) => instance.drainUntil ?? 0);
  const last = Math.max((release.servingAt ?? 0) + STALENESS_MS, ...due);
  if (last > draft.now) return draft.wakeAt(last);
  draft.moveRelease(release, "live", `${release.version} is live`, { endedAt: draft.now });
}

function smokeFailure(draft: Draft, release: ReleaseFacts): ReleaseFailure | "asking" | undefined {
  if (release.spec.smoke.length === 0) return undefined;
  const outcome = release.smoke?.after;
  if (outcome) return outcome.failure ?? undefined;
  draft.decision.smokes.push({ release, when: "after" });
  return "asking";
}

/** Back to what served before, if that still runs. False: there is nothing to go back to, so what serves stays. */
function takeBack(draft: Draft, release: ReleaseFacts, failure: ReleaseFailure): boolean {
  const target = rollbackTarget(draft.facts, release);
  const warm = target
    ? draft.instancesOf(target.id).filter((instance) => instance.reportState === "ready")
    : [];
  if (!target || warm.length === 0) return false;
  const message = `${release.version} rolls back to ${target.version}: ${failure.message}`;
  draft.moveRelease(release, "rolling_back", message, { failure, endedAt: null });
  shiftWeights(draft, new Map([[target.id, FULL_WEIGHT]]));
  draft.decision.environment.stableReleaseId = target.id;
  return true;
}

/** The rollback window is closed: what only the old release needed may go. Once, and never twice. */
export function contract(draft: Draft, release: ReleaseFacts): void {
  const command = release.spec.hooks.contract;
  if (
    !command ||
    release.kind === "rollback" ||
    release.contractedAt !== null ||
    release.weightBp < FULL_WEIGHT
  )
    return;
  const opensAt = (release.servingAt ?? draft.now) + release.spec.keepMs;
  if (opensAt > draft.now) return draft.wakeAt(opensAt);
  if (draft.facts.instances.some((instance) => instance.releaseId !== release.id)) return;
  const job = draft.facts.jobs.find(({ id }) => id === `contract-${release.id}`);
  if (job) {
    if (job.state === "done") {
      draft.changeRelease(release.id, { contractedAt: draft.now });
      draft.event(
        "release.progress",
        release.id,
        `${release.version}: contract hook done, nothing older can serve any more`,
      );
    }
    return;
  }
  const [instance] = draft.instancesOf(release.id);
  if (!instance) return;
  orderHook(draft, release, {
    hook: "contract",
    command,
    host: instance.hostId,
    image: release.pinnedImage ?? release.image,
  });
}

// --- rolling back ---------------------------------------------------------------------------------------------------

export function endRollback(draft: Draft, release: ReleaseFacts): void {
  const { strategy } = release.spec;
  const stable = draft.facts.stableReleaseId ? draft.release(draft.facts.stableReleaseId) : undefined;
  if (strategy.kind === "rolling" && stable && stable.id !== release.id) {
    askNew(draft, stable);
    const failed = jobsOf(draft, stable, "start").some(
      (job) => job.state === "failed" && job.createdAt >= release.stateSince,
    );
    const limits = rollLimits(strategy, stable.spec.replicas);
    // Where the old release can't be started again either, what is left of it takes all of the traffic.
    if (roll(draft, { to: stable, from: release, limits, grow: !failed }) === "going") return;
    shiftWeights(draft, new Map([[stable.id, FULL_WEIGHT]]));
  }
  const busy = draft.instancesOf(release.id).filter((instance) => instance.state !== "stopping");
  if (busy.length > 0) return;
  draft.moveRelease(release, "rolled_back", `${release.version} is rolled back`, { endedAt: draft.now });
}
