import type { InstanceFacts } from "../../src/domain/rollout/facts.ts";
import { HOST_OFFLINE_MS } from "../../src/domain/rollout/facts.ts";
import type { ReleaseFacts } from "../../src/domain/rollout/release.ts";
import { rollLimits } from "../../src/domain/rollout/roll.ts";
import type { Commit } from "./watch.ts";
import type { World } from "./world.ts";

/** Who would answer visitors by a state of things, and is known to. */
interface Carrying {
  /** Serving instances that answer. */
  readonly count: number;
  /** Share of traffic that goes to a release of which at least one answers. */
  readonly any: number;
  /** Share of traffic, each release's scaled by how many of its replicas answer. */
  readonly strength: number;
}
interface State {
  readonly releases: readonly ReleaseFacts[];
  readonly instances: readonly InstanceFacts[];
}

/** Below this the receiving side can't carry: fewer than half of those wanted answer. */
const HALF = 0.5;
const EPSILON = 1e-6;

/** Every move of traffic asks whether those who receive it can carry it (design §10). */
export function judgeMove(world: World, { before, decision, cause }: Commit): void {
  if (decision.releases.size === 0 && decision.instances.size === 0) return;
  const { store } = world.control;
  const live = store.instances.filter(({ stoppedAt }) => stoppedAt === null);
  const was = carrying(world, before);
  const is = carrying(world, { releases: store.releases, instances: live });
  if (is.count >= was.count && is.any >= was.any - EPSILON) return;
  const text = `${cause.what}: ${words(was)} → ${words(is)}`;
  const rolling = [...before.releases, ...store.releases].find(
    ({ state, spec }) => ["shifting", "rolling_back"].includes(state) && spec.strategy.kind === "rolling",
  );
  if (rolling) return judgeRoll(world, { rolling, was, is, text });
  const isBack = [...decision.releases.values()].some(
    ({ state }) => state !== undefined && BACK.includes(state),
  );
  const kind = isBack ? "going back lost answers" : "a move lost answers";
  if (is.any < was.any - EPSILON || is.strength < Math.min(was.strength, HALF) - EPSILON)
    world.watch.fault(kind, text);
}

const BACK: readonly string[] = ["rolling_back", "rolled_back", "aborted", "failed"];

/** A roll may have fewer for a moment, as many as `maxUnavailable` says. */
function judgeRoll(
  world: World,
  { rolling, was, is, text }: { rolling: ReleaseFacts; was: Carrying; is: Carrying; text: string },
): void {
  const { strategy } = rolling.spec;
  if (strategy.kind !== "rolling" || is.count >= was.count) return;
  // A way back that its deadline ends goes to whoever can carry, though not all are there again.
  if (rolling.state === "rolling_back" && is.any > 1 - EPSILON && is.strength >= HALF) return;
  const { stable, releases } = world.control.store;
  const old = releases.find(({ id }) => id === stable)?.spec.replicas ?? 0;
  const replicas = Math.min(rolling.spec.replicas, old || rolling.spec.replicas);
  const floor = replicas - rollLimits(strategy, rolling.spec.replicas).maxUnavailable;
  if (is.count < Math.min(was.count, floor))
    world.watch.fault("rolled below its floor", `${text}, floor ${floor}`);
}

function carrying(world: World, { releases, instances }: State): Carrying {
  let [count, any, strength] = [0, 0, 0];
  for (const { id, weightBp, spec } of releases) {
    if (weightBp === 0) continue;
    const share = weightBp / 10_000;
    const answering = instances.filter((one) => one.releaseId === id && isCarrying(world, one)).length;
    count += answering;
    if (answering > 0) any += share;
    strength += share * Math.min(1, answering / spec.replicas);
  }
  return { count, any, strength };
}

/** Serves, answers, and control knows no better. */
const isCarrying = (world: World, one: InstanceFacts): boolean =>
  one.state === "serving" &&
  one.reportState === "ready" &&
  one.unreachableSince === null &&
  isHeard(world, one.hostId) &&
  world.isReachable(one.id);

export function isHeard(world: World, hostId: string): boolean {
  const host = world.control.store.hosts.find(({ id }) => id === hostId);
  return host !== undefined && world.control.now - (host.lastSeenAt ?? 0) < HOST_OFFLINE_MS;
}

const words = ({ count, any, strength }: Carrying): string =>
  `${count} answering, ${Math.round(any * 100)} % of traffic answered (strength ${Math.round(strength * 100)} %)`;
