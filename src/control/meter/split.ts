import type { MeterEntry } from "../../domain/routing/meter.ts";
import { OTHER_ROUTES } from "../../domain/routing/route-name.ts";

/** Counts of one release in one window by instance and by route. Kept while traffic is split: only then are they compared. */
export interface Split {
  readonly instances: Map<string, InstanceCounts>;
  readonly routes: Map<string, RouteCounts>;
}

interface Part {
  requests: number;
  errors: number;
  /** Visitors who met an error, at most MOST_VISITORS. */
  readonly visitors: Set<number>;
}
export interface InstanceCounts extends Part {
  /** Sparse histogram (domain/routing/meter.ts). */
  readonly latency: Map<number, number>;
}
export interface RouteCounts extends Part {
  /** Requests and errors by instance. */
  readonly on: Map<string, { requests: number; errors: number }>;
  failed?: FailedOn;
}

/** The newest request that failed. */
interface FailedOn {
  /** Its `X-Request-Id`. */
  readonly id: string;
  readonly instance: string;
}

/** Beyond so many different visitors it is no burst of one, and who they were is not kept. */
const MOST_VISITORS = 100;
/** Names in one window: RouteNames' own, and those that gave way within it. */
const MOST_NAMES = 64;
const MOST_INSTANCES = 200;

export const noSplit = (): Split => ({ instances: new Map(), routes: new Map() });

/** Adds what an isolate counted. `nameOf`: under which name a route is counted. */
export function addToSplit(split: Split, entry: MeterEntry, nameOf: (route: string) => string): void {
  const { instance, latency, requests, errors, pathErrors } = entry;
  addInstance(split, instance, {
    requests: requests - pathErrors,
    errors: errors - pathErrors,
    visitors: entry.erroredVisitors,
    latency,
  });
  for (const { route, failedId: id, ...counts } of entry.routes ?? []) {
    if (!isSound(counts.requests) || !isSound(counts.errors)) continue;
    const on = [[instance, counts]] as const;
    const failed = id !== undefined && isTelling(id) ? { id, instance } : undefined;
    addRoute(split, nameOf(route), { ...counts, on, failed });
  }
}

/** Adds what another part of the meter counted. */
export function addSplit(sum: Split, part: Split): void {
  for (const [instance, counts] of part.instances) addInstance(sum, instance, counts);
  for (const [route, counts] of part.routes) addRoute(sum, route, counts);
}

/** Errors once per visitor: retries of an unlucky one are one error. */
export const distinctErrors = ({ errors, visitors }: Part): number =>
  visitors.size >= MOST_VISITORS ? errors : Math.min(errors, visitors.size);

export const splitText = ({ instances, routes }: Split): string =>
  JSON.stringify({
    instances: [...instances].map(([id, { latency, visitors, ...rest }]) => [
      id,
      { ...rest, visitors: [...visitors], latency: [...latency] },
    ]),
    routes: [...routes].map(([name, { on, visitors, ...rest }]) => [
      name,
      { ...rest, visitors: [...visitors], on: [...on] },
    ]),
  });

/** Reads what `splitText` wrote. */
export function splitFrom(text: string): Split {
  const kept = JSON.parse(text) as {
    instances: [string, Addend & { latency: [number, number][] }][];
    routes: [string, RouteAddend][];
  };
  const split = noSplit();
  for (const [instance, counts] of kept.instances) addInstance(split, instance, counts);
  for (const [route, counts] of kept.routes) addRoute(split, route, counts);
  return split;
}

interface Addend {
  readonly requests: number;
  readonly errors: number;
  readonly visitors: Iterable<number>;
}
interface RouteAddend extends Addend {
  readonly on: Iterable<readonly [string, { requests: number; errors: number }]>;
  readonly failed?: FailedOn | undefined;
}
const nothing = () => ({ requests: 0, errors: 0, visitors: new Set<number>() });

function addInstance(
  { instances }: Split,
  id: string,
  part: Addend & { latency: Iterable<readonly [number, number]> },
): void {
  const known = instances.get(id);
  if (!known && instances.size >= MOST_INSTANCES) return;
  const counts = known ?? { ...nothing(), latency: new Map<number, number>() };
  instances.set(id, counts);
  addPart(counts, part);
  for (const [bucket, count] of part.latency)
    counts.latency.set(bucket, (counts.latency.get(bucket) ?? 0) + count);
}

function addRoute({ routes }: Split, route: string, part: RouteAddend): void {
  const name = routes.has(route) || routes.size < MOST_NAMES ? route : OTHER_ROUTES;
  const counts: RouteCounts = routes.get(name) ?? { ...nothing(), on: new Map() };
  routes.set(name, counts);
  addPart(counts, part);
  if (part.failed) counts.failed = part.failed;
  for (const [instance, { requests, errors }] of part.on) {
    const there = counts.on.get(instance) ?? { requests: 0, errors: 0 };
    if (counts.on.size >= MOST_INSTANCES && !counts.on.has(instance)) continue;
    counts.on.set(instance, { requests: there.requests + requests, errors: there.errors + errors });
  }
}

function addPart(sum: Part, { requests, errors, visitors }: Addend): void {
  sum.requests += requests;
  sum.errors += errors;
  for (const visitor of visitors) if (sum.visitors.size < MOST_VISITORS) sum.visitors.add(visitor);
}

/** A visitor may choose the id of a request: a word that any line may hold finds lines of others. The edge's own are 20 or longer. */
const isTelling = (id: string): boolean => /^(?=.*\d)[\w.:+=/-]{16,128}$/.test(id);

const isSound = (count: number): boolean => Number.isSafeInteger(count) && count >= 0;
