import { FULL_WEIGHT } from "../routing/table.ts";
import { type Rolling, resolveAmount } from "../spec.ts";
import { answers, isDown } from "./carry.ts";
import type { Draft } from "./draft.ts";
import type { InstanceFacts, InstanceState } from "./facts.ts";
import { startInstance } from "./instances.ts";
import { place } from "./placing/placement.ts";
import { makeRoom } from "./placing/room.ts";
import type { ReleaseFacts } from "./release.ts";
import { stop } from "./retire.ts";
import { drainInstance, shiftWeights } from "./shift.ts";

/**
 * A rolling change: instances of `to` come up and instances of `from` go down, a few at a time, and the weight follows
 * those that answer. Run with the two swapped it puts everything back, which is what aborting a rolling release means.
 */
export interface Roll {
  readonly to: ReleaseFacts;
  /** All others that serve: stable, as a rule, and what shares its traffic. */
  readonly from: readonly ReleaseFacts[];
  readonly limits: RollLimits;
  /** False: those that are ready wait. */
  readonly admits: boolean;
  /** When the next instance of `to` may be started; past: now. */
  readonly startsAt: number;
  /** Hosts on which a start of `to` failed: others are tried first. */
  readonly avoid: readonly string[];
}

export interface RollLimits {
  /** Instances beyond `replicas` that may exist for a moment. */
  readonly maxSurge: number;
  /** Serving instances that may be missing for a moment. */
  readonly maxUnavailable: number;
  /** All of them may be, where nothing else gives a new one room. */
  readonly mayEmpty: boolean;
}

/**
 * Percentages are of the replicas: surge rounds up, unavailable rounds down; both zero would never move, so one surges. Where
 * all may be missing, one surges too while there is a slot for it: nobody is let go of before somebody else answers.
 */
export function rollLimits(strategy: Rolling, replicas: number): RollLimits {
  const maxSurge = resolveAmount(strategy.maxSurge, replicas, Math.ceil);
  const maxUnavailable = resolveAmount(strategy.maxUnavailable, replicas, Math.floor);
  const mayEmpty = maxUnavailable >= replicas;
  const atMost = Math.min(maxUnavailable, replicas - 1);
  return { maxSurge: maxSurge + atMost === 0 ? 1 : maxSurge, maxUnavailable: atMost, mayEmpty };
}

/** One tick of a roll. `done`: `to` has all its replicas answering and `from` none; `stuck`: no slot is free or ever will be. */
export function roll(draft: Draft, { to, from, ...how }: Roll): "going" | "done" | "stuck" {
  const { replicas } = to.spec;
  if (how.admits) admit(draft, to);
  letGo(draft, to, from, how.limits);
  weigh(draft, to, from);
  const left = servingOfAll(draft, from).length;
  if (soundOf(draft, to).length >= replicas && left === 0) {
    letReplacedGo(draft, to);
    letComingGo(draft, to);
    return "done";
  }
  if (how.startsAt > draft.now) {
    draft.wakeAt(how.startsAt);
    return "going";
  }
  const coming = comingOf(draft, to).length;
  const started = start(draft, to, { left, maxSurge: how.limits.maxSurge, avoid: how.avoid });
  if (started + coming > 0 || isFreeing(draft)) return "going";
  if (!how.limits.mayEmpty || left === 0) return "stuck";
  for (const { release, instance } of servingOfAll(draft, from)) drainInstance(draft, release, instance);
  return "going";
}

