/**
 * Where traffic is thin, what a mixture of e-values pays for being readable for ever is most of what there is to know. How long a
 * rollout may take is known beforehand, so a part of alpha is spent by that plan (Lan and DeMets 1983, in proportion to the time
 * passed): of so many failed or slow answers of both sides, how many fell to the canary? Under "the canary is good" that count's
 * distribution is known exactly, window by window and whatever stable's rate is; it is carried along without the courses that
 * would have been rolled back before.
 */
import { HISTOGRAM_BUCKETS } from "../routing/meter.ts";
import type { CanaryConfig } from "./config.ts";
import { type Arms, countErrors, isPerVisitor } from "./errors.ts";
import { histogramTotal, logSumExp, quantileBucket } from "./evidence.ts";
import { errorStrata, type HostState, type LatencyStrata, latencyStrata } from "./hosts.ts";
import { type ArmWindow, addHistogram, type CanaryWindow } from "./window.ts";

/** Where more requests than this are expected by the end of the plan, the mixture sees as much. */
const MOST_REQUESTS = 10_000;
/** Windows are folded in by so many requests: of a handful one can't say which side was slow. */
const FOLDED_REQUESTS = 20;
/** Answers slower than these quantiles of stable's are counted. */
const QUANTILES = [0.5, 0.9] as const;
/** Chances below this are left out. */
const NEGLIGIBLE = 1e-12;

/** A count of the canary's, and what it could have been. Plain JSON. */
export interface ExactCount {
  readonly count: number;
  /** The chance of each count from `from` on, and of no rollback so far, while the canary is good. */
  readonly from: number;
  readonly chances: readonly number[];
  /** Chance of a rollback so far: what was spent. */
  readonly spent: number;
  readonly hasCrossed: boolean;
}

export interface PlannedState {
  /** Stable's requests and errors, from before the canary on. */
  readonly stable: { readonly n: number; readonly errors: number };
  /** Requests of both sides folded in. */
  readonly requests: number;
  /** Windows that wait until they are enough. */
  readonly waiting: CanaryWindow;
  /** Parts of errors that are left over: a burst counts as one. */
  readonly rest: { readonly canary: number; readonly baseline: number };
  readonly errors: ExactCount;
  /** By QUANTILES. */
  readonly slow: readonly ExactCount[];
}

/** Share of the plan's part of alpha. */
const ERRORS_SHARE = 0.5;
const SLOW_SHARE = (1 - ERRORS_SHARE) / QUANTILES.length;

const NO_ARM: ArmWindow = { n: 0, errors: 0, distinctErrors: 0 };
const NO_HISTOGRAM = new Array<number>(HISTOGRAM_BUCKETS).fill(0);
const NO_WINDOW: CanaryWindow = { canary: NO_ARM, baseline: NO_ARM };
const NO_COUNT: ExactCount = { count: 0, from: 0, chances: [1], spent: 0, hasCrossed: false };

/** Undefined where there is no plan, or traffic enough, or none is known of. `history`: stable's windows before. */
export function beginPlan(
  history: readonly { readonly n: number; readonly errors: number }[],
  { plannedWindows, plannedShare }: CanaryConfig,
): PlannedState | undefined {
  const stable = history.reduce((sum, { n, errors }) => ({ n: sum.n + n, errors: sum.errors + errors }), {
    n: 0,
    errors: 0,
  });
  const expected = (stable.n / history.length) * (plannedWindows ?? Infinity);
  return plannedShare > 0 && expected <= MOST_REQUESTS ? planFrom(stable) : undefined;
}

/** One of which nothing is known but stable's counts before. */
export const planFrom = (stable: PlannedState["stable"]): PlannedState => ({
  stable,
  requests: 0,
  waiting: NO_WINDOW,
  rest: { canary: 0, baseline: 0 },
  errors: NO_COUNT,
  slow: QUANTILES.map(() => NO_COUNT),
});

