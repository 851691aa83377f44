import { awaited, isGated, notApproved, passes, waitWords } from "../../approval/gate.ts";
import { describe, endStep, type Judgement, type StepAction } from "../../canary/index.ts";
import { workerFailure } from "../../processes/workers.ts";
import { WINDOW_MS } from "../../routing/meter.ts";
import { FULL_WEIGHT } from "../../routing/table.ts";
import type { AnalysisSpec, Step } from "../../spec.ts";
import { askForLines } from "../analysis/asked-request.ts";
import { analysisFailed, judgementOf, tellOnce, wordsOf } from "../analysis/consequences.ts";
import { analysisOf } from "../analysis/judged.ts";
import { answering, canCarry, isLost } from "../carry.ts";
import { late, openWork } from "../causes.ts";
import type { Draft } from "../draft.ts";
import { giveBack } from "../ending.ts";
import type { Paused, ReleaseFacts, ReleaseFailure } from "../release.ts";
import { comingOf } from "../roll.ts";
import { rollOn } from "../rolling-release.ts";
import { servingStable, shiftWeights } from "../shift.ts";
import { brokenStart } from "../starts.ts";
import { stepLabel, stepsOf } from "../steps.ts";
import { leavingOf, makesWay, wayOwed } from "../upkeep/make-way.ts";
import { ableHeir, lossOf, strengthOf, watch } from "../watch.ts";
import { takeOver, takeOverFrom } from "./settling.ts";
import type { StateRule } from "./state-rule.ts";

/** shifting → settling: traffic shifts to it, step by step. Past its deadline, what it has goes back. */
export const shifting: StateRule = {
  work: shift,
  overdue: (draft, release) => {
    const approval = awaited(release);
    const failure = approval
      ? notApproved(release, approval)
      : late(draft, release, waitsFor(draft, release));
    if (giveBack(draft, release, `${release.version} rolls back: ${failure.message}`, failure)) return;
    if (!approval) finishAnyway(draft, release);
  },
};

/** Whoever could have it back has had another look, can't carry it, and gets no more instances: most of it is here already. */
function finishAnyway(draft: Draft, release: ReleaseFacts): void {
  const stable = servingStable(draft, release);
  if (release.failure === null || !stable || stable.weightBp >= release.weightBp) return;
  const isMoving = [...comingOf(draft, stable), ...leavingOf(draft, release)].length > 0;
  if (isMoving || !canCarry(release, draft.instancesOf(release.id), draft.now)) return;
  takeOverFrom(draft, release, `${strengthOf(draft, stable)}, ${strengthOf(draft, release)}`);
}

function waitsFor(draft: Draft, release: ReleaseFacts): string {
  const { paused } = release;
  if (paused) return `paused by ${paused.by} (${paused.reason}), and nobody went on`;
  return openWork(draft, release, "its steps were not over");
}

/** Its first step is next, or it is held before it. The visitors' buckets are dealt anew. */
export function openShift(draft: Draft, release: ReleaseFacts, message: string): void {
  const words = release.hold ? `${release.version}: prepared, held at 0 %` : message;
  draft.moveRelease(release, "shifting", words, {
    stepIndex: 0,
    stepSince: null,
    paused: null,
    deadlineAt: draft.now + release.spec.deadlines.releaseMs,
  });
  draft.changeEnvironment({ salt: release.id });
  if (release.hold) holdAtNothing(draft, release);
  if (!passes(draft, draft.release(release.id) ?? release, { gate: "traffic" }))
    waitForApproval(draft, release);
}

/** Prepared, and no visitor's yet, until somebody promotes it. */
export function holdAtNothing(draft: Draft, release: ReleaseFacts): void {
  const reason = "prepared and held at 0 %, as asked";
  const paused = { at: draft.now, by: "sluice", reason, until: null };
  draft.changeRelease(release.id, { paused, deadlineAt: draft.now + release.spec.deadlines.pauseMs });
}

