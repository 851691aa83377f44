import type { Rolling } from "../../spec.ts";
import type { EnvironmentFacts } from "../facts.ts";
import { rollLimits } from "../roll.ts";
import { onlineHosts, type Placement, type PlacementProblem, place } from "./placement.ts";
import { isLeaving, roomiest, withoutLeaving, withoutWarm } from "./room.ts";

export interface FirstPlaces {
  readonly slots: readonly Placement[];
  readonly problems: readonly PlacementProblem[];
}

/** The slots that a release made now would begin in. Plan tells them, and a rolling release begins by the same answer. */
export function firstPlaces(facts: EnvironmentFacts, now: number): FirstPlaces {
  if (facts.spec.strategy.kind === "rolling") return firstOfRolling(facts, facts.spec.strategy, now);
  const placed = place(facts, now);
  if (placed.ok) return { slots: placed.value, problems: [] };
  // It waits for those that leave, and then has as many of the warm ones stopped as it needs.
  for (let left = withoutLeaving(facts); ; left = withoutWarm(left, missing(left, now), now)) {
    const later = place(left, now);
    if (later.ok) return { slots: later.value, problems: [] };
    const isHopeless = !place({ ...left, hosts: roomiest(left, now) }, now).ok;
    if (isHopeless) return { slots: [], problems: [later.error] };
  }
}

/** How many of the wanted instances find no slot. */
export function missing(facts: EnvironmentFacts, now: number): number {
  const { spec } = facts;
  let free = spec.replicas - 1;
  while (free > 0 && !place({ ...facts, spec: { ...spec, replicas: free } }, now).ok) free -= 1;
  return spec.replicas - free;
}

/** A rolling release begins with what its surge allows, and finds the other slots as old instances leave. */
function firstOfRolling(facts: EnvironmentFacts, strategy: Rolling, now: number): FirstPlaces {
  const { spec } = facts;
  const online = onlineHosts(facts, now);
  if (!online.ok) return { slots: [], problems: [online.error] };
  const left = servingNow(facts);
  const { maxSurge } = rollLimits(strategy, spec.replicas);
  const count = Math.min(spec.replicas, spec.replicas + maxSurge - left);
  for (let first = count; first > 0; first--) {
    const placed = place({ ...facts, spec: { ...spec, replicas: first } }, now);
    // Fewer are enough to begin.
    if (placed.ok) return { slots: placed.value, problems: [] };
  }
  if (count <= 0 || givesRoom(facts, strategy, left)) return { slots: [], problems: [] };
  // What is warm makes room for it; not even one is not enough.
  const one = place({ ...facts, hosts: roomiest(facts, now), spec: { ...spec, replicas: 1 } }, now);
  return { slots: [], problems: one.ok ? [] : [one.error] };
}

const servingNow = ({ instances, releases }: EnvironmentFacts): number => {
  const weighted = new Set(releases.filter(({ weightBp }) => weightBp > 0).map(({ id }) => id));
  return instances.filter(({ releaseId, state }) => state === "serving" && weighted.has(releaseId)).length;
};

/** Old ones may go first, or are on their way out. */
function givesRoom({ spec, instances }: EnvironmentFacts, strategy: Rolling, left: number): boolean {
  const { maxUnavailable, mayEmpty } = rollLimits(strategy, spec.replicas);
  if (left > spec.replicas - maxUnavailable || (mayEmpty && left > 0)) return true;
  return instances.some(isLeaving);
}
