import { FULL_WEIGHT } from "../routing/table.ts";
import { type Rolling, resolveAmount } from "../spec.ts";
import type { Draft } from "./draft.ts";
import type { InstanceFacts, InstanceState } from "./facts.ts";
import { startInstance } from "./instances.ts";
import { place } from "./placement.ts";
import type { ReleaseFacts } from "./release.ts";
import { drainInstance, shiftWeights } from "./shift.ts";

/**
 * A rolling change: instances of `to` come up and instances of `from` go down, a few at a time, and the weight follows
 * those that serve. Run with the two swapped it puts everything back, which is what aborting a rolling release means.
 */
export interface Roll {
  readonly to: ReleaseFacts;
  readonly from: ReleaseFacts | undefined;
  readonly limits: RollLimits;
  /** False: no new instance of `to` is started; those that serve are all there will be. */
  readonly grow: boolean;
  /** False: those that are ready wait. */
  readonly admits: boolean;
}

export interface RollLimits {
  /** Instances beyond `replicas` that may exist for a moment. */
  readonly maxSurge: number;
  /** Serving instances that may be missing for a moment. */
  readonly maxUnavailable: number;
}

/** Percentages are of the replicas: surge rounds up, unavailable rounds down; both zero would never move, so one surges. */
export function rollLimits(strategy: Rolling, replicas: number): RollLimits {
  const maxSurge = resolveAmount(strategy.maxSurge, replicas, Math.ceil);
  const maxUnavailable = resolveAmount(strategy.maxUnavailable, replicas, Math.floor);
  return maxSurge + maxUnavailable === 0 ? { maxSurge: 1, maxUnavailable: 0 } : { maxSurge, maxUnavailable };
}

/** One tick of a roll. `done`: `to` has all its replicas serving and `from` none; `stuck`: no slot is free or ever will be. */
export function roll(draft: Draft, { to, from, limits, grow, admits }: Roll): "going" | "done" | "stuck" {
  if (admits) admit(draft, to, to.spec.replicas);
  const coming = draft.instancesOf(to.id).filter(isComing).length;
  const whole = grow ? to.spec.replicas : Math.min(to.spec.replicas, servingOf(draft, to).length + coming);
  const serving = () => ({ to: servingOf(draft, to).length, from: from ? servingOf(draft, from).length : 0 });
  release(draft, from, serving(), { floor: to.spec.replicas - limits.maxUnavailable, whole });
  weigh(draft, to, from, serving());
  const { to: up, from: left } = serving();
  if (up >= whole && left === 0) return "done";
  const started = grow ? start(draft, to, left, limits.maxSurge) : 0;
  return grow && started + coming === 0 && !isFreeing(draft) ? "stuck" : "going";
}

/** Those that are ready and answer on their real path begin to serve; warm ones of an interrupted roll come first. */
function admit(draft: Draft, to: ReleaseFacts, replicas: number): void {
  let room = replicas - servingOf(draft, to).length;
  const order = ["draining", "warm", "ready"];
  const able = draft
    .instancesOf(to.id)
    .filter((instance) => instance.reportState === "ready" && instance.verifiedAt !== null)
    .filter((instance) => order.includes(instance.state))
    .sort((a, b) => order.indexOf(a.state) - order.indexOf(b.state));
  for (const instance of able) {
    if (room-- <= 0) return;
    draft.changeInstance(
      instance,
      { state: "serving", drainUntil: null },
      `${to.version} on ${instance.hostName} serves`,
    );
  }
}

/** Lets go of as many old ones as keeps at least `floor` serving; all of them once the new ones are complete. */
function release(
  draft: Draft,
  from: ReleaseFacts | undefined,
  serving: { to: number; from: number },
  { floor, whole }: { floor: number; whole: number },
): void {
  if (!from) return;
  const surplus = serving.to >= whole ? serving.from : Math.max(0, serving.to + serving.from - floor);
  const worstFirst = servingOf(draft, from).sort((a, b) => Number(answers(a)) - Number(answers(b)));
  for (const instance of worstFirst.slice(0, surplus)) {
    drainInstance(draft, from, instance);
  }
}

function weigh(
  draft: Draft,
  to: ReleaseFacts,
  from: ReleaseFacts | undefined,
  serving: { to: number; from: number },
): void {
  const total = serving.to + serving.from;
  // Nobody serves for a moment: weights stay, and the edge waits for the first to come.
  if (total === 0) return;
  const weightBp = Math.round((FULL_WEIGHT * serving.to) / total);
  const weights = new Map([[to.id, weightBp]]);
  if (from) weights.set(from.id, FULL_WEIGHT - weightBp);
  shiftWeights(draft, weights, { keepInstances: true });
}

/** Starts as many as the surge allows and slots are free for. `left`: old instances that still serve. */
function start(draft: Draft, to: ReleaseFacts, left: number, maxSurge: number): number {
  const { replicas } = to.spec;
  const made = draft
    .instancesOf(to.id)
    .filter((instance) => isComing(instance) || instance.state === "serving").length;
  const wanted = Math.min(replicas - made, replicas + maxSurge - made - left);
  // Fewer slots than wanted is no failure: the next one frees when an old instance has stopped.
  for (let count = wanted; count > 0; count--) {
    const placed = place({ ...draft.facts, spec: { ...to.spec, replicas: count } }, draft.now);
    if (!placed.ok) continue;
    for (const slot of placed.value) startInstance(draft, to, slot);
    return count;
  }
  return 0;
}

/** An instance is on its way out, or just went, so a slot or room under the surge will be free. */
const isFreeing = (draft: Draft): boolean =>
  [...draft.facts.instances, ...draft.instances()].some(({ state }) => isLeaving(state));
const isLeaving = (state: InstanceState): boolean =>
  state === "draining" || state === "warm" || state === "stopping";

const servingOf = (draft: Draft, { id }: ReleaseFacts): InstanceFacts[] =>
  draft.instancesOf(id).filter((instance) => instance.state === "serving");

const answers = (instance: InstanceFacts): boolean =>
  instance.reportState === "ready" && instance.unreachableSince === null;

const isComing = (instance: InstanceFacts): boolean =>
  instance.state === "pending" || instance.state === "starting" || instance.state === "ready";
