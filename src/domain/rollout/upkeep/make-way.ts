import { FULL_WEIGHT } from "../../routing/table.ts";
import { answering, answers, canCarry } from "../carry.ts";
import type { Draft } from "../draft.ts";
import { giveBack } from "../ending.ts";
import type { InstanceFacts } from "../facts.ts";
import { onlineHosts, place } from "../placing/placement.ts";
import { makeRoom } from "../placing/room.ts";
import type { ReleaseFacts, ReleaseFailure } from "../release.ts";
import { drainInstance } from "../shift.ts";

/**
 * What serves can't carry its traffic, and finds no slot for the instances that it lost. Those who are served come before
 * what may serve one day: what is kept warm makes room, then a canary that has no more of the traffic, or is to go back and
 * can't. It keeps what its share needs meanwhile, so that nobody is answered by fewer, and ends when stable carries again.
 * True: slots are on their way.
 */
export function makeWay(draft: Draft, stable: ReleaseFacts): boolean {
  const wanted = missing(draft, stable);
  if (wanted <= 0 || hasSlot(draft, stable)) return false;
  if (makeRoom(draft, wanted)) return true;
  const canary = canaryBeside(draft, stable);
  if (!canary) return false;
  const message = `${stable.version} lost instances and needs its slots: no other is free`;
  const failure = { code: SLOTS_NEEDED, message, logs: [] };
  if (canary.failure === null && giveBack(draft, canary, `${canary.version} rolls back: ${message}`, failure))
    return true;
  return letSpareGo(draft, canary, { stable, wanted });
}

/** How many more it takes until it can carry, beyond those that come. */
function missing(draft: Draft, stable: ReleaseFacts): number {
  const own = draft.instancesOf(stable.id);
  if (canCarry(stable, own, draft.now)) return 0;
  const coming = own.filter(({ state }) => state === "starting" || state === "ready").length;
  return Math.max(1, Math.ceil(stable.spec.replicas / 2) - answering(own, draft.now).length) - coming;
}

/** Or none for another reason than slots. */
function hasSlot(draft: Draft, { spec }: ReleaseFacts): boolean {
  const facts = { ...draft.facts, hosts: draft.hosts(), spec: { ...spec, replicas: 1 } };
  const placed = place(facts, draft.now);
  return placed.ok || placed.error.code !== "no_slots";
}

const SLOTS_NEEDED = "slots_needed";

/** It makes way: it keeps what its share needs, and gets no more. */
export const makesWay = ({ failure }: ReleaseFacts): boolean => failure?.code === SLOTS_NEEDED;

/** Why it goes back, once stable can carry what it has. */
export function wayOwed(draft: Draft, release: ReleaseFacts): ReleaseFailure | undefined {
  const stable = draft.stable();
  if (!makesWay(release) || !stable || !canCarry(stable, draft.instancesOf(stable.id), draft.now))
    return undefined;
  return release.failure ?? undefined;
}

const canaryBeside = (draft: Draft, stable: ReleaseFacts): ReleaseFacts | undefined =>
  draft
    .releases()
    .find(
      ({ id, state, spec, weightBp, failure }) =>
        id !== stable.id &&
        state === "shifting" &&
        spec.strategy.kind !== "rolling" &&
        (failure !== null || weightBp <= stable.weightBp),
    );

/** Those beyond half of what its share wants: the same half by which anybody can carry. */
function letSpareGo(
  draft: Draft,
  canary: ReleaseFacts,
  { stable, wanted }: { readonly stable: ReleaseFacts; readonly wanted: number },
): boolean {
  const online = onlineHosts({ ...draft.facts, spec: stable.spec }, draft.now);
  const usable = new Set((online.ok ? online.value : []).map(({ id }) => id));
  const isUsable = ({ hostId }: InstanceFacts) => usable.has(hostId);
  const leaving = leavingOf(draft, canary).filter(isUsable).length;
  const serving = draft.instancesOf(canary.id).filter((one) => one.state === "serving" && isUsable(one));
  const needed = Math.max(1, Math.ceil((canary.weightBp * canary.spec.replicas) / FULL_WEIGHT / 2));
  const spare = Math.max(0, Math.min(wanted - leaving, serving.length - needed));
  const silentFirst = serving.sort((a, b) => Number(answers(a, draft.now)) - Number(answers(b, draft.now)));
  for (const instance of silentFirst.slice(0, spare)) drainInstance(draft, canary, instance);
  return leaving + spare > 0;
}

export const leavingOf = (draft: Draft, { id }: ReleaseFacts): InstanceFacts[] =>
  draft.instancesOf(id).filter(({ state }) => LEAVING.includes(state));

const LEAVING: readonly InstanceFacts["state"][] = ["draining", "warm", "stopping", "stopped"];