export interface Planning {
  /** Windows since the rollout began, this one included. */
  readonly k: number;
  /** Burstiness of stable's errors. */
  readonly phi: number;
  /** Stable's latency from before this window. */
  readonly reference: readonly number[];
  /** False while the canary warms up. */
  readonly judgesLatency: boolean;
  /** Hosts, without this window and with it. */
  readonly known: Readonly<Record<"before" | "now", readonly HostState[] | undefined>>;
  readonly config: CanaryConfig;
}

/** Folds a window in, once it and those that wait are enough. */
export function followPlan(plan: PlannedState, window: CanaryWindow, planning: Planning): PlannedState {
  const { config, k, judgesLatency } = planning;
  const waiting = merge(plan.waiting, judgesLatency ? window : withoutLatency(window), config);
  const { canary, baseline } = waiting;
  const requests = plan.requests + canary.n + baseline.n;
  if (canary.n === 0 || baseline.n === 0 || canary.n + baseline.n < FOLDED_REQUESTS)
    return { ...plan, waiting };
  // More came than was expected: it has said what it can, and must not grow for ever.
  if (requests > 2 * MOST_REQUESTS) return { ...plan, waiting: NO_WINDOW };
  const share = Math.min(1, k / (config.plannedWindows ?? Infinity));
  const mayBeSpent = config.alpha * config.plannedShare * share;
  const { errors, rest } = foldErrors(plan, errorStrata(waiting, planning.known.before), planning);
  const slowing = latencyStrata(waiting, planning.known.now, config);
  return {
    stable: { n: plan.stable.n + baseline.n, errors: plan.stable.errors + baseline.errors },
    requests,
    waiting: NO_WINDOW,
    rest,
    errors: look(errors, mayBeSpent * ERRORS_SHARE),
    slow: plan.slow.map((one, i) =>
      look(foldSlow(one, slowing, QUANTILES[i] ?? 0.5, planning), mayBeSpent * SLOW_SHARE),
    ),
  };
}

/** Each error of both sides is the canary's with the chance that its share of the requests and the margin make. */
function foldErrors(plan: PlannedState, strata: readonly Arms[], { phi, config }: Planning) {
  const rate = (plan.stable.errors + 0.5) / (plan.stable.n + 1);
  const ratio = config.rho0 + config.delta / rate;
  let { canary: ownRest, baseline: otherRest } = plan.rest;
  let { errors } = plan;
  for (const { canary, baseline } of strata) {
    // One side's alone say nothing, and their chance would be certainty.
    if (canary.n === 0 || baseline.n === 0) continue;
    const most = Math.max(config.minErrors, canary.n / config.capGuardDiv);
    ownRest += Math.min(canary.errors, most) / phi;
    otherRest += baseline.errors / phi;
    const own = Math.floor(ownRest);
    const all = own + Math.floor(otherRest);
    ownRest -= own;
    otherRest -= all - own;
    const chance = (ratio * canary.n) / (ratio * canary.n + baseline.n);
    errors = add(errors, own, binomial(all, chance));
  }
  return { errors, rest: { canary: ownRest, baseline: otherRest } };
}

/** Of the slow answers of both sides, how many are the canary's: hypergeometric, whatever latency is like. */
function foldSlow(
  one: ExactCount,
  { parts, margin, leastEdge }: LatencyStrata,
  quantile: number,
  { reference }: Planning,
) {
  if (histogramTotal(reference) === 0) return one;
  const edge = Math.max(leastEdge, quantileBucket(reference, quantile));
  let sum = one;
  for (const { canary, baseline } of parts) {
    const own = slower(canary, edge + margin);
    const all = own + slower(baseline, edge);
    const sizes = { own: histogramTotal(canary.hist ?? []), other: histogramTotal(baseline.hist ?? []) };
    sum = add(sum, own, hypergeometric(all, sizes));
  }
  return sum;
}

const slower = ({ hist = [] }: ArmWindow, edge: number): number => histogramTotal(hist.slice(edge + 1));

interface Chances {
  readonly least: number;
  /** Of `least`, and each number above it. */
  readonly chances: readonly number[];
}

