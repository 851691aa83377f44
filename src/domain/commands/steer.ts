import { awaited, isGated, waitWords } from "../approval/gate.ts";
import { err, ok, type Result } from "../result.ts";
import { answering, canCarry } from "../rollout/carry.ts";
import { Draft } from "../rollout/draft.ts";
import type { EnvironmentFacts } from "../rollout/facts.ts";
import { isActive, type ReleaseFacts } from "../rollout/release.ts";
import { shiftWeights } from "../rollout/shift.ts";
import { takeOver } from "../rollout/states/settling.ts";
import { goOn, pause as hold, nextStep } from "../rollout/states/shifting.ts";
import { begunStep, percent, stepsOf } from "../rollout/steps.ts";
import { strengthOf } from "../rollout/watch.ts";
import { FULL_WEIGHT } from "../routing/table.ts";
import { inWords } from "../state-words.ts";
import { shiftingAlready } from "./obstacles.ts";
import type { Outcome, Refusal } from "./refusal.ts";

/** A person at the wheel: promote, pause, resume, and weights by hand. */

export interface Steer {
  readonly release: string;
  readonly actor: string;
  /** The step the caller saw (0-based): a stale one is refused, so that a double click skips nothing. */
  readonly step: number | null;
}

/** Ends the current step, bake or pause; `full`: all the rest of them. */
export function promote(
  facts: EnvironmentFacts,
  input: Steer & { readonly full: boolean },
  now: number,
): Outcome<object> {
  const found = steerable(facts, input);
  if (!found.ok) return found;
  const draft = new Draft(facts, now, input.actor);
  const release = found.value;
  const gate = input.full ? gateAhead(release) : undefined;
  if (gate) return err(gate);
  if (!canCarry(release, draft.instancesOf(release.id), now) && release.spec.strategy.kind !== "rolling") {
    const detail = `${release.version} can't carry more traffic now: ${strengthOf(draft, release)}`;
    return err({ code: "release_not_serving", detail });
  }
  draft.event(
    "release.progress",
    release.id,
    `${release.version}: promoted by ${input.actor}${input.full ? ", in full" : ""}`,
  );
  if (release.spec.strategy.kind === "rolling") goOn(draft, release);
  else if (input.full) takeOver(draft, release);
  else nextStep(draft, release);
  return ok({ decision: draft.decision });
}

/** Holds the release where it is, until `resume` or `promote`. */
export function pause(facts: EnvironmentFacts, input: Steer, now: number): Outcome<object> {
  const found = steerable(facts, input);
  if (!found.ok) return found;
  const draft = new Draft(facts, now, input.actor);
  hold(draft, found.value, { by: input.actor, reason: `paused by ${input.actor}`, until: null });
  return ok({ decision: draft.decision });
}

/** Goes on with the step it was in. After weights by hand its weight is set and it begins anew; a planned pause ends. */
export function resume(facts: EnvironmentFacts, input: Steer, now: number): Outcome<object> {
  const found = steerable(facts, input);
  if (!found.ok) return found;
  const release = found.value;
  if (!release.paused) return err({ code: "stale_step", detail: `${release.version} is not paused` });
  const draft = new Draft(facts, now, input.actor);
  waitAnew(draft, release);
  const steps = stepsOf(release.spec).slice(0, (release.stepIndex ?? 0) + 1);
  const weighed = steps.findLastIndex((step) => step.kind === "weight");
  const weight = steps[weighed];
  if (steps.at(-1)?.kind === "pause" && release.stepSince !== null) nextStep(draft, release);
  else goOn(draft, release);
  if (release.paused.by !== "sluice" && weight?.kind === "weight" && weight.weightBp !== release.weightBp)
    draft.changeRelease(release.id, { stepIndex: weighed, stepSince: null });
  draft.event("release.progress", release.id, `${release.version}: resumed by ${input.actor}`);
  return ok({ decision: draft.decision });
}

/** What a step may wait for proof begins anew: a release that a pause held up is not out of time at once. */
function waitAnew(draft: Draft, release: ReleaseFacts): void {
  const step = stepsOf(release.spec)[release.stepIndex ?? 0];
  if (release.stepSince === null || !step || step.kind === "pause") return;
  const bakeMs = step.kind === "weight" ? step.bakeMs : 0;
  draft.changeRelease(release.id, { stepSince: Math.max(release.stepSince, draft.now - bakeMs) });
}

