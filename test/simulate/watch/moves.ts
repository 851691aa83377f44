import { HOST_OFFLINE_MS } from "../../../src/domain/host-online.ts";
import type { ReleaseChange } from "../../../src/domain/rollout/decision.ts";
import type { InstanceFacts } from "../../../src/domain/rollout/facts.ts";
import type { ReleaseFacts } from "../../../src/domain/rollout/release.ts";
import { rollLimits } from "../../../src/domain/rollout/roll.ts";
import type { Commit } from "../control/port.ts";
import type { FaultKind } from "../faults.ts";
import type { World } from "../world.ts";

/** Who would answer visitors by a state of things, and is known to. */
interface Carrying {
  /** Serving instances that answer. */
  readonly count: number;
  /** Share of traffic that goes to a release of which at least one answers. */
  readonly any: number;
  /** Share of traffic for which instances answer: one of three has strength for a third of all, and for 5 % of a canary's as well. */
  readonly strength: number;
}
interface State {
  readonly releases: readonly ReleaseFacts[];
  readonly instances: readonly InstanceFacts[];
}

/** Below this the receiving side can't carry: fewer than half of those wanted answer. */
const HALF = 0.5;
const EPSILON = 1e-6;

/**
 * Every move of traffic asks whether those who receive it can carry it: by what is known, and truly. One that
 * ended a moment ago is nobody's fault; nor is one left out that would have answered.
 */
export function judgeMove(world: World, commit: Commit): void {
  const { releases, instances } = commit.decision;
  if (releases.size === 0 && instances.size === 0) return;
  const isKnown = (one: InstanceFacts) => isKnownToAnswer(world, one);
  if (!wrongMove(world, commit, isKnown)) return;
  const wrong = wrongMove(world, commit, (one) => isKnown(one) && world.isReachable(one.id));
  if (wrong) world.fault(wrong.kind, `${commit.cause.what}: ${wrong.text}`);
}

type Answers = (instance: InstanceFacts) => boolean;
type Wrong = { readonly kind: FaultKind; readonly text: string } | null;

function wrongMove(world: World, { before, decision }: Commit, answers: Answers): Wrong {
  const { store } = world.control;
  const live = store.instances.filter(({ stoppedAt }) => stoppedAt === null);
  const was = carrying(before, answers);
  const is = carrying({ releases: store.releases, instances: live }, answers);
  if (is.count >= was.count && is.any >= was.any - EPSILON) return null;
  const text = `${words(was)} → ${words(is)}`;
  const rolling = [...before.releases, ...store.releases].find(
    ({ state, spec }) => ["shifting", "rolling_back"].includes(state) && spec.strategy.kind === "rolling",
  );
  // What was live and is lost goes back at once, with the roll that was replacing it: no step of a roll.
  const isTakenBack = before.releases.some(
    ({ id, state }) => SERVED.includes(state) && decision.releases.get(id)?.state === "rolling_back",
  );
  if (rolling && !isTakenBack) return wrongRoll(world, { rolling, was, is, text });
  const back = [...decision.releases].filter(([, { state }]) => state !== undefined && BACK.includes(state));
  const isBack = back.length > 0;
  const isWeaker = is.strength < Math.min(was.strength, HALF) - EPSILON;
  // What was ended for what it is goes, though its few instances are missed where nobody can carry.
  const isMeant = isBack && back.every(([id, change]) => isEndedWeak(before, { id, change }, answers));
  const isWrong = is.any < was.any - EPSILON || (isWeaker && !isMeant);
  return isWrong ? { kind: isBack ? "going back lost answers" : "a move lost answers", text } : null;
}

/** It can't carry its own share either, and that is not why it goes back. */
function isEndedWeak(
  { releases, instances }: State,
  { id, change }: { readonly id: string; readonly change: ReleaseChange },
  answers: Answers,
): boolean {
  const own = instances.filter((one) => one.releaseId === id && answers(one)).length;
  const { replicas } = releases.find((release) => release.id === id)?.spec ?? { replicas: 0 };
  return own * 2 < replicas && change.failure?.code !== "instances_lost";
}

const SERVED: readonly string[] = ["settling", "live"];
const BACK: readonly string[] = ["rolling_back", "rolled_back", "aborted", "failed"];

/** A roll may have fewer for a moment, as many as `maxUnavailable` says. */
function wrongRoll(
  world: World,
  { rolling, was, is, text }: { rolling: ReleaseFacts; was: Carrying; is: Carrying; text: string },
): Wrong {
  const { strategy } = rolling.spec;
  if (strategy.kind !== "rolling" || is.count >= was.count) return null;
  // A way back that its deadline ends goes to whoever can carry, though not all are there again.
  if (rolling.state === "rolling_back" && is.any > 1 - EPSILON && is.strength >= HALF) return null;
  const { stable, releases } = world.control.store;
  const old = releases.find(({ id }) => id === stable)?.spec.replicas ?? 0;
  const replicas = Math.min(rolling.spec.replicas, old || rolling.spec.replicas);
  const { maxUnavailable, mayEmpty } = rollLimits(strategy, rolling.spec.replicas);
  // Whoever allows all to be missing has no other slot to begin in.
  const floor = mayEmpty ? 0 : replicas - maxUnavailable;
  if (is.count >= Math.min(was.count, floor)) return null;
  return { kind: "rolled below its floor", text: `${text}, floor ${floor}` };
}

function carrying({ releases, instances }: State, answers: Answers): Carrying {
  let [count, any, strength] = [0, 0, 0];
  for (const { id, weightBp, spec } of releases) {
    if (weightBp === 0) continue;
    const share = weightBp / 10_000;
    const answering = instances.filter((one) => one.releaseId === id && answers(one)).length;
    count += answering;
    if (answering > 0) any += share;
    strength += Math.min(share, answering / spec.replicas);
  }
  return { count, any, strength };
}

/** Serves, and control knows nothing that speaks against it. */
const isKnownToAnswer = (world: World, one: InstanceFacts): boolean =>
  one.state === "serving" &&
  one.reportState === "ready" &&
  one.unreachableSince === null &&
  isHeard(world, one.hostId);

export function isHeard(world: World, hostId: string): boolean {
  const host = world.control.store.hosts.find(({ id }) => id === hostId);
  return host !== undefined && world.control.now - (host.lastSeenAt ?? 0) < HOST_OFFLINE_MS;
}

const words = ({ count, any, strength }: Carrying): string =>
  `${count} answering, ${Math.round(any * 100)} % of traffic answered (strength ${Math.round(strength * 100)} %)`;