/** It holds where it is. Its deadline is the approval's. */
function waitForApproval(draft: Draft, release: ReleaseFacts): void {
  const approval = draft.release(release.id)?.approval;
  if (!approval) return;
  const paused = { at: draft.now, by: "sluice", reason: waitWords(approval), until: null };
  draft.changeRelease(release.id, { paused });
}

function shift(draft: Draft, release: ReleaseFacts): void {
  const { strategy } = release.spec;
  const stable = servingStable(draft, release);
  if (stable) watch(draft, stable);
  const loss = lossOnItsWay(draft, release) ?? wayOwed(draft, release);
  if (loss && giveBack(draft, release, `${release.version} rolls back: ${loss.message}`, loss)) return;
  if (judged(draft, release)) return;
  // What nobody has let in yet stays out, whatever becomes of stable.
  if (awaited(release)?.gate === "traffic") return;
  if (strategy.kind !== "rolling" && stable && isBeyondHelp(draft, stable, release))
    return takeOverFrom(draft, release, `${strengthOf(draft, stable)}, ${strengthOf(draft, release)}`);
  // It keeps what it has, and gets no more.
  if (loss || makesWay(release)) return;
  if (release.paused) {
    if (release.paused.until === null || release.paused.until > draft.now)
      return draft.wakeAt(release.paused.until);
    return nextStep(draft, release);
  }
  if (strategy.kind === "rolling") return rollOn(draft, release, strategy);
  const step = stepsOf(release.spec)[release.stepIndex ?? 0];
  if (!step) throw new Error(`release ${release.id} has no step ${release.stepIndex}`);
  // A first release has nobody to be compared with; a rollback goes to what has served before.
  if (release.kind !== "deploy" || !stable) return whenAble(draft, release, takeOver);
  if (release.stepSince === null) return enter(draft, release, step);
  if (release.weightBp < weightOf(release)) return enterAgain(draft, release);
  remain(draft, release, step);
}

/** One that is held at 0 % costs nobody anything while it is down. */
function lossOnItsWay(draft: Draft, release: ReleaseFacts): ReleaseFailure | undefined {
  if (release.paused && release.weightBp === 0) return undefined;
  watch(draft, release);
  const broken = release.spec.strategy.kind === "rolling" ? brokenStart(draft, release) : undefined;
  return broken ?? lossOf(draft, release) ?? workerFailure(draft, release);
}

/** Stable is lost, the release can carry (or alone answers at all), and nothing that is warm could take stable's place. */
function isBeyondHelp(draft: Draft, stable: ReleaseFacts, release: ReleaseFacts): boolean {
  const { now } = draft;
  const [theirs, mine] = [draft.instancesOf(stable.id), draft.instancesOf(release.id)];
  if (!isLost(stable, theirs, { now })) return false;
  if (ableHeir(draft, stable)) return false;
  if (canCarry(release, mine, now)) return true;
  return answering(theirs, now).length === 0 && answering(mine, now).length > 0;
}

/** Moves traffic to it once it can carry it. What is down for good ends it before. */
function whenAble(draft: Draft, release: ReleaseFacts, move: (draft: Draft, to: ReleaseFacts) => void): void {
  if (canCarry(release, draft.instancesOf(release.id), draft.now)) move(draft, release);
}

/** What its last weight step gives it; null: none was reached yet. */
function weightOf(release: ReleaseFacts): number {
  const reached = stepsOf(release.spec).slice(0, (release.stepIndex ?? 0) + 1);
  const step = reached.findLast((candidate) => candidate.kind === "weight");
  return step?.kind === "weight" ? step.weightBp : 0;
}

/** Its share went elsewhere meanwhile (stable was lost and replaced): its time begins anew. */
function enterAgain(draft: Draft, release: ReleaseFacts): void {
  const reached = stepsOf(release.spec).slice(0, (release.stepIndex ?? 0) + 1);
  const stepIndex = reached.findLastIndex((candidate) => candidate.kind === "weight");
  draft.changeRelease(release.id, { stepIndex: Math.max(0, stepIndex), stepSince: null });
}