function steerable(facts: EnvironmentFacts, { release: id, step }: Steer): Result<ReleaseFacts, Refusal> {
  const release = facts.releases.find((candidate) => candidate.id === id);
  if (!release) return err({ code: "not_found", detail: `no release ${id} in this environment` });
  if (release.state !== "shifting") {
    return err({
      code: "stale_step",
      detail: `${release.version} is ${inWords(release.state)}: there is no step to steer`,
    });
  }
  const refusal = unapproved(release);
  if (refusal) return err(refusal);
  const isOther = step !== null && step !== begunStep(release);
  return isOther ? err({ code: "stale_step", detail: otherStep(release, step) }) : ok(release);
}

function otherStep(release: ReleaseFacts, seen: number): string {
  const { version, stepIndex, stepSince } = release;
  const place = `step ${(stepIndex ?? 0) + 1} of ${stepsOf(release.spec).length}`;
  const named = seen < 0 ? "before its first" : `in step ${seen + 1}`;
  const now =
    stepSince === null && seen === stepIndex
      ? `before ${place}, which has not begun (\`--step ${seen}\` names that)`
      : `in ${place}, not ${named} any more`;
  return `${version} is ${now}: look again before you promote`;
}

/** Until it is approved nobody moves it on, and nobody holds it longer. */
function unapproved(release: ReleaseFacts): Refusal | undefined {
  const approval = awaited(release);
  if (!approval) return undefined;
  const { id, version } = release;
  const next = [
    { command: `sluice approve ${id}`, when: "you are an approver, and did not start it" },
    { command: `sluice reject ${id}`, when: "it is not to go on" },
  ];
  return { code: "approval_needed", detail: `${version} ${waitWords(approval)}`, next };
}

/** A step to come waits for an approval: nobody goes round it. */
function gateAhead(release: ReleaseFacts): Refusal | undefined {
  const ahead = stepsOf(release.spec).slice((release.stepIndex ?? 0) + 1);
  const isAhead = ahead.some((step) => step.kind === "pause" && step.forMs === null);
  if (!isAhead || !isGated(release, "step")) return undefined;
  const detail = `${release.version} has a step before it that needs an approval: promote it step by step`;
  return { code: "approval_needed", detail };
}

export interface SetWeights {
  /** Basis points by release id, summing to 10,000. */
  readonly weights: Readonly<Record<string, number>>;
  readonly actor: string;
  /** `rev` of the environment this was decided on; another one now is refused. Null: whatever it is. */
  readonly seenRev: number | null;
}

/** Gives the traffic by hand. Weights in basis points by release id, summing to 10,000. */
export function setWeights(facts: EnvironmentFacts, input: SetWeights, now: number): Outcome<object> {
  if (input.seenRev !== null && input.seenRev !== facts.rev) {
    const detail = "the environment changed while this was on its way: look again, then decide";
    return err({ code: "precondition_failed", detail });
  }
  const draft = new Draft(facts, now, input.actor);
  const entries = Object.entries(input.weights);
  const invalid = invalidIn(entries);
  if (invalid) return err(invalid);
  const steered = facts.releases.find(
    (release) => release.state === "shifting" && release.spec.strategy.kind !== "rolling",
  );
  const more = steered !== undefined && (input.weights[steered.id] ?? 0) > steered.weightBp;
  const refusal = steered && (unapproved(steered) ?? (more ? gateAhead(steered) : undefined));
  if (refusal) return err(refusal);
  const able = facts.releases.filter((release) =>
    release.id === steered?.id ? answeringOf(facts, release, now) > 0 : canServe(facts, release, now),
  );
  for (const [id, weightBp] of entries) {
    if (weightBp === 0 || able.some((release) => release.id === id)) continue;
    const release = facts.releases.find((candidate) => candidate.id === id);
    const named = release ? `${release.version} (${inWords(release.state)})` : id;
    const others = able.map((candidate) => candidate.version).join(", ") || "none";
    return err({
      code: "release_not_serving",
      detail: `${named} has no ready instance to take traffic; releases that could: ${others}`,
    });
  }
  const weak = tooWeak(facts, entries, now);
  if (weak) return err(weak);
  const rolling = facts.releases.find(
    ({ state, spec }) => ["shifting", "rolling_back"].includes(state) && spec.strategy.kind === "rolling",
  );
  if (rolling) {
    const detail = `${rolling.version} rolls from instance to instance and its weight follows them: wait until it is through`;
    return err({ code: "release_in_progress", detail });
  }
  const active = facts.releases.find(
    (release) =>
      isActive(release.state) && release.id !== steered?.id && (input.weights[release.id] ?? 0) > 0,
  );
  if (active) return err(shiftingAlready(active));
  const third = steered && facts.releases.find(({ id }) => isThird(facts, steered, id, input.weights));
  if (third) {
    const detail = `${steered.version} is on its way, so only it and stable share the traffic: a promote or an abort would take ${third.version} by surprise. Abort or finish ${steered.version} first`;
    return err({ code: "release_in_progress", detail });
  }
  if (steered && input.weights[steered.id] === FULL_WEIGHT) {
    takeOver(draft, steered);
    return ok({ decision: draft.decision });
  }
  shiftWeights(draft, new Map(entries));
  if (steered) {
    const share = percent(input.weights[steered.id] ?? 0);
    hold(draft, steered, { by: input.actor, reason: `weight set by hand to ${share}`, until: null });
  } else draft.changeEnvironment({ stableReleaseId: stableAfter(facts, entries) });
  return ok({ decision: draft.decision });
}

