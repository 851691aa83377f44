import { STALENESS_BOUND_MS } from "../../../src/domain/routing/table.ts";
import type { Instance } from "../control/store.ts";
import type { Answer } from "../edge/edge.ts";
import type { Container } from "../hosts/container.ts";
import type { World } from "../world.ts";
import { isHeard } from "./moves.ts";

/** How long an instance answers before anybody must know it. */
const KNOWN_MS = STALENESS_BOUND_MS + 4_000;
/** How long one is dead before control must know it: an agent says so; a silent host is given 90 s, and a sweep. */
const TOLD_MS = 12_000;
const SILENT_MS = 180_000;
/** What control may take to act on it, beyond: a loss is believed after 15 s, a tick comes each 20 s. */
const ACTS_MS = 45_000;
/** As in absence.ts of control. */
export const HEARING_MS = 40_000;
const MINUTE = 60_000;
/** The second exit within so long is a crash loop; control may take so long to act on it, once it is told. */
const EXITS_MS = 5 * MINUTE;
const CRASH_ACTS_MS = 25_000;
/** A quiet edge goes on by a table at rest for so long, and the next visitor's by a newer one. */
const REST_MS = 60_000;
/** As in rescue.ts of the edge. */
const MOST_RETRIES = 2;
const LOST: readonly number[] = [502, 503, 504, 524, 530];

/** One request's way to an instance. */
export interface Attempt {
  /** Null: nothing runs behind that origin. */
  readonly instance: string | null;
  readonly container: Container | undefined;
}
export interface Visit {
  readonly id: string;
  readonly method: "GET" | "POST";
  /** When its isolate had last heard from control, before it came. Epoch ms. */
  readonly heardAt: number;
  readonly attempts: readonly Attempt[];
  readonly answer: Answer;
}
export interface Tally {
  /** By an instance. */
  answered: number;
  lost: number;
  /** The visits of the last minute, oldest first. */
  readonly recent: { readonly at: number; readonly isLost: boolean }[];
}

/** A visitor who got no answer from an app: was there somebody who would have given one? */
export function judgeVisit(world: World, tally: Tally, visit: Visit): void {
  const { answer, attempts, method } = visit;
  const isLost = answer.error !== null || LOST.includes(answer.status);
  tally.recent.push({ at: world.clock.now, isLost });
  // An instance's own word, not the edge's: who asks nobody loses nobody.
  if (!isLost && attempts.some(({ container }) => container)) tally.answered += 1;
  if (!isLost) return;
  const { store, table } = world.control;
  if (!table || store.ending || !store.releases.some(({ weightBp }) => weightBp > 0)) return;
  tally.lost += 1;
  const weighed = store.releases.filter(({ weightBp }) => weightBp > 0).map(({ id }) => id);
  const live = store.instances.filter(({ stoppedAt }) => stoppedAt === null);
  const able = live.filter((one) => isAble(world, one));
  const serving = live.filter((one) => one.state === "serving" && weighed.includes(one.releaseId));
  const own = attempts[0]?.container?.releaseId;
  const siblings = able.filter((one) => one.state === "serving" && one.releaseId === own);
  const others = able.filter(({ state, releaseId }) => state === "serving" && weighed.includes(releaseId));
  const said = `${method} ${answer.error ?? answer.status} at ${attempts.map(({ instance }) => instance ?? "nobody").join(", ") || "nobody"}`;
  const isFresh = world.control.isUp && world.edgeCuts === 0 && world.clock.now - world.edgeSince > KNOWN_MS;
  // Its isolate knows what was so then: one that was quiet at rest goes on by the table that it has.
  const knownAt = isFresh ? Math.max(visit.heardAt, world.clock.now - REST_MS) : visit.heardAt;
  const areKnown = attempts.every(({ container }) => isKnownDead(world, container, knownAt));
  if (isFresh && siblings.length > 0 && areKnown)
    world.fault("lost beside siblings", `${said}; ${names(siblings)} would answer`);
  // A release that has no weight any more is one that this edge may not know of yet.
  else if (
    own &&
    !isUsedUp(world, visit) &&
    (isFresh || weighed.includes(own)) &&
    siblings.length === 0 &&
    others.length > 0 &&
    world.movedAt <= knownAt &&
    method === "GET" &&
    areDead(world, serving, own, knownAt)
  )
    world.fault("lost beside another release", `${said}; ${names(others)} would answer`);
  // Control that was away hears every agent first.
  const isLed = isFresh && world.clock.now - world.edgeSince > HEARING_MS + ACTS_MS;
  const warm = able.filter((one) => !weighed.includes(one.releaseId) && hasServed(world, one));
  if (isLed && isMostlyLost(world, tally) && warm.some((one) => canCarry(world, one.releaseId, warm)))
    world.fault("lost beside a warm release", `most visits of a minute; ${names(warm)} would answer`);
  if (isLed && areCrashing(world, serving) && warm.some((one) => canCarry(world, one.releaseId, warm)))
    world.fault("lost beside a warm release", `${said} in a crash loop; ${names(warm)} would answer`);
  if (isLed && others.length === 0 && warm.length > 0 && isLongOut(world, serving))
    world.fault("lost beside a warm release", `${said}; ${names(warm)} would answer`);
}

