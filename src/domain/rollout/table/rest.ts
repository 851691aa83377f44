import { FULL_WEIGHT, MOVING_STALE_MS, type RoutingTable, STALENESS_BOUND_MS } from "../../routing/table.ts";
import type { EnvironmentFacts, InstanceFacts, LastRest } from "../facts.ts";
import { isAtRest as isReleaseAtRest, type ReleaseFacts } from "../release.ts";

/**
 * How stale an edge's table may be. At rest nobody moves traffic, and no visitor waits for a newer table: one that has been quiet
 * serves on by what it has. So what such a table sends visitors to is not stopped before its time is over. Within `keep`
 * that costs nothing, since what had the traffic is kept warm for so long anyway.
 */

const MOST_MS = 60_000;
/** What a rolling release lets go is not kept warm: each of its batches would wait. */
const ROLLING_MOST_MS = 10_000;

/** What a table says that is made from these facts. */
export const staleMsOf = (facts: EnvironmentFacts): number =>
  isMoving(facts) ? MOVING_STALE_MS : restMs(facts);

function restMs({ spec }: EnvironmentFacts): number {
  const most = spec.strategy.kind === "rolling" ? ROLLING_MOST_MS : MOST_MS;
  return Math.max(MOVING_STALE_MS, Math.min(spec.keepMs, most));
}

/** Something is on its way, or traffic is split: it may move at any moment. */
const isMoving = ({ releases, instances }: EnvironmentFacts): boolean =>
  releases.some(({ state }) => state === "settling" || !isReleaseAtRest(state)) ||
  releases.some(({ weightBp }) => weightBp > 0 && weightBp < FULL_WEIGHT) ||
  instances.some(({ state }) => !["serving", "warm", "stopping"].includes(state));

type Replaced = Pick<RoutingTable, "releases" | "publishedAt" | "staleMs">;

/**
 * What becomes of it when `next` takes a table's place at `now`. A rest goes on where the next one is at rest, too, and lets
 * nobody go: one that a warm instance's coming and going made leads everybody where the last one did.
 */
export function lastRest(
  replaced: Replaced | undefined,
  next: Pick<RoutingTable, "releases" | "staleMs">,
  before: LastRest | null,
  { now, drainMs = 0 }: Moment,
): LastRest | null {
  const staleMs = replaced?.staleMs ?? MOVING_STALE_MS;
  if (!replaced || staleMs <= MOVING_STALE_MS) return before;
  const { beganAt, endedAt, outAt, heldUntil } = before ?? NEVER;
  const held = Math.max(heldUntil ?? 0, now + staleMs + STALENESS_BOUND_MS);
  const goesOn = (next.staleMs ?? MOVING_STALE_MS) > MOVING_STALE_MS && !letsGo(replaced, next);
  if (goesOn) return { beganAt, endedAt, outAt, heldUntil: held };
  // Who was sent by the last of those before may still be under way.
  const isSame = outAt + drainMs > now;
  return {
    beganAt: isSame ? beganAt : replaced.publishedAt,
    endedAt: now,
    outAt: Math.max(held, outAt),
    heldUntil: held,
  };
}

interface Moment {
  readonly now: number;
  /** The longest that a release of the environment drains. */
  readonly drainMs?: number;
}

const NEVER: LastRest = { beganAt: 0, endedAt: 0, outAt: 0 };

/** The one led visitors to an instance that the other does not lead to. */
function letsGo(replaced: Pick<RoutingTable, "releases">, next: Pick<RoutingTable, "releases">): boolean {
  const kept = ledTo(next);
  return [...ledTo(replaced)].some((id) => !kept.has(id));
}

const ledTo = ({ releases }: Pick<RoutingTable, "releases">): Set<string> =>
  new Set(
    releases.filter(({ weightBp }) => weightBp > 0).flatMap(({ instances }) => instances.map(({ id }) => id)),
  );

export const longestDrain = ({ releases }: Pick<EnvironmentFacts, "releases">): number =>
  Math.max(0, ...releases.map(({ spec }) => spec.drainMs));

/** Until when an edge may send somebody to an instance that had traffic at rest, and who was sent is under way. */
export function askedUntil(facts: EnvironmentFacts, release: ReleaseFacts, instance: InstanceFacts): number {
  const { lastRest: rest, ending } = facts;
  if (ending || !rest || release.servingAt === null || release.servingAt >= rest.endedAt) return 0;
  // There is no rest while one drains.
  if (instance.drainUntil !== null && instance.drainUntil <= rest.beganAt) return 0;
  return rest.outAt + release.spec.drainMs;
}
