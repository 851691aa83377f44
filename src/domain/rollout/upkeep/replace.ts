import { FULL_WEIGHT } from "../../routing/table.ts";
import { answers, isHeard } from "../carry.ts";
import type { Draft } from "../draft.ts";
import type { InstanceFacts } from "../facts.ts";
import { startInstance } from "../instances.ts";
import { heldNow } from "../lock.ts";
import { place } from "../placing/placement.ts";
import { isActive, type ReleaseFacts, type Replacing } from "../release.ts";
import { stop } from "../retire.ts";
import { drainInstance } from "../shift.ts";
import { askNew, startFailure } from "../starts.ts";
import { makeWay } from "./make-way.ts";

/**
 * A release that serves keeps the instances it wants: one whose host is lost, that is gone from its host by its agent's word,
 * or whose host is to be emptied is replaced on another one, and goes when its replacement serves. One rule for all three.
 */

/** A host may be rebooting: only one that was silent for so long is given up. */
const LOST_MS = 180_000;
/** Between two tries that failed; twice as long each time. */
const BACKOFF_MS = 30_000;
const MAX_BACKOFF_MS = 1_800_000;
/** After so long without another try the next one is a first one again. */
const CALM_MS = 600_000;

export function replace(draft: Draft, release: ReleaseFacts): void {
  if (release.weightBp === 0 || draft.facts.ending || isBusy(draft)) return;
  askNew(draft, release);
  endBroken(draft, release);
  admit(draft, release);
  const sorted = sortOut(draft, release);
  const { staying, leaving, coming } = sorted;
  for (const instance of [...staying, ...leaving])
    if (!isHeard(instance, draft.now)) draft.wakeAt(givenUpAt(instance));
  const whole = wholeOf(draft, release, sorted);
  dismiss(draft, release, { ...sorted, surplus: staying.length + leaving.length - whole });
  const wanted = whole - staying.length - coming.length;
  if (wanted > 0 && makeWay(draft, release)) return tryAtOnce(draft, release);
  if (wanted > 0) return order(draft, release, wanted);
  for (const extra of coming.slice(0, -wanted)) stop(draft, extra);
  if (coming.length === 0) calm(draft, release);
}

/**
 * A rollout finds its slots, or moves instances, itself. A canary beside does not: it may take days, and so may what waits
 * behind it, or behind a lock.
 */
function isBusy(draft: Draft): boolean {
  const releases = draft.releases();
  const isNextDue = !releases.some(({ state }) => isActive(state)) && !heldNow(draft.facts, draft.now);
  return releases.some(
    ({ state, spec }) =>
      (state === "queued" && isNextDue) ||
      state === "rolling_back" ||
      (isActive(state) && (state !== "shifting" || spec.strategy.kind === "rolling")),
  );
}

interface Sorted {
  /** Serve, and are to go on. */
  readonly staying: InstanceFacts[];
  /** Serve, on a host that is to be emptied. */
  readonly leaving: InstanceFacts[];
  readonly lost: InstanceFacts[];
  readonly coming: InstanceFacts[];
}

function sortOut(draft: Draft, release: ReleaseFacts): Sorted {
  const own = draft.instancesOf(release.id);
  const serving = own.filter(({ state }) => state === "serving");
  const isGone = (instance: InstanceFacts) => doesNotReturn(instance, draft.now);
  return {
    lost: serving.filter(isGone),
    leaving: serving.filter((instance) => !isGone(instance) && instance.hostDraining === true),
    staying: serving.filter((instance) => !isGone(instance) && instance.hostDraining !== true),
    coming: own.filter(({ state }) => state === "starting" || state === "ready"),
  };
}

/**
 * How many are to serve. Where a rolling change ended half-way a person decides: until then it keeps those that it has, and no
 * fewer than its share of the traffic needs.
 */
function wholeOf(draft: Draft, { spec, weightBp }: ReleaseFacts, { staying, leaving, lost }: Sorted): number {
  if (weightBp === FULL_WEIGHT || !isHalfRolled(draft)) return spec.replicas;
  const share = Math.ceil((spec.replicas * weightBp) / FULL_WEIGHT);
  return Math.min(spec.replicas, Math.max(share, staying.length + leaving.length + lost.length));
}