function enter(draft: Draft, release: ReleaseFacts, step: Step): void {
  if (step.kind === "weight") return whenAble(draft, release, () => begin(draft, release, step));
  begin(draft, release, step);
}

function begin(draft: Draft, release: ReleaseFacts, step: Step): void {
  const of = stepsOf(release.spec).length;
  draft.changeRelease(release.id, { stepSince: draft.now });
  if (step.kind === "weight") {
    const stable = draft.facts.stableReleaseId;
    const weights = new Map([[release.id, step.weightBp]]);
    if (stable && step.weightBp < FULL_WEIGHT) weights.set(stable, FULL_WEIGHT - step.weightBp);
    if (step.weightBp === FULL_WEIGHT) return takeOver(draft, release);
    shiftWeights(draft, weights);
  }
  if (step.kind === "pause" && step.forMs === null && isGated(release, "step")) {
    const at = { gate: "step", step: release.stepIndex ?? 0 } as const;
    // Gone through again: what was approved is.
    if (passes(draft, release, at)) return nextStep(draft, draft.release(release.id) ?? release);
    waitForApproval(draft, release);
  } else if (step.kind === "pause") {
    const until = step.forMs === null ? null : draft.now + step.forMs;
    const reason = until === null ? "waits to be promoted" : "pauses as planned";
    pause(draft, release, { by: "sluice", reason, until });
  }
  const number = (release.stepIndex ?? 0) + 1;
  draft.event(
    "release.progress",
    release.id,
    `${release.version}: step ${number} of ${of}, ${stepLabel(step)}`,
    {
      step: number - 1,
      of,
    },
  );
}

/** In a step that has begun: is it over? */
function remain(draft: Draft, release: ReleaseFacts, step: Step): void {
  const { strategy } = release.spec;
  if (step.kind === "pause" || strategy.kind !== "canary") return nextStep(draft, release);
  const analysis = strategy.analysis;
  const bakeMs = step.kind === "weight" ? step.bakeMs : 0;
  const until = (release.stepSince ?? draft.now) + bakeMs;
  if (draft.now < until) return draft.wakeAt(until);
  const decision = judgementOf(draft, release, "beside");
  const waitMs = step.kind === "analysis" ? step.forMs : analysis.maxWaitMs;
  const canWait = draft.now < until + waitMs;
  // Without visitors there is nothing to prove.
  const isUnseen = step.kind === "weight" && (bakeMs === 0 || step.weightBp === 0);
  if (!analysis.enabled || isUnseen) return nextStep(draft, release);
  if (analysis.mode === "report") return report(draft, release, analysis, decision);
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
  askForLines(draft, release, decision);
  if (end.action === "abort")
    return void giveBack(draft, release, `${release.version} rolls back: ${end.because}`, bad(end.because));
  pause(draft, release, { by: "analysis", reason: `${end.because} (${said})`, until: null });
}

/** Says what it would have done, and goes on. */
function report(
  draft: Draft,
  release: ReleaseFacts,
  analysis: AnalysisSpec,
  decision: Judgement | undefined,
): void {
  const end = decision && endStep(decision, { ...analysis, canWait: true });
  const would = end ? WOULD[end.action] : "would have waited: no request was measured";
  const said = decision ? ` (${describe(decision, "report")})` : "";
  const message = `${release.version}: report only, ${would}${end ? `: ${end.because}` : ""}${said}`;
  draft.event("release.progress", release.id, message, { verdict: decision?.verdict ?? null });
  nextStep(draft, release);
}

const WOULD: Readonly<Record<StepAction, string>> = {
  rollback: "would have been rolled back",
  pause: "would have been paused",
  promote: "would have been promoted",
  ask: "would have asked",
  abort: "would have been aborted",
  wait: "would have waited",
};

