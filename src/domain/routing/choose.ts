/**
 * Which release and which instance a request goes to. Everything is a function of the compiled table, the visitor's
 * bucket and the time: the same visitor gets the same release until the table changes.
 */

import { bidFor, dealBuckets, numberOf, seedOf, shareOf } from "./buckets.ts";
import { HEALTHY, type InstanceHealth, mayTake } from "./ejection.ts";
import { FULL_WEIGHT, type Marks, type MatchRule, type RoutingTable } from "./table.ts";

/** One instance as the edge uses it. `health` is what this isolate saw; the edge replaces it after each answer. */
export interface RouteInstance {
  readonly id: string;
  readonly origin: string;
  /** Host and port of the origin: what the app takes for its own name. */
  readonly host: string;
  readonly ready: boolean;
  /** What it bids by for visitors who keep to one instance. */
  readonly number: number;
  readonly release: RouteRelease;
  health: InstanceHealth;
}

export interface RouteRelease {
  readonly id: string;
  readonly version: string;
  readonly weightBp: number;
  readonly instances: readonly RouteInstance[];
  /** Those of them that control calls ready. */
  readonly ready: readonly RouteInstance[];
}

/** A routing table prepared for choosing: compiled once when it arrives, never per request. */
export interface Route {
  readonly table: RoutingTable;
  readonly releases: readonly RouteRelease[];
  readonly stable: RouteRelease | null;
  /** Who is asked after all that hold weight. */
  readonly heir: RouteRelease | null;
  /** Releases with weight, in dealing order, and where their buckets end. */
  readonly dealt: readonly RouteRelease[];
  readonly ends: readonly number[];
  readonly seed: number;
  /** More than one release takes visitors: who they are matters now. */
  readonly isSplit: boolean;
  /** All visitors go to one release, and to its instances in turn: whoever they are. */
  readonly isForAnyone: boolean;
  readonly marks: Marks;
  /** Releases by what their own pages call them; null: there is one, or none is called anything. */
  readonly pins: ReadonlyMap<string, RouteRelease> | null;
  /** Origins left out because their host is outside the tunnel zone. */
  readonly refusedOrigins: readonly string[];
}

/** What match rules may look at, asked for only when a rule needs it. */
export interface RequestFacts {
  header(name: string): string | null;
  cookie(name: string): string | null;
  country(): string | null;
  readonly path: string;
}

const NONE: readonly RouteInstance[] = [];

/** Prepares a table. Instances that `previous` knew keep the health this isolate saw. */
export function compileRoute(table: RoutingTable, previous: Route | null): Route {
  const known = new Map<string, InstanceHealth>();
  for (const release of previous?.releases ?? []) {
    for (const instance of release.instances) known.set(instance.id, instance.health);
  }
  const refusedOrigins: string[] = [];
  const releases = table.releases.map((entry) => {
    const instances: RouteInstance[] = [];
    const ready: RouteInstance[] = [];
    const release = { id: entry.id, version: entry.version, weightBp: entry.weightBp, instances, ready };
    for (const given of entry.instances) {
      const { id, origin } = given;
      const host = origin.slice(origin.indexOf("//") + 2);
      if (!isOriginAllowed(host, table.originSuffixes)) {
        refusedOrigins.push(origin);
        continue;
      }
      const health = known.get(id) ?? HEALTHY;
      const instance = { id, origin, host, ready: given.ready, number: numberOf(id), release, health };
      instances.push(instance);
      if (given.ready) ready.push(instance);
    }
    return release;
  });
  const dealt = releases.filter((release) => release.weightBp > 0);
  const called = (name: string | null | undefined) => releases.find(({ id }) => id === name) ?? null;
  return {
    table,
    releases,
    stable: called(table.stable),
    heir: called(table.heir),
    dealt,
    ends: dealBuckets(dealt.map((release) => release.weightBp)),
    seed: seedOf(table.salt),
    isSplit: dealt.length > 1,
    isForAnyone: isForAnyone(table, dealt),
    marks: table.marks ?? (table.showRelease ? "always" : "never"),
    pins: pinsOf(table, releases),
    refusedOrigins,
  };
}

