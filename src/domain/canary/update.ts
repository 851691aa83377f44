import type { CanaryConfig } from "./config.ts";
import { P95_CEILING } from "./config.ts";
import { addCompared } from "./differing.ts";
import { type Arms, countErrors, errorLogs } from "./errors.ts";
import { histogramTotal, logAdd, logEGuard, logEOddsAll, logEPass, quantileBucket } from "./evidence.ts";
import {
  asCompared,
  errorStrata,
  FEW_REQUESTS,
  type LatencyStrata,
  latencyStrata,
  onSoundHosts,
  routesElsewhere,
  updateHosts,
} from "./hosts.ts";
import { type LogEvidence, mixture, restart } from "./mixture.ts";
import { followPlan } from "./planned.ts";
import { NO_ROUTES, updateRoutes } from "./routes.ts";
import { burstiness, type CanaryState, disperse } from "./state.ts";
import {
  addHistogram,
  addSynthetic,
  addWindow,
  type CanaryWindow,
  checkWindow,
  NO_TOTALS,
  withoutAnswered,
} from "./window.ts";

const RECENT_DECAY = 0.8;

/**
 * Folds one whole window in. Windows lie on a fixed clock and come once each, oldest first; counts that arrive after
 * their window was folded belong to the next one. Throws RangeError on impossible counts.
 */
export function update(state: CanaryState, counted: CanaryWindow): CanaryState {
  checkWindow(counted);
  return fold(state, withoutAnswered(counted));
}

function fold(state: CanaryState, window: CanaryWindow): CanaryState {
  const { config } = state;
  const { canary, baseline } = window;
  const counted = countErrors(window, config);
  const phi = burstiness(state.dispersion, config);
  // An answer that is late is known before it is a request.
  const isServing = state.served > 0 || canary.n > 0 || histogramTotal(canary.hist ?? []) > 0;
  const served = state.served + (isServing ? 1 : 0);
  const isWarm = served > config.warmUpWindows;
  const { warmUpFloorMs } = config;
  const k = state.k + 1;
  const grow = (past: readonly LogEvidence[], logs: readonly number[]): LogEvidence[] =>
    restart(past, logs, k, config.horizonWindows);
  const hosts = state.hosts || window.hosts ? updateHosts(state.hosts ?? [], window, phi, config) : undefined;
  const failing = errorStrata(window, state.hosts);
  // A host that begins to fail in this very window: less evidence is evidence still.
  const failingNow = errorStrata(window, hosts);
  const latFloorMs = isWarm ? config.latFloorMs : (warmUpFloorMs ?? config.latFloorMs);
  const slowing = latencyStrata(window, hosts, { ...config, latFloorMs });
  const isTimed = isWarm || warmUpFloorMs !== undefined;
  const compared = asCompared(window, slowing);
  const slow = slowCounts(window, compared, config);
  // Without stable's answers an outage of both would look like the canary's own.
  const p95Judged = isWarm && (baseline.n > 0 || state.recent.n < 1);

  return {
    ...state,
    k,
    err: grow(state.err, least(errorLogs(failing, phi, config), errorLogs(failingNow, phi, config))),
    lat: grow(state.lat, isTimed ? latencyLogs(slowing, state) : state.lat.map(() => 0)),
    guard: grow(state.guard, guardLogs(window, true, state)),
    p95: grow(state.p95, p95Judged ? p95Logs(slow, config) : state.p95.map(() => 0)),
    pass: passLogs(state, failing),
    reference: addHistogram(state.reference, baseline.hist, config.refDecay),
    dispersion: disperse(state.dispersion, baseline.n, counted.baseline, config),
    phi,
    countedErrors: state.countedErrors + counted.canary,
    errorWindows: state.errorWindows + (counted.canary > 0 ? 1 : 0),
    slowAnswers: state.slowAnswers + (p95Judged ? slow.x : 0),
    recent: {
      n: RECENT_DECAY * state.recent.n + baseline.n,
      errors: RECENT_DECAY * state.recent.errors + baseline.errors,
    },
    served,
    totals: addWindow(state.totals, compared),
    suspicion: addWindow(isEven(state) ? NO_TOTALS : state.suspicion, compared),
    ...routesAfter(state, window, phi),
    ...(window.compared ? { compared: addCompared(state.compared, window.compared, config.ignore) } : {}),
    ...(window.synthetic ? { synthetic: addSynthetic(state.synthetic, window.synthetic) } : {}),
    ...(state.planned && {
      planned: followPlan(state.planned, window, {
        ...{ k, phi, config },
        reference: state.reference,
        known: { before: state.hosts, now: hosts },
        judgesLatency: isWarm,
      }),
    }),
    ...(hosts ? { hosts } : {}),
  };
}

const least = (some: readonly number[], others: readonly number[]): number[] =>
  some.map((log, i) => Math.min(log, others[i] ?? log));

