/**
 * Which release and which instance a request goes to. Everything is a function of the compiled table, the visitor's
 * bucket and the time: the same visitor gets the same release until the table changes.
 */

import { dealBuckets, seedOf, shareOf } from "./buckets.ts";
import { HEALTHY, type InstanceHealth, isEjected } from "./ejection.ts";
import type { MatchRule, RoutingTable } from "./table.ts";

/** One instance as the edge uses it. `health` is what this isolate saw; the edge replaces it after each answer. */
export interface RouteInstance {
  readonly id: string;
  readonly origin: string;
  /** Host and port of the origin: what the app takes for its own name. */
  readonly host: string;
  readonly ready: boolean;
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
  /** Releases with weight, in dealing order, and where their buckets end. */
  readonly dealt: readonly RouteRelease[];
  readonly ends: readonly number[];
  readonly seed: number;
  /** More than one release takes visitors: who they are matters now. */
  readonly isSplit: boolean;
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
      const instance = { id, origin, host, ready: given.ready, release, health: known.get(id) ?? HEALTHY };
      instances.push(instance);
      if (given.ready) ready.push(instance);
    }
    return release;
  });
  const dealt = releases.filter((release) => release.weightBp > 0);
  return {
    table,
    releases,
    stable: releases.find((release) => release.id === table.stable) ?? null,
    dealt,
    ends: dealBuckets(dealt.map((release) => release.weightBp)),
    seed: seedOf(table.salt),
    isSplit: dealt.length > 1,
    refusedOrigins,
  };
}

/** True when any rule holds, and of that rule all conditions; no rules at all let everyone in. */
export function isEligible(rules: readonly MatchRule[] | null, facts: RequestFacts): boolean {
  return rules === null || rules.some((rule) => holds(rule, facts));
}

/** The release the table gives this visitor, whether or not it can carry traffic; null before the first is live. */
export function chooseRelease(
  route: Route,
  visitor: { readonly bucket: number; readonly eligible: boolean },
  now: number,
): RouteRelease | null {
  const { partialUntil } = route.table;
  const expired = partialUntil !== null && now > partialUntil;
  if (route.stable !== null && (expired || !visitor.eligible)) return route.stable;
  return route.dealt[shareOf(route.ends, visitor.bucket)] ?? null;
}

/**
 * An instance to send to, `turn` rotating over the usable ones (ready, not ejected, not `tried`); null when none is.
 */
export function chooseInstance(
  release: RouteRelease,
  turn: number,
  now: number,
  tried: readonly RouteInstance[] = NONE,
): RouteInstance | null {
  const { ready } = release;
  const next = ready[turn % ready.length];
  if (next !== undefined && isUsable(next, now, tried)) return next;
  const usable = ready.filter((instance) => isUsable(instance, now, tried));
  return usable[turn % usable.length] ?? null;
}

/**
 * Where to go when the chosen release has no usable instance. Traffic first: stable, then any release that holds weight
 * (never one at 0 %: nobody has vouched for it). When nobody has a usable instance, panic: health knowledge is wrong
 * or everything is down, so an instance is tried all the same, the chosen release's first, ready ones before others.
 */
export function chooseFallback(
  route: Route,
  chosen: RouteRelease,
  turn: number,
  now: number,
): RouteInstance | null {
  const order = fallbackOrder(route, chosen);
  for (const release of order) {
    const instance = chooseInstance(release, turn, now);
    if (instance !== null) return instance;
  }
  for (const release of order) {
    const pool = release.ready.length > 0 ? release.ready : release.instances;
    const instance = pool[turn % pool.length];
    if (instance !== undefined) return instance;
  }
  return null;
}

/** Where a failed attempt is sent again: another instance of the same release, then stable, never one tried before. */
export function chooseRescue(
  route: Route,
  failed: { readonly tried: readonly RouteInstance[]; readonly isPinned: boolean; readonly attempt: number },
  turn: number,
  now: number,
): RouteInstance | null {
  const own = failed.tried[0]?.release;
  if (own === undefined) return null;
  const same = () => chooseInstance(own, turn, now, failed.tried);
  if (failed.isPinned) return same();
  const stable = () => (route.stable === null ? null : chooseInstance(route.stable, turn, now, failed.tried));
  // The last attempt is stable's: a release whose instances all fail must not use up both.
  return failed.attempt >= 2 ? (stable() ?? same()) : (same() ?? stable());
}

function isUsable(instance: RouteInstance, now: number, tried: readonly RouteInstance[]): boolean {
  return !isEjected(instance.health, now) && !tried.includes(instance);
}

function fallbackOrder(route: Route, chosen: RouteRelease): RouteRelease[] {
  const order = [chosen];
  for (const release of [route.stable, ...route.dealt]) {
    if (release !== null && !order.includes(release)) order.push(release);
  }
  return order;
}

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