/** Those that are ready and answer on their real path begin to serve; warm ones of an interrupted roll come first. */
export function admit(draft: Draft, to: ReleaseFacts): void {
  let room = to.spec.replicas - soundOf(draft, to).length;
  const order = ["draining", "warm", "ready"];
  const able = draft
    .instancesOf(to.id)
    .filter((instance) => order.includes(instance.state) && answers(instance, draft.now))
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

/**
 * Lets go of as many old ones as leaves `floor` that answer; of all of them once the new ones are complete. One that is
 * down carries nothing, so it goes at once.
 */
function letGo(draft: Draft, to: ReleaseFacts, from: readonly ReleaseFacts[], limits: RollLimits): void {
  const { replicas } = to.spec;
  const served = servingOfAll(draft, from);
  const serving = served.map(({ instance }) => instance);
  const up = soundOf(draft, to).length;
  const floor = replicas - limits.maxUnavailable;
  const sound = serving.filter((instance) => answers(instance, draft.now));
  // Each new one takes an old one's place, and never more that answer than leaves the floor.
  const places = Math.max(0, up + serving.length - floor);
  const spare = serving.length - sound.length + Math.max(0, up + sound.length - floor);
  const surplus = up >= replicas ? serving.length : Math.min(places, spare);
  const down = serving.filter((instance) => isDown(instance, draft.now) && !answers(instance, draft.now));
  const worth = (instance: InstanceFacts) =>
    Number(sound.includes(instance)) * 2 - Number(isDown(instance, draft.now));
  const worstFirst = serving.sort((a, b) => worth(a) - worth(b));
  const leaving = new Set([...(up > 0 ? down : []), ...worstFirst.slice(0, surplus)]);
  for (const { release, instance } of served)
    if (leaving.has(instance)) drainInstance(draft, release, instance);
}

/** Those of its own whose places others took while they were down. */
function letReplacedGo(draft: Draft, to: ReleaseFacts): void {
  const serving = servingOf(draft, to);
  const worstFirst = serving.sort((a, b) => Number(answers(a, draft.now)) - Number(answers(b, draft.now)));
  for (const instance of worstFirst.slice(0, serving.length - to.spec.replicas))
    drainInstance(draft, to, instance);
}

/** Those that were to take the places of some that are back. */
function letComingGo(draft: Draft, to: ReleaseFacts): void {
  const coming = comingOf(draft, to);
  const ids = new Set(coming.map(({ id }) => id));
  draft.cancel(
    draft.jobsOf(to, "start").filter((job) => job.finishedAt === null && ids.has(job.instanceId ?? "")),
  );
  for (const instance of coming) stop(draft, instance);
}

/** Gives each its share of the instances that can be counted on. */
export function weigh(draft: Draft, to: ReleaseFacts, from: readonly ReleaseFacts[]): void {
  const isCounted = (instance: InstanceFacts) => answers(instance, draft.now) || !isDown(instance, draft.now);
  const countOf = (release: ReleaseFacts) => servingOf(draft, release).filter(isCounted).length;
  const counts = [to, ...from].map((release) => ({ id: release.id, count: countOf(release) }));
  const total = counts.reduce((sum, { count }) => sum + count, 0);
  // Nobody serves for a moment: weights stay, and the edge waits for the first to come.
  if (total === 0) return;
  const weights = new Map<string, number>();
  let [sum, given] = [0, 0];
  for (const { id, count } of counts) {
    sum += count;
    const upTo = Math.round((FULL_WEIGHT * sum) / total);
    weights.set(id, upTo - given);
    given = upTo;
  }
  shiftWeights(draft, weights, { keepInstances: true });
}

interface Growth {
  /** Old instances that still serve. */
  readonly left: number;
  readonly maxSurge: number;
  readonly avoid: readonly string[];
}

/** Starts as many as the surge allows and slots are free for; warm ones that hold the slots it needs make room. */
function start(draft: Draft, to: ReleaseFacts, { left, maxSurge, avoid }: Growth): number {
  const { replicas } = to.spec;
  // One that is down is replaced.
  const sound = servingOf(draft, to).filter((instance) => !isDown(instance, draft.now));
  const made = comingOf(draft, to).length + sound.length;
  const wanted = Math.min(replicas - made, replicas + maxSurge - made - left);
  // Fewer slots than wanted is no failure: the next one frees when an old instance has stopped.
  for (let count = wanted; count > 0; count--) {
    const placed = place(
      { ...draft.facts, hosts: draft.hosts(), spec: { ...to.spec, replicas: count } },
      draft.now,
      avoid,
    );
    if (!placed.ok) continue;
    for (const slot of placed.value) startInstance(draft, to, slot);
    makeRoom(draft, wanted - count);
    return count;
  }
  makeRoom(draft, wanted);
  return 0;
}

/** An instance is on its way out, or just went, so a slot or room under the surge will be free. */
const isFreeing = (draft: Draft): boolean =>
  [...draft.facts.instances, ...draft.instances()].some(({ state }) => isLeaving(state));
const isLeaving = (state: InstanceState): boolean =>
  state === "draining" || state === "warm" || state === "stopping";

const servingOf = (draft: Draft, { id }: ReleaseFacts): InstanceFacts[] =>
  draft.instancesOf(id).filter((instance) => instance.state === "serving");

interface Served {
  readonly release: ReleaseFacts;
  readonly instance: InstanceFacts;
}
const servingOfAll = (draft: Draft, releases: readonly ReleaseFacts[]): Served[] =>
  releases.flatMap((release) => servingOf(draft, release).map((instance) => ({ release, instance })));

const soundOf = (draft: Draft, release: ReleaseFacts): InstanceFacts[] =>
  servingOf(draft, release).filter((instance) => answers(instance, draft.now));

export const comingOf = (draft: Draft, { id }: ReleaseFacts): InstanceFacts[] =>
  draft
    .instancesOf(id)
    .filter(({ state }) => state === "pending" || state === "starting" || state === "ready");