/** While one is on its way its steps weigh it against stable alone. */
const isThird = (
  { stableReleaseId }: EnvironmentFacts,
  steered: ReleaseFacts,
  id: string,
  weights: SetWeights["weights"],
): boolean => id !== steered.id && id !== stableReleaseId && (weights[id] ?? 0) > 0;

/** Stable stays stable while it has any traffic, unless another has all of it; else the heaviest takes its part. */
function stableAfter(
  facts: EnvironmentFacts,
  entries: readonly (readonly [string, number])[],
): string | null {
  const [heaviest] = [...entries].sort(([, a], [, b]) => b - a);
  const kept = entries.some(([id, weightBp]) => id === facts.stableReleaseId && weightBp > 0);
  return kept ? facts.stableReleaseId : (heaviest?.[0] ?? null);
}

type Entries = readonly (readonly [string, number])[];

function invalidIn(entries: Entries): Refusal | undefined {
  const code = "weights_invalid";
  const odd = entries.find(([, weightBp]) => !Number.isInteger(weightBp) || weightBp < 0);
  if (odd)
    return { code, detail: `the weight ${odd[1] / 100} % of ${odd[0]} is not one of 0 %, 0.01 %, … 100 %` };
  const total = entries.reduce((sum, [, weightBp]) => sum + weightBp, 0);
  if (total === FULL_WEIGHT) return undefined;
  return { code, detail: `the weights sum to ${total / 100} %, not to 100 %` };
}

function tooWeak(facts: EnvironmentFacts, entries: Entries, now: number): Refusal | undefined {
  const weak = entries.find(([id, weightBp]) => isTooWeak(facts, { id, weightBp }, now));
  const release = facts.releases.find(({ id }) => id === weak?.[0]);
  if (!weak || !release) return undefined;
  const detail = `${release.version} can't carry ${percent(weak[1])}: ${answeringOf(facts, release, now)} of its ${release.spec.replicas} instances answer, and who has that traffic now can carry it`;
  return { code: "release_not_serving", detail };
}

/** It would get more from who can carry it, and can't itself. */
function isTooWeak(
  facts: EnvironmentFacts,
  given: { readonly id: string; readonly weightBp: number },
  now: number,
): boolean {
  const carries = (release: ReleaseFacts) =>
    canCarry(
      release,
      facts.instances.filter(({ releaseId }) => releaseId === release.id),
      now,
    );
  const release = facts.releases.find(({ id }) => id === given.id);
  if (!release || given.weightBp <= release.weightBp || carries(release)) return false;
  return facts.releases.some((other) => other.id !== release.id && other.weightBp > 0 && carries(other));
}

const canServe = (facts: EnvironmentFacts, release: ReleaseFacts, now: number): boolean =>
  release.servingAt !== null && answeringOf(facts, release, now) > 0;

const answeringOf = (facts: EnvironmentFacts, { id }: ReleaseFacts, now: number): number =>
  answering(
    facts.instances.filter(({ releaseId }) => releaseId === id),
    now,
  ).length;
