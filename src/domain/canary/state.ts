import { err, ok, type Result } from "../result.ts";
import { HISTOGRAM_BUCKETS } from "../routing/meter.ts";
import { CANARY_DEFAULTS, type CanaryConfig } from "./config.ts";
import type { ComparedSoFar } from "./dynamic-keys.ts";
import type { HostState } from "./hosts.ts";
import type { LogEvidence } from "./mixture.ts";
import { beginPlan, type PlannedState } from "./planned.ts";
import type { RoutesState } from "./routes.ts";
import { NO_TOTALS, type Synthetic, type Totals } from "./window.ts";

const STATE_SCHEMA = 1;

/**
 * All the judge remembers of one rollout; plain JSON. One state serves all steps of a rollout: a fresh one per step
 * would spend the whole chance of a false rollback again at each.
 */
export interface CanaryState {
  readonly schema: typeof STATE_SCHEMA;
  readonly config: CanaryConfig;
  /** Windows folded in so far. */
  readonly k: number;
  readonly err: readonly LogEvidence[];
  /** By quantile, then odds ratio. */
  readonly lat: readonly LogEvidence[];
  readonly guard: readonly LogEvidence[];
  /** Empty unless there is a p95 limit. */
  readonly p95: readonly LogEvidence[];
  readonly pass: readonly number[];
  /** Stable's latency, decaying. */
  readonly reference: readonly number[];
  readonly dispersion: Dispersion;
  /** φ the newest window was read with. */
  readonly phi: number;
  /** Errors counted as the test counts them: per visitor where known. */
  readonly countedErrors: number;
  readonly errorWindows: number;
  readonly slowAnswers: number;
  /** Stable's newest requests and errors, decaying by a fifth per window. */
  readonly recent: { readonly n: number; readonly errors: number };
  /** Windows since the canary's first request. */
  readonly served: number;
  /** Since the rollout began. */
  readonly totals: Totals;
  /** Since the evidence last lay below even: what a rollback is explained with. */
  readonly suspicion: Totals;
  /** By route; absent: the edge told none apart so far. */
  readonly routes?: RoutesState;
  /** Its answers against stable's since the rollout began; absent: none were compared. */
  readonly compared?: ComparedSoFar;
  /** What control asked of either side since the rollout began; absent: nothing. */
  readonly synthetic?: Synthetic;
  /** Where traffic is thin. */
  readonly planned?: PlannedState;
  /** By host; absent: the edge told none apart so far. */
  readonly hosts?: readonly HostState[];
}

/** How much more stable's error counts jump from window to window than independent errors would. */
export interface Dispersion {
  readonly n: number;
  readonly errors: number;
  readonly q: number;
  readonly s: number;
}

/** Stable's counts in one window before the canary. */
export interface HistoryWindow {
  readonly n: number;
  readonly errors: number;
  readonly distinctErrors?: number | undefined;
}

/**
 * A judge that has seen no canary request. `reference`: stable's latency histogram of the last 10 minutes or more;
 * `history`: its windows of the last 30 minutes, oldest first. Both may be missing, at the price of a slower start.
 */
export function init(
  reference?: readonly number[],
  config: Partial<CanaryConfig> = {},
  history: readonly HistoryWindow[] = [],
): CanaryState {
  const full: CanaryConfig = { ...CANARY_DEFAULTS, ...config };
  const never = (count: number): LogEvidence[] => new Array<LogEvidence>(count).fill("-Infinity");
  const counted = history.map((w) => ({ n: w.n, errors: historyErrors(w, full) }));
  const planned = beginPlan(counted, full);
  const blank: Dispersion = { n: 0, errors: 0, q: 0, s: 0 };
  return {
    schema: STATE_SCHEMA,
    config: full,
    k: 0,
    err: never(full.kappas.length),
    lat: never(full.quantiles.length * full.psis.length),
    guard: never(full.guardThetas.length),
    p95: never(full.p95MaxMs === null ? 0 : full.p95Thetas.length),
    pass: full.passAlts.map(() => 0),
    reference: reference ? [...reference] : new Array<number>(HISTOGRAM_BUCKETS).fill(0),
    dispersion: counted.reduce<Dispersion>((d, w) => disperse(d, w.n, w.errors, full), blank),
    phi: 1,
    countedErrors: 0,
    errorWindows: 0,
    slowAnswers: 0,
    recent: { n: 0, errors: 0 },
    served: 0,
    totals: NO_TOTALS,
    suspicion: NO_TOTALS,
    ...(planned && { planned }),
  };
}