/** With this window folded in; nothing while no window has told routes apart. */
export function routesAfter(
  { routes, config, hosts }: CanaryState,
  window: CanaryWindow,
  phi: number,
): Pick<CanaryState, "routes"> {
  if (!routes && !window.routes) return {};
  return { routes: updateRoutes(routes ?? NO_ROUTES, routesElsewhere(window, hosts) ?? [], phi, config) };
}

/** True while nothing speaks against the canary: the next window may be the first of a suspicion. */
export function isEven(state: CanaryState): boolean {
  const comparison = logAdd(mixture(state.err), mixture(state.lat)) - Math.log(2);
  const p95 = state.p95.length > 0 ? mixture(state.p95) : -Infinity;
  return comparison < 0 && mixture(state.guard) < 0 && p95 < 0;
}

/** Pass evidence takes every error as it came: counting per visitor would make passing easier. */
function passLogs(state: CanaryState, strata: readonly Arms[]): number[] {
  const { passRho, passDelta, passAlts } = state.config;
  return state.pass.map((past, i) =>
    strata.reduce(
      (sum, { canary, baseline }) =>
        sum +
        logEPass(canary.errors, canary.n, baseline.errors, baseline.n, passRho, passDelta, passAlts[i] ?? 1),
      past,
    ),
  );
}

function latencyLogs({ parts, margin, leastEdge }: LatencyStrata, state: CanaryState): number[] {
  const { quantiles, psis, refMin, capLat } = state.config;
  if (withTotal(state.reference).n < refMin) return state.lat.map(() => 0);
  const sides = parts.map(
    ({ canary, baseline }) => [withTotal(canary.hist), withTotal(baseline.hist)] as const,
  );
  return quantiles.flatMap((q) => {
    const edge = Math.max(leastEdge, quantileBucket(state.reference, q));
    const sums = psis.map(() => 0);
    for (const [own, stable] of sides) {
      const x = above(own.hist, edge + margin);
      const y = above(stable.hist, edge);
      for (const [i, log] of logEOddsAll({ x, nC: own.n, y, nB: stable.n }, psis).entries())
        sums[i] = (sums[i] ?? 0) + log;
    }
    return sums.map((log) => Math.min(capLat, log));
  });
}

/**
 * Rests while stable is sick too: an outage both sides share says nothing about the canary. Duplicate errors of a
 * visitor leave the count as if never sent, so that a dead canary still reads as 100 %.
 */
export function guardLogs(
  window: CanaryWindow,
  capped: boolean,
  { config, recent }: Pick<CanaryState, "config" | "recent">,
): number[] {
  const skipMax = config.guardSkipMax ?? config.guardBaseMax;
  const isOver = ({ n, errors }: { n: number; errors: number }) => n > 0 && errors > skipMax * n;
  const isSick = isOver(window.baseline) || (window.baseline.n < FEW_REQUESTS && isOver(recent));
  if (isSick) return config.guardThetas.map(() => 0);
  const sound = onSoundHosts(window, skipMax);
  const { canary } = sound;
  const counted = countErrors(sound, config).canary;
  const n = canary.n - (canary.errors - counted);
  const cap = capped ? Math.max(config.capGuard, canary.n / config.capGuardDiv) : Infinity;
  return config.guardThetas.map((theta) => Math.min(cap, logEGuard(counted, n, config.ceiling, theta)));
}

interface Slow {
  readonly x: number;
  readonly nC: number;
  readonly stableOver: boolean;
}

/**
 * Answers slower than the p95 limit, the limit rounded up to the next bucket's edge. All of the canary's count; stable is
 * asked as it is on the canary's hosts.
 */
function slowCounts({ canary }: CanaryWindow, { baseline }: Arms, { p95MaxMs }: CanaryConfig): Slow {
  if (p95MaxMs === null) return { x: 0, nC: 0, stableOver: false };
  const edge = Math.ceil(8 * Math.log2(p95MaxMs) - 1e-9) - 1;
  const { hist, n: nC } = withTotal(canary.hist);
  const stable = withTotal(baseline.hist);
  return { x: above(hist, edge), nC, stableOver: above(stable.hist, edge) > P95_CEILING * stable.n };
}

function p95Logs({ x, nC, stableOver }: Slow, config: CanaryConfig): number[] {
  if (config.p95MaxMs === null) return [];
  if (stableOver) return config.p95Thetas.map(() => 0);
  const cap = Math.max(config.capGuard, nC / config.capGuardDiv);
  return config.p95Thetas.map((theta) => Math.min(cap, logEGuard(x, nC, P95_CEILING, theta)));
}

function withTotal(hist: readonly number[] = []): { hist: readonly number[]; n: number } {
  return { hist, n: histogramTotal(hist) };
}

function above(hist: readonly number[], edge: number): number {
  let sum = 0;
  for (let i = Math.max(0, edge + 1); i < hist.length; i++) sum += hist[i] ?? 0;
  return sum;
}
