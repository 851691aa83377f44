/** What counts as worse, how sure the judge must be, and what guards it from noise. Figures and reasons: docs/canary.md. */
export interface CanaryConfig {
  /** Chance that a good canary is ever rolled back, over the whole rollout. */
  readonly alpha: number;
  /** Share of alpha spent on the absolute limits. */
  readonly guardShare: number;
  /** … and on faults of single routes (routes.ts). */
  readonly routeShare: number;
  /** … and on the tests that follow a plan, where traffic is thin (planned.ts). */
  readonly plannedShare: number;
  /** Windows that the rollout takes at most; null: not known. */
  readonly plannedWindows: number | null;
  /** Windows during which a change for the worse is looked for; later ones only add to suspicions already begun. */
  readonly horizonWindows: number;
  /** A canary is good while its error rate is at most rho0 · stable + delta. */
  readonly rho0: number;
  readonly delta: number;
  readonly kappas: readonly number[];
  /** … and its latency at most 2^(latShift/8) times stable's. */
  readonly latShift: number;
  /** … or while it answers within so many milliseconds: what a busy machine adds is of that size, and nobody feels it. */
  readonly latFloorMs: number;
  /** Where no host has both: hosts themselves may differ by 2^(hostShift/8). */
  readonly hostShift: number;
  readonly quantiles: readonly number[];
  readonly psis: readonly number[];
  readonly refDecay: number;
  readonly refMin: number;
  /** Error rate no canary may hold, stable or not. */
  readonly ceiling: number;
  readonly guardThetas: readonly number[];
  /** Above this error rate stable itself is sick: hold, and don't learn from it. */
  readonly guardBaseMax: number;
  /** Stable's error rate above which the ceiling rests; null: guardBaseMax. */
  readonly guardSkipMax: number | null;
  /** Chance that a canary sitting on the pass limit (passRho · stable + passDelta) is ever passed. */
  readonly beta: number;
  readonly passRho: number;
  readonly passDelta: number;
  readonly passAlts: readonly number[];
  readonly minPass: number;
  readonly minErrors: number;
  readonly minErrWindows: number;
  readonly fastErrors: number;
  readonly capErr: number;
  readonly capErrDiv: number;
  readonly capGuard: number;
  readonly capGuardDiv: number;
  readonly capLat: number;
  readonly dispDecay: number;
  readonly dispPrior: number;
  readonly dispCap: number;
  /** Milliseconds that at most 5 % of the canary's answers may exceed; null: no such limit. */
  readonly p95MaxMs: number | null;
  readonly p95Thetas: readonly number[];
  /** Count at most one error per visitor and window, where the window says how many visitors met one. */
  readonly perVisitor: boolean;
  /** The fast tick lifts the guard's cap once so many visitors met an error in the open window. */
  readonly tickVisitors: number;
  /** Windows from the canary's first request in which latency is not judged. Errors always are. */
  readonly warmUpWindows: number;
  /** … but for answers that take longer than so many milliseconds: that is no cold cache, but hangs. Absent: none are. */
  readonly warmUpFloorMs?: number;
  /** Fields of compared answers that are to differ (differing.ts). */
  readonly ignore: readonly string[];
}

export const CANARY_DEFAULTS: CanaryConfig = {
  alpha: 0.01,
  guardShare: 0.1,
  routeShare: 0,
  plannedShare: 0,
  plannedWindows: null,
  horizonWindows: 360,
  rho0: 1.25,
  delta: 0.0005,
  kappas: [1.5, 2.5, 5, 12, 40, 200],
  latShift: 2,
  latFloorMs: 0,
  hostShift: 4,
  quantiles: [0.5, 0.9, 0.99],
  psis: [1.5, 2.5, 6, 30],
  refDecay: 0.98,
  refMin: 100,
  ceiling: 0.1,
  guardThetas: [0.25, 0.6, 0.95],
  guardBaseMax: 0.05,
  guardSkipMax: null,
  beta: 0.05,
  passRho: 2,
  passDelta: 0.01,
  passAlts: [1, 0.01],
  minPass: 300,
  minErrors: 3,
  minErrWindows: 2,
  fastErrors: 5,
  capErr: 3,
  capErrDiv: 40,
  capGuard: 5,
  capGuardDiv: 10,
  capLat: 3,
  dispDecay: 0.995,
  dispPrior: 10,
  dispCap: 10,
  p95MaxMs: null,
  p95Thetas: [0.1, 0.25, 0.6, 0.95],
  perVisitor: true,
  tickVisitors: 10,
  warmUpWindows: 0,
  ignore: [],
};

