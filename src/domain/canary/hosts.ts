/**
 * A slow host is not a slow release. Latency is compared host by host: given how many of a host's answers were slow, which of
 * them fell to the canary is as exact a test as over all, and the product of independent e-values is an e-value again. What
 * runs on one side alone is left out. Errors are compared over all hosts, where one visitor's retries are one error, but for
 * hosts on which stable itself fails more than elsewhere: those are compared by themselves. Which those are is known from the
 * windows before, so the choice costs nothing.
 */
import { HISTOGRAM_BUCKETS, latencyBucket } from "../routing/meter.ts";
import type { CanaryConfig } from "./config.ts";
import { type Arms, countErrors } from "./errors.ts";
import { histogramTotal, logEError, logSumExp } from "./evidence.ts";
import {
  type ArmWindow,
  addHistogram,
  type CanaryWindow,
  type HostWindow,
  type RouteWindow,
} from "./window.ts";

/** Windows without a request after which a side is no longer taken to be on a host. */
const IDLE_WINDOWS = 30;
/** Hosts that are told apart at a time: those with most of the canary's requests. */
const MOST_HOSTS = 50;
/**
 * Evidence that has a host compared by itself. Little is enough: to do so by mistake costs some power and no trust, to be late
 * with it charges the host's errors to the canary. From TOLD on it is said.
 */
const APART = Math.log(2);
const TOLD = Math.log(20);
/** So few of stable's requests say nothing of it: none may have failed, or there may be none, in the midst of an outage. */
export const FEW_REQUESTS = 10;
/** Stable's answers on a host from which on its speed there is told. */
const MIN_ANSWERS = 100;

/** One host, as far as it is known. Plain JSON. */
export interface HostState {
  readonly host: string;
  /** Windows since each side was last asked there, at most IDLE_WINDOWS: then it is not there. */
  readonly canaryIdle: number;
  readonly stableIdle: number;
  readonly stable: StableThere;
  /** Evidence that stable itself fails more there than elsewhere; natural log. */
  readonly differs: number;
}

/** Stable's counts on one host, fading as all that is learned of it. Errors as the test counts them; `buckets`: their sum. */
interface StableThere {
  readonly n: number;
  readonly errors: number;
  readonly answers: number;
  readonly buckets: number;
}
const NOTHING: StableThere = { n: 0, errors: 0, answers: 0, buckets: 0 };

/** How hosts were told apart, for people. Plain JSON. */
export interface HostsCompared {
  /** Those on which latency is compared; none: over all hosts, with `allowance` times as much for what they differ by. */
  readonly shared: readonly string[];
  readonly allowance: number;
  /** Left out of it. */
  readonly canaryOnly: readonly string[];
  readonly stableOnly: readonly string[];
  /** Compared by themselves: on them stable's error rate is not what it is elsewhere. */
  readonly apart: readonly (Rates & { readonly host: string })[];
  /** Of the shared ones, those on which stable is slower than elsewhere, and how many times. */
  readonly slower: readonly { readonly host: string; readonly factor: number }[];
}
interface Rates {
  readonly errorRate: number;
  readonly elsewhere: number;
}

/** Folds one window in. `phi`: how bursty stable's errors are. */
export function updateHosts(
  states: readonly HostState[],
  { hosts = [] }: CanaryWindow,
  phi: number,
  config: CanaryConfig,
): HostState[] {
  const windows = new Map(mostAsked(hosts).map((window) => [window.host, window]));
  const known = new Map(states.map((state) => [state.host, state]));
  const grown = [...new Set([...known.keys(), ...windows.keys()])]
    .map((host) => grow(known.get(host) ?? unseen(host), windows.get(host), config))
    .filter(({ canaryIdle, stableIdle }) => Math.min(canaryIdle, stableIdle) < IDLE_WINDOWS)
    .sort((a, b) => a.canaryIdle + a.stableIdle - (b.canaryIdle + b.stableIdle))
    .slice(0, MOST_HOSTS);
  return grown.map((state) => ({
    ...state,
    differs: failsMore(state.stable, elsewhere(state, grown), phi, config),
  }));
}

/** At most MOST_HOSTS of them. */
export const mostAsked = (hosts: readonly HostWindow[]): readonly HostWindow[] =>
  hosts.length <= MOST_HOSTS
    ? hosts
    : hosts.toSorted((a, b) => b.canary.n - a.canary.n || b.baseline.n - a.baseline.n).slice(0, MOST_HOSTS);

