import { err, ok, type Result } from "../../result.ts";
import { closedWords } from "../../windows.ts";
import { late, names } from "../causes.ts";
import type { Draft } from "../draft.ts";
import { fail } from "../ending.ts";
import type { EnvironmentFacts } from "../facts.ts";
import { heldNow, lockOf } from "../lock.ts";
import { firstPlaces, missing } from "../placing/first-places.ts";
import { onlineHosts, type Placement, type PlacementProblem, place } from "../placing/placement.ts";
import { isLeaving, makeRoom, roomiest } from "../placing/room.ts";
import { isActive, type ReleaseFacts } from "../release.ts";
import type { StateRule } from "./state-rule.ts";

/** queued → preparing: its turn has come, and there is room. Its deadline is the release's. */
export const queued: StateRule = {
  work: begin,
  overdue: (draft, release) => fail(draft, release, late(draft, release, waitsFor(draft))),
};

function begin(draft: Draft, release: ReleaseFacts): void {
  const { facts, now } = draft;
  // What this step frees (a lock, slots) is seen by the next one, from fresh facts.
  if (draft.hasChanges || !isNext(facts, release) || facts.releases.some(isMoving)) return;
  const held = heldNow(facts, now);
  if (held && release.kind !== "rollback") return draft.wakeAt(held.expiresAt);
  const closed = release.kind === "deploy" && !release.override ? closedWords(facts.spec.rules, now) : null;
  if (closed !== null) {
    // Refused and not kept waiting: nobody wants a deploy of Friday to begin on Monday by itself.
    const message = `its deploy window closed while it waited its turn: ${closed}`;
    return fail(draft, release, { code: "window_closed", message, logs: [] });
  }
  const placed = placements(facts, release, now);
  if (!placed.ok) {
    // Those that leave free their slots soon: it waits for them, up to its deadline.
    if (placed.error.code === "no_slots" && (facts.instances.some(isLeaving) || findRoom(draft, release)))
      return;
    return fail(draft, release, { code: placed.error.code, message: placed.error.detail, logs: [] });
  }
  draft.raiseFence();
  for (const slot of placed.value) draft.addInstance(release, slot, "pending");
  pull(draft, release, pullHosts(facts, release, placed.value, now));
}

const isNext = ({ releases }: EnvironmentFacts, { id }: ReleaseFacts): boolean =>
  releases.filter(({ state }) => state === "queued").reduce((a, b) => (a.createdAt <= b.createdAt ? a : b))
    .id === id;

/** On its way, or going back instance by instance: the next one waits. */
const isMoving = ({ state, spec }: ReleaseFacts): boolean =>
  isActive(state) || (state === "rolling_back" && spec.strategy.kind === "rolling");

/** A rolling release needs room to begin, and finds its slots as it goes; the others need all of them before anything moves. */
function placements(
  facts: EnvironmentFacts,
  release: ReleaseFacts,
  now: number,
): Result<readonly Placement[], PlacementProblem> {
  // By the spec it was made with, not by one applied since.
  const own = { ...facts, spec: release.spec };
  if (release.spec.strategy.kind !== "rolling") return place(own, now);
  const [problem] = firstPlaces(own, now).problems;
  return problem ? err(problem) : ok([]);
}

/** Warm instances give way, as far as that is enough. True: it waits for their slots. */
function findRoom(draft: Draft, release: ReleaseFacts): boolean {
  const { facts, now } = draft;
  if (!place({ ...facts, spec: release.spec, hosts: roomiest(facts, now) }, now).ok) return false;
  return makeRoom(draft, missing({ ...facts, spec: release.spec }, now));
}

function pullHosts(
  facts: EnvironmentFacts,
  release: ReleaseFacts,
  placed: readonly Placement[],
  now: number,
): ReadonlyMap<string, string> {
  if (release.spec.strategy.kind !== "rolling")
    return new Map(placed.map((slot) => [slot.hostId, slot.hostName]));
  const online = onlineHosts({ ...facts, spec: release.spec }, now);
  return new Map((online.ok ? online.value : []).map((host) => [host.id, host.name]));
}

function pull(draft: Draft, release: ReleaseFacts, hosts: ReadonlyMap<string, string>): void {
  const deadlineAt = draft.now + release.spec.deadlines.prepareMs;
  const { verify } = release.spec;
  const message = `${release.version}: pulling ${release.image} on ${names([...hosts.values()])}`;
  draft.moveRelease(release, "preparing", message, { startedAt: draft.now, deadlineAt });
  for (const [index, hostId] of [...hosts.keys()].entries()) {
    draft.order({
      // The wire allows 64 characters: too few for both ids.
      id: `pull-${release.id}-${index + 1}`,
      kind: "pull",
      hostId,
      releaseId: release.id,
      instanceId: null,
      payload: { image: release.pinnedImage ?? release.image, ...(verify && { verify }) },
      deadlineAt,
    });
  }
}

function waitsFor(draft: Draft): string {
  const lock = lockOf(draft.facts, draft.now);
  if (lock) return `the environment is locked by ${lock.holder} (${lock.reason})`;
  const leaving = draft.facts.instances.filter(isLeaving);
  const hosts = names(leaving.map((instance) => instance.hostName));
  return hosts
    ? `no slot is free before ${hosts} stops old containers: is its agent running?`
    : "its turn did not come";
}
