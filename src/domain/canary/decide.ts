import { type DifferingFields, differing } from "./differing.ts";
import { countErrors, isPerVisitor } from "./errors.ts";
import { histogramTotal, logAdd, logSumExp, quantileBucket } from "./evidence.ts";
import { compareHosts, type HostsCompared } from "./hosts.ts";
import { type LogEvidence, mixture, restart, toLog } from "./mixture.ts";
import { crossedQuantile } from "./planned.ts";
import { type Culprit, culprits, isShown, NO_ROUTES, routesLog } from "./routes.ts";
import type { CanaryState } from "./state.ts";
import { guardLogs, isEven, routesAfter } from "./update.ts";
import {
  addWindow,
  type CanaryWindow,
  checkWindow,
  NO_TOTALS,
  type Synthetic,
  type Totals,
} from "./window.ts";

export type Verdict =
  | {
      readonly verdict: "rollback";
      readonly reason: "error-ceiling" | "latency-ceiling" | "errors" | "latency" | "route";
    }
  | { readonly verdict: "hold"; readonly reason: "shared-degradation" }
  | { readonly verdict: "pass"; readonly reason: "non-inferior" }
  | { readonly verdict: "continue"; readonly reason: "low-traffic" | "not-proven" };

/** What a verdict was reached from; plain JSON, to be stored with it. Logs are natural; 0 = nothing known yet. */
interface Numbers {
  /** Evidence that the canary is worse than stable; rolls back at `limits.worse`. */
  readonly logE: number;
  readonly logErr: number;
  readonly logLat: number;
  /** Evidence that its error rate is over the ceiling; rolls back at `limits.guard`. */
  readonly logGuard: number;
  /** Evidence that its p95 is over the user's limit; null without one. */
  readonly logP95: number | null;
  /** Evidence that it is no worse than the pass margin; passes at `limits.pass`. */
  readonly logPass: number;
  /** Evidence that some route is worse; rolls back at `limits.routes`. Null: no routes are told apart. */
  readonly logRoutes: number | null;
  /** The tests that follow a plan, where traffic is thin; null: there are none. Absent in what was said before there were. */
  readonly planned?: Planned | null;
  readonly phi: number;
  /** Always valid: may be read after every window. */
  readonly pValue: number;
  readonly limits: {
    readonly worse: number;
    readonly guard: number;
    readonly pass: number;
    readonly routes: number;
    readonly errorRateMax: number;
    readonly p95MaxMs: number | null;
    readonly minRequests: number;
  };
  readonly windows: number;
  /** Windows left in which a change for the worse is looked for; at 0, `renew`. */
  readonly horizonLeft: number;
  readonly rollout: Compared;
  /** The windows that made the suspicion: since the evidence last lay below even. */
  readonly suspicion: Compared;
  /** Where it fails: the routes that speak most against the canary, the likeliest first. */
  readonly culprits: readonly Culprit[];
  /** How hosts were told apart; null: they were not. Absent in what was said before they were. */
  readonly hosts?: HostsCompared | null;
  /** Stable's error rate over about the last minute. */
  readonly recentBaselineErrorRate: number;
  /** Errors as the test counted them (once per visitor and window where known). */
  readonly countedErrors: number;
  /** Fields of mirrored answers that differ for the canary alone: told, and nothing done by them. Absent: none. */
  readonly differing?: DifferingFields;
  /** Mirrored answers that were compared with stable's; absent: none. */
  readonly answersCompared?: number;
  /** Requests of each side that control made itself; absent: none. */
  readonly synthetic?: Synthetic;
}

interface Planned {
  /** Share of the plan's time that has passed. */
  readonly passed: number;
  readonly crossed: "errors" | "latency" | null;
}

export interface Compared {
  readonly windows: number;
  readonly canary: Side;
  readonly baseline: Side;
  /** The quantile with most latency evidence. */
  readonly quantile: number;
}

export interface Side {
  readonly requests: number;
  /** Of those, visits of control's own (`load:`); absent: none. */
  readonly synthetic?: number;
  readonly errors: number;
  readonly distinctErrors: number | null;
  /** Answers with a measured latency. */
  readonly answers: number;
  /** Milliseconds, to within a bucket (9 %); null without answers. */
  readonly p50Ms: number | null;
  readonly p95Ms: number | null;
  readonly p99Ms: number | null;
  readonly quantileMs: number | null;
}