const unseen = (host: string): HostState => ({
  host,
  canaryIdle: IDLE_WINDOWS,
  stableIdle: IDLE_WINDOWS,
  stable: NOTHING,
  differs: 0,
});

function grow(state: HostState, window: HostWindow | undefined, config: CanaryConfig): HostState {
  const idle = (past: number, n = 0): number => (n > 0 ? 0 : Math.min(IDLE_WINDOWS, past + 1));
  const { hist = [], n = 0 } = window?.baseline ?? {};
  const fresh = {
    n,
    errors: window ? countErrors(window, config).baseline : 0,
    answers: histogramTotal(hist),
    buckets: hist.reduce((sum, count, bucket) => sum + count * bucket, 0),
  };
  return {
    ...state,
    canaryIdle: idle(state.canaryIdle, window?.canary.n),
    stableIdle: idle(state.stableIdle, n),
    stable: add(state.stable, fresh, config.dispDecay),
  };
}

const add = (past: StableThere, fresh: StableThere, keep = 1): StableThere => ({
  n: keep * past.n + fresh.n,
  errors: keep * past.errors + fresh.errors,
  answers: keep * past.answers + fresh.answers,
  buckets: keep * past.buckets + fresh.buckets,
});

const elsewhere = ({ host }: HostState, states: readonly HostState[]): StableThere =>
  states.filter((other) => other.host !== host).reduce((sum, { stable }) => add(sum, stable), NOTHING);

/** The comparison of errors, of stable with itself. */
function failsMore(there: StableThere, rest: StableThere, phi: number, config: CanaryConfig): number {
  const { rho0, delta, kappas } = config;
  const logs = kappas.map(
    (kappa) => logEError(there.errors, there.n, rest.errors, rest.n, rho0, delta, rho0 * kappa) / phi,
  );
  return logSumExp(logs) - Math.log(logs.length);
}

const isShared = ({ canaryIdle, stableIdle }: HostState): boolean =>
  canaryIdle < IDLE_WINDOWS && stableIdle < IDLE_WINDOWS;

/** What latency is compared within, and the buckets by which the canary may be slower there. */
export interface LatencyStrata {
  readonly parts: readonly Arms[];
  readonly margin: number;
  /** Stable's bucket below which nothing is looked for: there the canary is quick enough. */
  readonly leastEdge: number;
}

/** Hosts that both are on. Where there is none, all together, and hosts may differ as well; all together where no two are known. */
export function latencyStrata(
  window: Arms & Pick<CanaryWindow, "hosts">,
  states: readonly HostState[] = [],
  { latShift, hostShift, latFloorMs }: CanaryConfig,
): LatencyStrata {
  const within = (parts: readonly Arms[], margin: number) => ({
    parts,
    margin,
    leastEdge: latencyBucket(latFloorMs) - margin,
  });
  if (!window.hosts || states.length < 2) return within([window], latShift);
  const shared = new Set(states.filter(isShared).map(({ host }) => host));
  if (shared.size === 0) return within([window], latShift + hostShift);
  const parts = window.hosts.filter(
    ({ host, canary, baseline }) =>
      shared.has(host) && histogramTotal(canary.hist ?? []) > 0 && histogramTotal(baseline.hist ?? []) > 0,
  );
  return within(parts, latShift);
}

/** The window in parts that errors are compared within: each host that stands apart, and all the rest. */
export function errorStrata(window: CanaryWindow, states: readonly HostState[] = []): readonly Arms[] {
  const apart = apartIn(window, states);
  if (apart.length === 0) return [window];
  const rest = apart.reduce(
    (left: Arms, { canary, baseline }) => ({
      canary: without(left.canary, canary),
      baseline: without(left.baseline, baseline),
    }),
    window,
  );
  return [...apart, rest];
}

/**
 * Without hosts on which stable is over `rate` itself: what is down there is down for both. Only stable's counts are asked,
 * and enough of them.
 */
export function onSoundHosts(window: CanaryWindow, rate: number): Arms {
  return (window.hosts ?? [])
    .filter(({ baseline }) => baseline.n >= FEW_REQUESTS && baseline.errors > rate * baseline.n)
    .reduce(
      (left: Arms, { canary, baseline }) => ({
        canary: without(left.canary, canary),
        baseline: without(left.baseline, baseline),
      }),
      window,
    );
}