/** Not by stable's own strategy: it may be long since it was rolled, and a canary is beside it now. */
function isHalfRolled(draft: Draft): boolean {
  const stable = draft.stable();
  const isRolled = ({ id, weightBp, spec }: ReleaseFacts) =>
    id !== stable?.id && weightBp > 0 && spec.strategy.kind === "rolling";
  return draft.releases().some(isRolled);
}

/** Gone by its agent's word, or with a host that is. */
const doesNotReturn = (instance: InstanceFacts, now: number): boolean =>
  (instance.reportState === "gone" && isHeard(instance, now)) || givenUpAt(instance) <= now;

const givenUpAt = ({ hostSeenAt }: InstanceFacts): number =>
  (hostSeenAt ?? Number.POSITIVE_INFINITY) + LOST_MS;

/** A replacement that never became ready, or does not answer: its slot is to be free for another try. */
function endBroken(draft: Draft, release: ReleaseFacts): void {
  for (const instance of draft.instancesOf(release.id)) {
    const failure = startFailure(draft, release, instance);
    if (!failure) continue;
    stop(draft, instance);
    const message = `${release.version}: the replacement on ${instance.hostName} did not come up: ${failure.message}`;
    draft.event("release.progress", release.id, message, { failure });
  }
}

function admit(draft: Draft, release: ReleaseFacts): void {
  for (const instance of draft.instancesOf(release.id)) {
    if (instance.state !== "ready" || !answers(instance, draft.now)) continue;
    const message = `${release.version} on ${instance.hostName} serves`;
    draft.changeInstance(instance, { state: "serving", drainUntil: null }, message);
    // It worked: the next one that is wanted is no repeated try.
    if (release.replacing) draft.changeRelease(release.id, { replacing: { ...release.replacing, tries: 0 } });
  }
}

/**
 * Lets go of what its replacements carry: of those that serve as many as are too many, of the lost ones all in the end. One
 * that is gone holds its slot for nothing, but while it is all there is its agent may yet bring it back.
 */
function dismiss(
  draft: Draft,
  release: ReleaseFacts,
  { staying, leaving, lost, surplus }: Sorted & { readonly surplus: number },
): void {
  const isAnyLeft = staying.length + leaving.length > 0;
  for (const instance of leaving.slice(0, Math.max(0, surplus))) drainInstance(draft, release, instance);
  for (const instance of lost)
    if (surplus >= 0 || (isAnyLeft && instance.reportState === "gone")) stop(draft, instance);
  if (leaving.length > Math.max(0, surplus)) return;
  // What was only kept for a rollback goes last.
  for (const instance of draft.instances())
    if (instance.hostDraining && instance.state === "warm") stop(draft, instance);
}

function order(draft: Draft, release: ReleaseFacts, wanted: number): void {
  const { replacing } = release;
  const isTriedAnew = !replacing || draft.now - replacing.at >= CALM_MS + waitMs(replacing);
  const nextAt = isTriedAnew ? draft.now : replacing.at + waitMs(replacing);
  if (nextAt > draft.now) return draft.wakeAt(nextAt);
  const tried = { tries: isTriedAnew ? 1 : replacing.tries + 1, at: draft.now };
  draft.changeRelease(release.id, { replacing: tried });
  // Half at most at a time: what ended one may end the next.
  for (let count = Math.min(wanted, Math.ceil(release.spec.replicas / 2)); count > 0; count--) {
    const facts = { ...draft.facts, hosts: draft.hosts(), spec: { ...release.spec, replicas: count } };
    const placed = place(facts, draft.now);
    if (placed.ok) {
      for (const slot of placed.value) startInstance(draft, release, slot);
      return;
    }
    if (count > 1) continue;
    const message = `${release.version} wants ${wanted} more of ${release.spec.replicas} instances, and none can be placed: ${placed.error.detail}`;
    draft.event("release.progress", release.id, message, { code: placed.error.code });
  }
}

/** As soon as the first of the slots is free. */
function tryAtOnce(draft: Draft, { id, replacing }: ReleaseFacts): void {
  if (replacing) draft.changeRelease(id, { replacing: null });
}

const waitMs = ({ tries }: Replacing): number => Math.min(BACKOFF_MS * 2 ** (tries - 1), MAX_BACKOFF_MS);

function calm(draft: Draft, { id, replacing }: ReleaseFacts): void {
  if (replacing && draft.now - replacing.at >= CALM_MS) draft.changeRelease(id, { replacing: null });
}