export type Judgement = Verdict & Numbers;

/** What to do now. The caller latches `rollback`: evidence may sink again after the canary is gone. */
export function decide(state: CanaryState): Judgement {
  const numbers = measure(state);
  const verdict = judge(state, numbers);
  const quantile = crossedQuantile(state.planned);
  const isByPlan = verdict.verdict === "rollback" && numbers.planned?.crossed === verdict.reason;
  // Its tests are of the whole, and so is what is said.
  return isByPlan
    ? { ...verdict, ...numbers, suspicion: compare(state.totals, quantile ?? numbers.suspicion.quantile) }
    : { ...verdict, ...numbers };
}

/**
 * The fast tick: reads the windows that are not folded in yet (oldest first, the last one still open) against the
 * error ceiling alone. It returns a rollback or null and keeps nothing, so a window's evidence is spent once, by
 * `update`. Peeking inside a window is sound because the guard's e-value is a martingale request by request.
 */
export function tick(state: CanaryState, open: readonly CanaryWindow[]): Judgement | null {
  const { config } = state;
  const expectsStable = state.dispersion.n > 0 || state.recent.n >= 1;
  let glimpse = state;
  for (const window of open) {
    checkWindow(window);
    // Stable had traffic but none is counted here yet: an outage both share would look like the canary's own.
    if (expectsStable && window.baseline.n === 0) continue;
    const counted = countErrors(window, config).canary;
    // Caps keep one cause with many errors from deciding; so many different visitors are not one cause.
    const capped = !isPerVisitor(window, config) || counted < config.tickVisitors;
    const k = glimpse.k + 1;
    glimpse = {
      ...glimpse,
      k,
      ...routesAfter(glimpse, window, glimpse.phi),
      guard: restart(glimpse.guard, guardLogs(window, capped, glimpse), k, config.horizonWindows),
      countedErrors: glimpse.countedErrors + counted,
      totals: addWindow(glimpse.totals, window),
      suspicion: addWindow(isEven(glimpse) ? NO_TOTALS : glimpse.suspicion, window),
    };
  }
  return isOverCeiling(glimpse)
    ? { verdict: "rollback", reason: "error-ceiling", ...measure(glimpse) }
    : null;
}

function judge(state: CanaryState, numbers: Numbers): Verdict {
  const { config, totals } = state;
  const { logE, logErr, logLat, logP95, logPass, limits } = numbers;
  if (isOverCeiling(state)) return { verdict: "rollback", reason: "error-ceiling" };
  if (logP95 !== null && logP95 >= limits.guard && state.slowAnswers >= config.fastErrors) {
    return { verdict: "rollback", reason: "latency-ceiling" };
  }
  if (logE >= limits.worse && (logLat > logErr || hasErrors(state))) {
    return { verdict: "rollback", reason: logLat > logErr ? "latency" : "errors" };
  }
  if (numbers.planned?.crossed) return { verdict: "rollback", reason: numbers.planned.crossed };
  if (isRouteWorse(state, numbers)) return { verdict: "rollback", reason: "route" };
  if (numbers.recentBaselineErrorRate > config.guardBaseMax) {
    return { verdict: "hold", reason: "shared-degradation" };
  }
  const requests = totals.canary.requests;
  const isSuspected = logE >= 0 || (numbers.logRoutes ?? -1) >= 0;
  if (logPass >= limits.pass && requests >= config.minPass && !isSuspected) {
    return { verdict: "pass", reason: "non-inferior" };
  }
  return { verdict: "continue", reason: requests < config.minPass ? "low-traffic" : "not-proven" };
}

/** A verdict on errors needs more than one or two. */
const hasErrors = ({ countedErrors, errorWindows, config }: CanaryState): boolean =>
  (countedErrors >= config.minErrors && errorWindows >= config.minErrWindows) ||
  countedErrors >= config.fastErrors;

const isRouteWorse = ({ routes, config }: CanaryState, { logRoutes, limits }: Numbers): boolean =>
  routes !== undefined && logRoutes !== null && logRoutes >= limits.routes && isShown(routes, config);

const isOverCeiling = (state: CanaryState): boolean =>
  state.countedErrors >= state.config.fastErrors && mixture(state.guard) >= guardLimit(state);