/** The count after so many more, of what could have been added. */
function add(one: ExactCount, more: number, { least, chances }: Chances): ExactCount {
  const next = new Array<number>(one.chances.length + chances.length - 1).fill(0);
  for (const [i, before] of one.chances.entries())
    for (const [j, chance] of chances.entries()) next[i + j] = (next[i + j] ?? 0) + before * chance;
  // Left out is only what is far below: what lies above is what counts.
  let low = 0;
  while (low < next.length - 1 && (next[low] ?? 0) < NEGLIGIBLE) low += 1;
  return { ...one, count: one.count + more, from: one.from + least + low, chances: next.slice(low) };
}

/** Spends up to `allowed` in all on the highest counts. */
function look(one: ExactCount, allowed: number): ExactCount {
  let length = one.chances.length;
  let { spent } = one;
  while (length > 0 && spent + (one.chances[length - 1] ?? 0) <= allowed) {
    length -= 1;
    spent += one.chances[length] ?? 0;
  }
  const hasCrossed = one.count >= one.from + length;
  return { ...one, chances: one.chances.slice(0, length), spent, hasCrossed };
}

/** The quantile at which the canary is too slow; null: none. */
export function crossedQuantile(plan: PlannedState | undefined): number | null {
  const at = plan?.slow.findIndex(({ hasCrossed }) => hasCrossed) ?? -1;
  return QUANTILES[at] ?? null;
}

/** How many of `all` are the canary's, each with this chance. */
function binomial(all: number, chance: number): Chances {
  const odds = chance / (1 - chance);
  return byRatio(0, all, (i) => ((all - i) / (i + 1)) * odds);
}

/** How many of `all` fall to `own`. */
function hypergeometric(all: number, { own, other }: { own: number; other: number }): Chances {
  const least = Math.max(0, all - other);
  return byRatio(
    least,
    Math.min(own, all),
    (i) => ((own - i) * (all - i)) / ((i + 1) * (other - all + i + 1)),
  );
}

/** `ratio`: how much likelier i + 1 is than i. In logs: the first of thousands is too unlikely for a double. */
function byRatio(least: number, most: number, ratio: (i: number) => number): Chances {
  const logs = [0];
  for (let i = least; i < most; i++) logs.push((logs.at(-1) ?? 0) + Math.log(ratio(i)));
  const all = logSumExp(logs);
  return { least, chances: logs.map((log) => Math.exp(log - all)) };
}

function merge(waiting: CanaryWindow, window: CanaryWindow, config: CanaryConfig): CanaryWindow {
  const hosts = new Map((waiting.hosts ?? []).map((one) => [one.host, one]));
  for (const one of window.hosts ?? [])
    hosts.set(one.host, { host: one.host, ...sides(hosts.get(one.host) ?? NO_WINDOW, one, config) });
  return { ...sides(waiting, window, config), ...(hosts.size > 0 && { hosts: [...hosts.values()] }) };
}

/** Where visitors can't be told apart, one who tries again and again would pass for many: such errors are left out. */
function sides(waiting: Arms, window: Arms, config: CanaryConfig): Arms {
  const counted = isPerVisitor(window, config) ? countErrors(window, config) : { canary: 0, baseline: 0 };
  const sum = (side: "canary" | "baseline"): ArmWindow => ({
    n: waiting[side].n + window[side].n,
    errors: waiting[side].errors + counted[side],
    hist: addHistogram(window[side].hist ?? NO_HISTOGRAM, waiting[side].hist),
  });
  return { canary: sum("canary"), baseline: sum("baseline") };
}

function withoutLatency({ canary, baseline, hosts }: CanaryWindow): CanaryWindow {
  const bare = ({ n, errors, distinctErrors }: ArmWindow): ArmWindow => ({ n, errors, distinctErrors });
  return {
    canary: bare(canary),
    baseline: bare(baseline),
    ...(hosts && {
      hosts: hosts.map((one) => ({
        host: one.host,
        canary: bare(one.canary),
        baseline: bare(one.baseline),
      })),
    }),
  };
}