function inconclusive(draft: Draft, release: ReleaseFacts, analysis: AnalysisSpec, because: string): void {
  const message = `the step's time is up and ${because}`;
  // Nothing measured is never a pass, even where the policy says promote.
  if (analysis.onInconclusive === "abort") {
    return void giveBack(draft, release, `${release.version} rolls back: ${message}`, bad(message));
  }
  pause(draft, release, { by: "analysis", reason: message, until: null });
}

const bad = (message: string): ReleaseFailure => ({ code: "analysis_inconclusive", message, logs: [] });

/** A failed analysis acts at once, in the middle of any step. True: it did. */
function judged(draft: Draft, release: ReleaseFacts): boolean {
  const { strategy, watch } = release.spec;
  const decision = judgementOf(draft, release, "beside");
  if (decision?.verdict !== "rollback" || release.weightBp === 0) return false;
  const { onFailure, mode } = analysisOf(release.spec);
  if (mode === "report") return reported(draft, release, decision);
  const message = wordsOf(decision, { release, how: "beside" });
  const failure = analysisFailed(decision, message);
  askForLines(draft, release, decision);
  if (strategy.kind === "rolling" && watch === "alert") {
    tellOnce(draft, release, failure, `${release.version} is worse than stable: ${message}`);
    return false;
  }
  if (onFailure === "pause") {
    if (release.paused?.reason === message) return false;
    pause(draft, release, { by: "analysis", reason: message, until: null });
    return true;
  }
  return giveBack(draft, release, `${release.version} rolls back: ${message}`, failure);
}

/** Said once: the time that the verdict took is kept. */
function reported(draft: Draft, release: ReleaseFacts, decision: Judgement): false {
  if (release.timings.verdict !== undefined) return false;
  const verdict = Math.max(0, draft.now - (release.startedAt ?? release.createdAt));
  draft.changeRelease(release.id, { timings: { ...release.timings, verdict } });
  askForLines(draft, release, decision);
  const message = `${release.version}: report only, would have been rolled back: ${wordsOf(decision, { release, how: "beside" })}`;
  draft.event("release.progress", release.id, message, { verdict: decision.verdict });
  return false;
}

/**
 * Ends the step that has begun; one that has not (a release held at 0 %) begins now. A release that a person gave more than
 * its steps would is not taken down by the steps to come: those that are not more are passed over.
 */
export function nextStep(draft: Draft, release: ReleaseFacts): void {
  const steps = stepsOf(release.spec);
  let index = (release.stepIndex ?? 0) + (release.stepSince === null ? 0 : 1);
  const isAhead = release.weightBp > weightOf(release);
  while (isAhead && isNoMore(steps[index], release)) index += 1;
  if (release.paused) goOn(draft, release);
  draft.changeRelease(release.id, {
    stepIndex: Math.min(index, Math.max(0, steps.length - 1)),
    stepSince: null,
  });
}

const isNoMore = (step: Step | undefined, { weightBp }: ReleaseFacts): boolean =>
  step?.kind === "weight" && step.weightBp <= weightBp;

/** Ends a pause. The time it took is not the release's: its deadline is set anew. */
export function goOn(draft: Draft, release: ReleaseFacts): void {
  const deadlineAt = draft.now + release.spec.deadlines.releaseMs;
  draft.changeRelease(release.id, { paused: null, deadlineAt });
}

export function pause(draft: Draft, release: ReleaseFacts, why: Omit<Paused, "at">): void {
  const { pauseMs, releaseMs } = release.spec.deadlines;
  draft.changeRelease(release.id, {
    paused: { ...why, at: draft.now },
    // A person has this long; whoever never comes back leaves stable in charge.
    deadlineAt: why.until === null ? draft.now + pauseMs : why.until + releaseMs,
  });
  draft.event("release.progress", release.id, `${release.version}: paused, ${why.reason}`, {
    paused: { by: why.by, reason: why.reason, until: why.until },
  });
}