/** "p95 > L" is the same as "more than this share of answers is slower than L". */
export const P95_CEILING = 0.05;

/** What a manifest's `analysis:` may say, already parsed; rates are fractions. */
export interface AnalysisLimits {
  readonly errorRateMax?: number;
  readonly p95MaxMs?: number;
  readonly warmUpWindows?: number;
  /** Length of the whole rollout in windows, pauses included: the longer it is, the thinner the watch is spread. */
  readonly plannedWindows?: number;
  /** Fields of compared answers that are to differ (differing.ts). */
  readonly ignore?: readonly string[];
}

/** What the search for a failing route may spend, where the edge tells routes apart. */
const ROUTE_SHARE = 0.1;
/** What is spent by a plan where traffic is thin: half of what the comparison of the whole has. */
const PLANNED_SHARE = 0.4;

/** What is within them is quick, however much quicker stable is: beside it, and against another time of day. */
const QUICK_MS = { beside: 10, before: 20 };

/** Nothing that is only cold takes so long; and what LATE_MS tells of took longer. */
const HANGING_MS = 4_000;

/** User limits as configuration. Throws RangeError on a limit no canary could be judged by. */
export function canaryConfig(limits: AnalysisLimits): Partial<CanaryConfig> {
  const { errorRateMax, p95MaxMs, warmUpWindows, plannedWindows } = limits;
  const config: { -readonly [K in keyof CanaryConfig]?: CanaryConfig[K] } = {
    routeShare: ROUTE_SHARE,
    latFloorMs: QUICK_MS.beside,
  };
  if (errorRateMax !== undefined) Object.assign(config, ceilingAt(errorRateMax));
  if (p95MaxMs !== undefined) {
    if (!(p95MaxMs > 0 && Number.isFinite(p95MaxMs))) {
      throw new RangeError(`p95Max must be a positive time, got ${p95MaxMs} ms`);
    }
    config.p95MaxMs = p95MaxMs;
  }
  if (warmUpWindows !== undefined) config.warmUpWindows = warmUpWindows;
  if (limits.ignore?.length) config.ignore = limits.ignore;
  if (plannedWindows !== undefined) {
    Object.assign(config, { plannedWindows, plannedShare: PLANNED_SHARE });
    config.horizonWindows = Math.max(CANARY_DEFAULTS.horizonWindows, Math.ceil(plannedWindows));
  }
  return config;
}

/**
 * For a release that is compared with what was before it, and not with what is beside it: the hour, the day's visitors and
 * caches that are still cold differ as well, so only what is clearly worse counts. Twice the error rate and half a percent;
 * twice the latency, from the second minute on, and of what takes longer than 20 ms; in the first, of what hangs, unless the
 * manifest has its own word on how long it is cold.
 */
export const watchConfig = (limits: AnalysisLimits): Partial<CanaryConfig> => ({
  ...canaryConfig({ ...limits, warmUpWindows: Math.max(6, limits.warmUpWindows ?? 0) }),
  rho0: 2,
  delta: 0.005,
  latShift: 8,
  latFloorMs: QUICK_MS.before,
  ...(limits.warmUpWindows ? {} : { warmUpFloorMs: HANGING_MS }),
  // It is not compared with what is beside it, and what is exact about a count is not exact there.
  plannedShare: 0,
});

/** A low ceiling needs alternatives close above it: against 25 % alone, 4 % would speak *for* a limit of 1 %. */
function ceilingAt(rate: number): Pick<CanaryConfig, "ceiling" | "guardThetas" | "guardSkipMax"> {
  if (!(rate > 0 && rate < 1)) throw new RangeError(`errorRateMax must lie between 0 and 1, got ${rate}`);
  const near = [2.5 * rate, 6 * rate].map((theta) => Number(theta.toPrecision(12)));
  const thetas = [...new Set([...near, ...CANARY_DEFAULTS.guardThetas])].sort((a, b) => a - b);
  return {
    ceiling: rate,
    guardThetas: thetas
      .filter((theta) => theta > rate && theta < 1)
      .concat(rate >= 0.95 ? [(1 + rate) / 2] : []),
    guardSkipMax: Math.min(rate, CANARY_DEFAULTS.guardBaseMax),
  };
}
