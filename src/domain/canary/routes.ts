/**
 * A fault in one route drowns in the total: 2 % of traffic may fail wholly and the whole stay within its margin. So each route is
 * tested by itself, with an e-value of its own, and the mean of them over all routes is one test more: Σ wᵢ·Eᵢ with Σ wᵢ ≤ 1 is
 * an e-value again, whatever the routes do together. It has a share of alpha to itself (`routeShare`).
 */
import type { CanaryConfig } from "./config.ts";
import { countErrors, errorLogs } from "./errors.ts";
import { logSumExp } from "./evidence.ts";
import { type LogEvidence, mixture, restart } from "./mixture.ts";
import type { ArmWindow, FailedRequest, RouteWindow } from "./window.ts";

/** Routes that are watched at a time. */
const MOST_WATCHED = 33;
/** Windows without a request after which a route is no longer watched. */
const IDLE_WINDOWS = 30;
/** Told with a judgement. */
const MOST_TOLD = 3;
/** Hosts kept per route. */
const MOST_HOSTS = 20;

/** One route under watch. Plain JSON. */
export interface RouteState {
  readonly route: string;
  /** Each route that is ever watched is a bet of its own, by number; its weight falls with it. */
  readonly bet: number;
  /** Windows since it is watched. */
  readonly k: number;
  readonly err: readonly LogEvidence[];
  /** Windows since its last request. */
  readonly idle: number;
  /** Counts that wait for the other side's: one alone says nothing. */
  readonly pending: Pending;
  /** Since its evidence last lay below even. */
  readonly suspicion: RouteCounts;
}

interface RouteCounts {
  readonly canary: Pair;
  readonly baseline: Pair;
  /** Errors of the canary as the test counts them, and the windows that had one. */
  readonly counted: number;
  readonly windows: number;
  /** The canary's by host. */
  readonly hosts: readonly (Pair & { readonly host: string })[];
  /** The canary's newest that failed. */
  readonly failed?: FailedRequest | undefined;
}
interface Pending {
  readonly canary: Waiting;
  readonly baseline: Waiting;
}
interface Waiting {
  readonly n: number;
  readonly errors: number;
  readonly distinctErrors: number;
}
interface Pair {
  readonly requests: number;
  readonly errors: number;
}

export interface RoutesState {
  /** Routes watched so far. */
  readonly bets: number;
  readonly watched: readonly RouteState[];
}

/** A route that fails on the canary more than on stable, the likeliest first. */
export interface Culprit extends Pick<RouteCounts, "canary" | "baseline"> {
  readonly route: string;
  /** Evidence of this route alone; natural log. */
  readonly logE: number;
  /** The only host of several on which the canary fails it; null: no single one. */
  readonly host: string | null;
  /** One of the canary's requests that failed; absent: none is known by its id. */
  readonly failed?: FailedRequest;
}

export const NO_ROUTES: RoutesState = { bets: 0, watched: [] };
const NONE: Waiting = { n: 0, errors: 0, distinctErrors: 0 };
const NO_COUNTS: RouteCounts = {
  canary: { requests: 0, errors: 0 },
  baseline: { requests: 0, errors: 0 },
  counted: 0,
  windows: 0,
  hosts: [],
};

/** The weight of a bet: the first 33 share a half, each later one gets less. All together at most 1. */
const logWeight = (bet: number): number =>
  bet < MOST_WATCHED
    ? -Math.log(2 * MOST_WATCHED)
    : -Math.log(2 * (bet - MOST_WATCHED + 1) * (bet - MOST_WATCHED + 2));

/** Folds one window in. `phi`: how bursty stable's errors are. */
export function updateRoutes(
  state: RoutesState,
  routes: readonly RouteWindow[],
  phi: number,
  config: CanaryConfig,
): RoutesState {
  const known = new Map(state.watched.map((one) => [one.route, one]));
  let { bets } = state;
  // Those that fail first: for them room is made.
  const fresh = routes
    .filter(({ route, canary, baseline }) => !known.has(route) && canary.n + baseline.n > 0)
    .toSorted((a, b) => b.canary.errors - a.canary.errors || b.baseline.n - a.baseline.n);
  for (const { route, canary } of fresh) {
    if (known.size >= MOST_WATCHED && !makeRoom(known, canary.errors > 0)) continue;
    const err = config.kappas.map((): LogEvidence => "-Infinity");
    known.set(route, {
      route,
      bet: bets,
      k: 0,
      err,
      idle: 0,
      pending: { canary: NONE, baseline: NONE },
      suspicion: NO_COUNTS,
    });
    bets += 1;
  }
  const windows = new Map(routes.map((window) => [window.route, window]));
  const watched = [...known.values()].map((one) => grow(one, windows.get(one.route), phi, config));
  return { bets, watched };
}