/** Answers, has for a while, and control knows. */
function isAble(world: World, one: Instance): boolean {
  const container = world.container(one.id);
  if (!container?.isReachable || world.clock.now - container.since < KNOWN_MS) return false;
  const host = world.hostById(one.hostId);
  if (!host || world.clock.now - host.cutSince < KNOWN_MS || !isHeard(world, one.hostId)) return false;
  const isUp = ["ready", "serving", "draining", "warm"].includes(one.state);
  const isTold = one.reportState === "ready" && world.control.now - (one.reportAt ?? 0) > KNOWN_MS;
  return isUp && isTold && one.unreachableSince === null && world.clock.now - world.movedAt > KNOWN_MS;
}

/** Does not answer, and whoever must tell control had had the time by then. */
function isKnownDead(world: World, container: Container | undefined, by = world.clock.now): boolean {
  if (!container) return by - world.movedAt > SILENT_MS;
  if (container.isReachable) return false;
  // An agent can tell, and the edge hear, only once control is there again.
  const since = Math.max(deadSince(world, container), world.edgeSince);
  return by - since > patience(world, container);
}

function deadSince(world: World, container: Container): number {
  const host = world.hosts.find(({ containers }) => containers.has(container.id));
  return container.answers ? Math.max(container.since, host?.cutSince ?? 0) : container.since;
}

/** An agent tells at once. Where it can't, its silence does; where only the way to visitors is cut, nobody does. */
function patience(world: World, container: Container): number {
  const host = world.hosts.find(({ containers }) => containers.has(container.id));
  if (container.answers && host?.canTalk) return Number.POSITIVE_INFINITY;
  return host?.canTalk && world.clock.now - host.cutSince > TOLD_MS ? TOLD_MS : SILENT_MS;
}

/** All tries went, the last of them to another release: to one of whose end nobody could know yet. */
const isUsedUp = (world: World, { attempts }: Visit): boolean =>
  attempts.length > MOST_RETRIES && !isKnownDead(world, attempts.at(-1)?.container);

/** None of the release's serving instances answers, for longer than an edge takes to see it by itself. */
function areDead(world: World, serving: readonly Instance[], release: string, knownAt: number): boolean {
  const own = serving.filter(({ releaseId }) => releaseId === release);
  return own.every(({ id }) => {
    const container = world.container(id);
    // One that hangs is known only by its agent's word: a request to it can't be sent again.
    if (container?.isFrozen) return isKnownDead(world, container, knownAt);
    return !container || (!container.isReachable && world.clock.now - deadSince(world, container) > KNOWN_MS);
  });
}

/** No serving instance answers, for longer than control takes to know and to act. */
function isLongOut(world: World, serving: readonly Instance[]): boolean {
  if (world.clock.now - world.movedAt < SILENT_MS + ACTS_MS) {
    const told = serving.every(({ id }) => {
      const container = world.container(id);
      return container !== undefined && world.hosts.some((host) => host.containers.has(id) && host.canTalk);
    });
    if (!told || world.clock.now - world.movedAt < TOLD_MS + ACTS_MS) return false;
  }
  return serving.every(({ id }) => {
    const container = world.container(id);
    if (!container) return true;
    const since = deadSince(world, container);
    return !container.isReachable && world.clock.now - since > patience(world, container) + ACTS_MS;
  });
}

/** An app that ends again and again answers now and then: the share tells. */
function isMostlyLost({ clock, movedAt }: World, { recent }: Tally): boolean {
  const { now } = clock;
  while (recent[0] && now - recent[0].at > MINUTE) recent.shift();
  const lost = recent.filter(({ isLost }) => isLost).length;
  return now - movedAt > MINUTE + ACTS_MS && recent.length >= 8 && lost > 0.4 * recent.length;
}

/** All that serve ended for the second time, and control had the time to hear of it and to act. */
function areCrashing(world: World, serving: readonly Instance[]): boolean {
  const { now } = world.clock;
  const actsMs = TOLD_MS + CRASH_ACTS_MS;
  return (
    now - world.movedAt > actsMs &&
    serving.every(({ id }) => {
      const exits = world.container(id)?.told.exits ?? [];
      const host = world.hosts.find(({ containers }) => containers.has(id));
      // What its agent says while it is cut off, control can't have heard.
      if (!host?.canTalk || now - host.cutSince < actsMs) return false;
      return exits.filter((at) => now - at > actsMs && now - at < EXITS_MS).length > 1;
    })
  );
}

/** At least half of its replicas have answered for a while. */
function canCarry(world: World, release: string, able: readonly Instance[]): boolean {
  const own = able.filter(({ id, releaseId }) => {
    const since = world.container(id)?.since ?? world.clock.now;
    return releaseId === release && world.clock.now - since > MINUTE + ACTS_MS;
  });
  return own.length * 2 >= world.release(release).spec.replicas;
}

const hasServed = (world: World, { releaseId }: Instance): boolean =>
  world.release(releaseId).servingAt !== null;

const names = (instances: readonly Instance[]): string =>
  instances.map(({ id, state }) => `${id} (${state})`).join(", ");