/** The newer release has a name that two share: a rollback's are its target's. */
function pinsOf(table: RoutingTable, releases: readonly RouteRelease[]): Route["pins"] {
  const pins = new Map<string, RouteRelease>();
  for (const [index, { deployments = [] }] of table.releases.entries()) {
    const release = releases[index];
    for (const name of deployments) if (release && !pins.has(name)) pins.set(name, release);
  }
  return pins.size === 0 ? null : pins;
}

function isForAnyone({ match, affinity }: RoutingTable, dealt: readonly RouteRelease[]): boolean {
  const isSticky = affinity.kind !== "none" && affinity.to === "instance";
  return match === null && !isSticky && dealt.length === 1 && dealt[0]?.weightBp === FULL_WEIGHT;
}

/** True when any rule holds, and of that rule all conditions; no rules at all let everyone in. */
export function isEligible(rules: readonly MatchRule[] | null, facts: RequestFacts): boolean {
  return rules === null || rules.some((rule) => holds(rule, facts));
}

/** The release the table gives this visitor, whether or not it can carry traffic; null before the first is live. */
export function chooseRelease(
  route: Route,
  visitor: { readonly bucket: number | null; readonly eligible: boolean },
  now: number,
): RouteRelease | null {
  const { partialUntil } = route.table;
  const expired = partialUntil !== null && now > partialUntil;
  if (route.stable !== null && (expired || !visitor.eligible)) return route.stable;
  return route.dealt[shareOf(route.ends, visitor.bucket ?? 0)] ?? null;
}

/** The release that a page says it is of, unless it has lost its judge. */
export function ownRelease(
  { pins, stable, table, isSplit }: Route,
  name: string,
  now: number,
): RouteRelease | null {
  const own = pins?.get(name) ?? null;
  const expired = isSplit && table.partialUntil !== null && now > table.partialUntil;
  return expired && own !== stable ? null : own;
}

/** The request that looks for an instance. */
export interface Errand {
  /** Counts requests, so that instances take turns. */
  readonly turn: number;
  /** It may be sent again if it fails: no method with effects, no stream. */
  readonly isResendable: boolean;
  /** Epoch ms. */
  readonly now: number;
  /** The number of a visitor who keeps to one instance. Absent or null: instances take turns. */
  readonly keeper?: number | null;
}

/**
 * An instance to send to, in turn or the visitor's own, of those that are ready, not left out for failing, and not `tried`;
 * null when none is.
 */
export function chooseInstance(
  release: RouteRelease,
  errand: Errand,
  tried: readonly RouteInstance[] = NONE,
): RouteInstance | null {
  const { ready } = release;
  const { keeper = null } = errand;
  if (keeper !== null) return highestBid(ready, keeper, (instance) => isUsable(instance, errand, tried));
  const next = ready[errand.turn % ready.length];
  if (next !== undefined && isUsable(next, errand, tried)) return next;
  const usable = ready.filter((instance) => isUsable(instance, errand, tried));
  return usable[errand.turn % usable.length] ?? null;
}

/**
 * Where to go when the chosen release has no usable instance. Traffic first: stable, then any release that holds weight, then
 * the heir (no other at 0 %: nobody has vouched for it). When nobody has a usable or half-open instance, panic: health knowledge is wrong
 * or everything is down, so an instance is tried all the same, the chosen release's first, ready ones before others.
 */
export function chooseFallback(route: Route, chosen: RouteRelease, errand: Errand): RouteInstance | null {
  const order = [chosen, ...elsewhere(route, chosen)];
  return (
    tryBoldly(errand, (of) => firstOf(order, (release) => chooseInstance(release, of))) ??
    firstOf(order, ({ ready, instances }) => anyOf(ready.length > 0 ? ready : instances, errand))
  );
}