function apartIn({ hosts = [] }: CanaryWindow, states: readonly HostState[]): readonly HostWindow[] {
  const names = new Set(states.filter(({ differs }) => differs >= APART).map(({ host }) => host));
  return hosts.filter(({ host }) => names.has(host));
}

/** What is left of a side; visitors who failed on both are taken off once too often, and errors bound them. */
function without(all: ArmWindow, part: ArmWindow): ArmWindow {
  const errors = Math.max(0, all.errors - part.errors);
  const { distinctErrors } = all;
  const visitors = (distinctErrors ?? 0) - (part.distinctErrors ?? part.errors);
  return {
    n: Math.max(errors, all.n - part.n),
    errors,
    ...(distinctErrors === undefined ? {} : { distinctErrors: Math.min(errors, Math.max(0, visitors)) }),
  };
}

/** A canary's requests on hosts that stand apart are no route's fault; stable's counts hold them still, in its favour. */
export function routesElsewhere(
  window: CanaryWindow,
  states: readonly HostState[] = [],
): readonly RouteWindow[] | undefined {
  const apart = new Set(apartIn(window, states).map(({ host }) => host));
  if (apart.size === 0) return window.routes;
  return window.routes?.map((one) => {
    const canary = one.hosts
      .filter(({ host }) => apart.has(host))
      .reduce((left: ArmWindow, there) => without(left, { ...there, distinctErrors: 0 }), one.canary);
    return { ...one, canary };
  });
}

/**
 * The window as its latency is told: of the hosts that were compared, stable's answers weighed as the canary's are spread
 * over them, so that the figures differ by what the releases do.
 */
export function asCompared(window: CanaryWindow, { parts }: LatencyStrata): CanaryWindow {
  if (parts[0] === window) return window;
  const none: readonly number[] = new Array<number>(HISTOGRAM_BUCKETS).fill(0);
  const canary = parts.reduce((sum, one) => addHistogram(sum, one.canary.hist), [...none]);
  const own = histogramTotal(canary);
  const all = parts.reduce((sum, one) => sum + histogramTotal(one.baseline.hist ?? []), 0);
  const baseline = parts.reduce(
    (sum, one) => {
      const share = histogramTotal(one.canary.hist ?? []) / own;
      const weight = (share * all) / histogramTotal(one.baseline.hist ?? []);
      return addHistogram(
        sum,
        one.baseline.hist?.map((count) => count * weight),
      );
    },
    [...none],
  );
  const rounded = baseline.map((count) => Math.round(count * 100) / 100);
  return { canary: { ...window.canary, hist: canary }, baseline: { ...window.baseline, hist: rounded } };
}

/** Null: no two hosts are known. */
export function compareHosts(
  states: readonly HostState[] = [],
  { latShift, hostShift }: CanaryConfig,
): HostsCompared | null {
  if (states.length < 2) return null;
  const sorted = states.toSorted((a, b) => (a.host < b.host ? -1 : 1));
  const names = (some: readonly HostState[]): string[] => some.map(({ host }) => host);
  const shared = sorted.filter(isShared);
  const one = sorted.filter((state) => !isShared(state));
  return {
    shared: names(shared),
    canaryOnly: names(one.filter(({ canaryIdle }) => canaryIdle < IDLE_WINDOWS)),
    stableOnly: names(one.filter(({ stableIdle }) => stableIdle < IDLE_WINDOWS)),
    apart: sorted
      .filter(({ differs }) => differs >= TOLD)
      .map((state) => ({
        host: state.host,
        errorRate: state.stable.errors / state.stable.n,
        elsewhere: rate(elsewhere(state, states)),
      })),
    allowance: 2 ** (hostShift / 8),
    slower: shared.flatMap((state) => slower(state, states, 2 ** (latShift / 8))),
  };
}

const rate = ({ n, errors }: StableThere): number => (n > 0 ? errors / n : 0);

function slower(state: HostState, states: readonly HostState[], margin: number): HostsCompared["slower"] {
  const { host, stable } = state;
  const rest = elsewhere(state, states);
  if (Math.min(stable.answers, rest.answers) < MIN_ANSWERS) return [];
  const factor = 2 ** ((stable.buckets / stable.answers - rest.buckets / rest.answers) / 8);
  return factor > margin ? [{ host, factor }] : [];
}