/**
 * For a rollout that outlives its horizon (`horizonLeft` 0), say a pause over night: starts the evidence afresh and
 * keeps what was learned of stable. Each renewal grants a further `alpha`, the price of never looking away.
 */
export function renew(state: CanaryState): CanaryState {
  const { k, err, lat, guard, p95 } = init([], state.config);
  const { routes: _routes, planned: _planned, ...rest } = state;
  return { ...rest, k, err, lat, guard, p95 };
}

const historyErrors = (w: HistoryWindow, config: CanaryConfig): number =>
  config.perVisitor ? (w.distinctErrors ?? w.errors) : w.errors;

/**
 * Folds one stable window in. Differences of neighbours, not a plain variance: an outage shared by both sides would
 * otherwise look like burstiness and blunt the test for hours. Sick windows teach nothing.
 */
export function disperse(d: Dispersion, n: number, errors: number, config: CanaryConfig): Dispersion {
  const max = config.guardBaseMax;
  const usable = n > 0 && d.n > 0 && errors / n <= max && d.errors / d.n <= max;
  const both = usable ? errors + d.errors : 0;
  const jump = usable ? (errors * d.n - d.errors * n) ** 2 / (n * d.n) : 0;
  return {
    n,
    errors,
    q: config.dispDecay * d.q + Math.min(jump, config.dispCap * both),
    s: config.dispDecay * d.s + both,
  };
}

/** φ ≥ 1: error evidence is divided by it. */
export function burstiness(d: Dispersion, config: CanaryConfig): number {
  return Math.max(1, (config.dispPrior + d.q) / (config.dispPrior + d.s));
}

export const serialise = (state: CanaryState): string => JSON.stringify(state);

/** Reads a stored state back. An unknown or damaged one is an outcome, not a crash: the caller holds and says so. */
export function parse(text: string): Result<CanaryState, { reason: "unreadable-state"; detail: string }> {
  const fail = (detail: string) => err({ reason: "unreadable-state" as const, detail });
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    return fail(`not JSON: ${String(cause)}`);
  }
  if (typeof value !== "object" || value === null) return fail("not an object");
  const state = value as Partial<CanaryState>; // every field that arithmetic touches is checked below
  if (state.schema !== STATE_SCHEMA)
    return fail(`schema ${String(state.schema)}, this judge reads ${STATE_SCHEMA}`);
  const problem = damage(state);
  if (problem) return fail(problem);
  const checked = state as CanaryState; // by `damage`
  // One begun by an older version lacks later settings.
  return ok({ ...checked, config: { ...CANARY_DEFAULTS, ...checked.config } });
}

function damage(state: Partial<CanaryState>): string | null {
  const blank = init();
  for (const key of Object.keys(blank) as (keyof CanaryState)[]) {
    if (state[key] === undefined) return `${key} is missing`;
    const found = firstNull(state[key], key === "config");
    if (found) return `${key} holds a number that did not survive JSON`;
    if (Array.isArray(blank[key]) !== Array.isArray(state[key])) return `${key} has another shape`;
  }
  return null;
}

/** null is what JSON makes of NaN and ±∞; only settings and unknown visitor counts may be null by intent. */
function firstNull(value: unknown, allowNull: boolean): boolean {
  if (value === null) return !allowNull;
  if (typeof value !== "object") return false;
  return Object.entries(value).some(([key, inner]) =>
    firstNull(inner, allowNull || key === "distinctErrors"),
  );
}