/**
 * Where a failed attempt is sent again, by the table of now: another instance of the same release, then stable, then any
 * release that holds weight, then the heir; never an instance tried before. A preview (`isPinned`) stays with its release.
 */
export function chooseRescue(
  route: Route,
  failed: { readonly tried: readonly RouteInstance[]; readonly isPinned: boolean },
  errand: Errand,
): RouteInstance | null {
  const first = failed.tried[0]?.release.id;
  const own = route.releases.find((release) => release.id === first) ?? null;
  const others = failed.isPinned ? [] : elsewhere(route, own);
  // The last attempt is another release's: one whose instances all fail must not use up both.
  const isLast = failed.tried.length >= 2;
  const order = isLast ? [...others, own] : [own, ...others];
  return tryBoldly(errand, (of) =>
    firstOf(order, (release) => release && chooseUnfailed(release, of, failed.tried)),
  );
}

/**
 * A request that can't be sent again leaves it to others to try a half-open instance, unless no other is left: it was
 * delivered nowhere so far, and that instance may answer, where the visitor would get an error for certain.
 */
const tryBoldly = (errand: Errand, find: (of: Errand) => RouteInstance | null): RouteInstance | null =>
  find(errand) ?? find({ ...errand, isResendable: true });

const firstOf = <T>(order: readonly T[], choose: (one: T) => RouteInstance | null) =>
  order.reduce<RouteInstance | null>((found, one) => found ?? choose(one), null);

/** The instance that is the visitor's own: one that goes or comes moves only the visitors that it had or gets. */
function highestBid(
  instances: readonly RouteInstance[],
  keeper: number,
  isOpen: (instance: RouteInstance) => boolean,
): RouteInstance | null {
  let best: RouteInstance | null = null;
  let highest = -1;
  for (const instance of instances) {
    const bid = bidFor(keeper, instance.number);
    if (bid <= highest || !isOpen(instance)) continue;
    best = instance;
    highest = bid;
  }
  return best;
}

/** A second attempt is no place to find out whether one that failed of late still does: the fewest failures first. */
function chooseUnfailed(
  release: RouteRelease,
  errand: Errand,
  tried: readonly RouteInstance[],
): RouteInstance | null {
  const usable = release.ready.filter((instance) => isUsable(instance, errand, tried));
  const fewest = Math.min(...usable.map(({ health }) => health.failures));
  const best = usable.filter(({ health }) => health.failures === fewest);
  return anyOf(best, errand);
}

/** The visitor's own, or the next in turn. */
const anyOf = (pool: readonly RouteInstance[], { keeper = null, turn }: Errand): RouteInstance | null =>
  keeper === null ? (pool[turn % pool.length] ?? null) : highestBid(pool, keeper, () => true);

function isUsable(instance: RouteInstance, errand: Errand, tried: readonly RouteInstance[]): boolean {
  if (!mayTake(instance.health, errand.isResendable, errand.now)) return false;
  return tried === NONE || !tried.some(({ id }) => id === instance.id);
}

/** Stable, the releases that hold weight, the heir: without the one given. */
const elsewhere = ({ stable, dealt, heir }: Route, own: RouteRelease | null): RouteRelease[] =>
  [...new Set([stable, ...dealt, heir])].filter((one): one is RouteRelease => one !== null && one !== own);

function isOriginAllowed(host: string, suffixes: readonly string[]): boolean {
  if (suffixes.length === 0) return true;
  const name = host.replace(/:[0-9]+$/, "");
  return suffixes.some((suffix) => name.endsWith(suffix));
}

function holds(rule: MatchRule, facts: RequestFacts): boolean {
  const { header, cookie, countries, pathPrefix } = rule;
  if (header !== undefined && facts.header(header.name) !== header.value) return false;
  if (cookie !== undefined && facts.cookie(cookie.name) !== cookie.value) return false;
  if (pathPrefix !== undefined && !facts.path.startsWith(pathPrefix)) return false;
  return countries === undefined || countries.includes(facts.country() ?? "");
}