/** A second absolute limit shares the guard's part of alpha, so that the whole stays alpha. */
function guardLimit({ config, p95 }: CanaryState): number {
  return -Math.log((config.alpha * config.guardShare) / (p95.length > 0 ? 2 : 1));
}

function measure(state: CanaryState): Numbers {
  const { config, recent } = state;
  const logErr = standing(state.err);
  const logLat = standing(state.lat);
  const logE = logAdd(logErr, logLat) - Math.log(2);
  const hasP95 = state.p95.length > 0;
  const quantile = leadingQuantile(state);
  return {
    logE,
    logErr,
    logLat,
    logGuard: standing(state.guard),
    logP95: hasP95 ? standing(state.p95) : null,
    logPass: logSumExp(state.pass) - Math.log(state.pass.length),
    logRoutes: state.routes ? finite(routesLog(state.routes)) : null,
    planned: plannedOf(state),
    phi: state.phi,
    pValue: Math.min(1, Math.exp(-logE)),
    limits: {
      worse: -Math.log(config.alpha * worseShare(state)),
      guard: guardLimit(state),
      pass: -Math.log(config.beta),
      // Without a share nothing is ever decided by routes alone.
      routes: config.routeShare > 0 ? -Math.log(config.alpha * config.routeShare) : Number.MAX_VALUE,
      errorRateMax: config.ceiling,
      p95MaxMs: config.p95MaxMs,
      minRequests: config.minPass,
    },
    windows: state.totals.windows,
    horizonLeft: Math.max(0, config.horizonWindows + 1 - state.k),
    rollout: compare(state.totals, quantile),
    suspicion: compare(state.suspicion, quantile),
    culprits: culprits(state.routes ?? NO_ROUTES),
    hosts: compareHosts(state.hosts, config),
    recentBaselineErrorRate: recent.n > 0 ? recent.errors / recent.n : 0,
    countedErrors: state.countedErrors,
    ...differingIn(state),
    ...(state.synthetic ? { synthetic: state.synthetic } : {}),
  };
}

/** What is left of alpha for the comparison of the whole by e-values. */
const worseShare = ({ config, planned }: CanaryState): number =>
  1 - config.guardShare - config.routeShare - (planned ? config.plannedShare : 0);

function plannedOf(state: CanaryState): Planned | null {
  const { planned, config, k } = state;
  if (!planned) return null;
  const passed = Math.min(1, k / (config.plannedWindows ?? k));
  if (planned.errors.hasCrossed && hasErrors(state)) return { passed, crossed: "errors" };
  return { passed, crossed: crossedQuantile(planned) === null ? null : "latency" };
}

function differingIn({ compared }: CanaryState): Pick<Numbers, "differing" | "answersCompared"> {
  if (!compared) return {};
  const found = differing(compared);
  const answersCompared = compared.routes.reduce((sum, { answers }) => sum + answers, 0);
  return { answersCompared, ...(found ? { differing: found } : {}) };
}

/** Before its first window a test knows nothing: an e-value of 1. */
const standing = (components: readonly LogEvidence[]): number => finite(mixture(components));
const finite = (log: number): number => (log === -Infinity ? 0 : log);

function leadingQuantile({ config, lat }: CanaryState): number {
  let best = 0;
  const log = (i: number): number => toLog(lat[i] ?? "-Infinity");
  for (let i = 1; i < lat.length; i++) if (log(i) > log(best)) best = i;
  return config.quantiles[Math.floor(best / config.psis.length)] ?? 0.5;
}

function compare(totals: Totals, quantile: number): Compared {
  const side = ({ requests, synthetic, errors, distinctErrors, hist }: Totals["canary"]): Side => {
    const answers = Math.round(histogramTotal(hist));
    const at = (q: number): number | null => (answers > 0 ? bucketMs(quantileBucket(hist, q)) : null);
    return {
      requests,
      ...(synthetic !== undefined && { synthetic }),
      errors,
      distinctErrors,
      answers,
      p50Ms: at(0.5),
      p95Ms: at(0.95),
      p99Ms: at(0.99),
      quantileMs: at(quantile),
    };
  };
  return { windows: totals.windows, canary: side(totals.canary), baseline: side(totals.baseline), quantile };
}

/** The middle of a bucket, on its logarithmic scale. */
const bucketMs = (bucket: number): number => Number((2 ** ((bucket + 0.5) / 8)).toPrecision(3));