function makeRoom(known: Map<string, RouteState>, forError: boolean): boolean {
  const idle = [...known.values()].find((one) => one.idle >= IDLE_WINDOWS);
  const innocent = forError
    ? [...known.values()]
        .filter(({ suspicion }) => suspicion.canary.errors === 0)
        .sort((a, b) => a.suspicion.baseline.requests - b.suspicion.baseline.requests)[0]
    : undefined;
  const leaves = idle ?? innocent;
  return leaves !== undefined && known.delete(leaves.route);
}

function grow(
  one: RouteState,
  window: RouteWindow | undefined,
  phi: number,
  config: CanaryConfig,
): RouteState {
  const k = one.k + 1;
  if (!window) {
    const none = config.kappas.map(() => 0);
    return { ...one, k, idle: one.idle + 1, err: restart(one.err, none, k, config.horizonWindows) };
  }
  const { canary, baseline } = window;
  const counts = { canary: join(one.pending.canary, canary), baseline: join(one.pending.baseline, baseline) };
  const isWhole = counts.canary.n > 0 && counts.baseline.n > 0;
  const logs = isWhole ? errorLogs([counts], phi, config) : config.kappas.map(() => 0);
  const before = mixture(one.err) < 0 ? NO_COUNTS : one.suspicion;
  return {
    ...one,
    k,
    idle: canary.n + baseline.n === 0 ? one.idle + 1 : 0,
    pending: isWhole ? { canary: NONE, baseline: NONE } : counts,
    err: restart(one.err, logs, k, config.horizonWindows),
    suspicion: addTo(before, window, countErrors(window, config).canary),
  };
}

const join = (past: Waiting, { n, errors, distinctErrors = errors }: ArmWindow): Waiting => ({
  n: past.n + n,
  errors: past.errors + errors,
  distinctErrors: past.distinctErrors + distinctErrors,
});

function addTo(past: RouteCounts, window: RouteWindow, counted: number): RouteCounts {
  const { canary, baseline, hosts, failed = past.failed } = window;
  const add = (pair: Pair, { n, errors }: { n: number; errors: number }): Pair => ({
    requests: pair.requests + n,
    errors: pair.errors + errors,
  });
  const byHost = new Map(past.hosts.map((one) => [one.host, one]));
  for (const { host, n, errors } of hosts) {
    const there = byHost.get(host) ?? { host, requests: 0, errors: 0 };
    if (byHost.has(host) || byHost.size < MOST_HOSTS)
      byHost.set(host, { host, ...add(there, { n, errors }) });
  }
  return {
    canary: add(past.canary, canary),
    baseline: add(past.baseline, baseline),
    counted: past.counted + counted,
    windows: past.windows + (counted > 0 ? 1 : 0),
    hosts: [...byHost.values()],
    ...(failed && { failed }),
  };
}

/** Evidence that some route is worse on the canary, the price of looking at many of them paid. −∞: none is known. */
export const routesLog = ({ watched }: RoutesState): number =>
  logSumExp(watched.map(({ bet, err }) => mixture(err) + logWeight(bet)));

/** Whether a single route has shown enough errors for a verdict: as many as the whole would need. */
export const isShown = ({ watched }: RoutesState, config: CanaryConfig): boolean => {
  const [worst] = watched.toSorted((a, b) => weighed(b) - weighed(a));
  if (!worst) return false;
  const { counted, windows } = worst.suspicion;
  return (counted >= config.minErrors && windows >= config.minErrWindows) || counted >= config.fastErrors;
};
const weighed = ({ bet, err }: RouteState): number => mixture(err) + logWeight(bet);

/** The routes that speak most against the canary. */
export function culprits({ watched }: RoutesState): Culprit[] {
  return watched
    .map(({ route, err, suspicion }) => ({
      route,
      canary: suspicion.canary,
      baseline: suspicion.baseline,
      logE: mixture(err),
      host: onlyHost(suspicion),
      ...(suspicion.failed && { failed: suspicion.failed }),
    }))
    .filter(({ logE, canary }) => logE > 0 && canary.errors > 0)
    .sort((a, b) => b.logE - a.logE || b.canary.errors - a.canary.errors)
    .slice(0, MOST_TOLD);
}

/** All errors on one host, while at least three would be expected elsewhere if it were like the others. */
function onlyHost({ hosts, canary }: RouteCounts): string | null {
  const [one] = hosts.filter(({ errors }) => errors > 0);
  if (!one || one.errors < 3 || one.errors < canary.errors) return null;
  const elsewhere = canary.requests - one.requests;
  return (elsewhere * one.errors) / one.requests >= 3 ? one.host : null;
}
