/**
 * E-values: how many times likelier one window is under "the canary is worse" than under "the canary is good".
 * All are natural logs. Each has an expectation of at most 1 while the canary is good, whatever the stable side does:
 * that is what lets the verdict be read after every window without spending trust (Ville's inequality).
 */

/** log(e^a + e^b); −∞ is a legal value of both. */
export function logAdd(a: number, b: number): number {
  const high = Math.max(a, b);
  return high === -Infinity ? high : high + Math.log1p(Math.exp(-Math.abs(a - b)));
}

/** log Σ e^v, shifted by the maximum; −∞ of an empty list. */
export function logSumExp(values: readonly number[]): number {
  const high = values.reduce((m, v) => Math.max(m, v), -Infinity);
  if (high === -Infinity) return high;
  return high + Math.log(values.reduce((sum, v) => sum + Math.exp(v - high), 0));
}

/**
 * x of nC canary requests failed against y of nB stable ones. Null: p_c ≤ rho0·p_b + delta; alternative: rho1·p_b.
 * The stable rate cancels, so it may wander freely. 0 (no evidence) when either side is empty.
 */
export function logEError(
  x: number,
  nC: number,
  y: number,
  nB: number,
  rho0: number,
  delta: number,
  rho1: number,
): number {
  if (nC === 0 || nB === 0) return 0;
  const total0 = rho0 * nC + nB;
  const total1 = rho1 * nC + nB;
  const a = (rho1 / total1) * (total0 / rho0);
  const b = total0 / total1;
  return x * Math.log(a) + y * Math.log(b) - delta * nC * (a - 1);
}

/** The same test turned round: evidence that the canary is *not* as bad as `passRho`·p_b + `passDelta`. */
export function logEPass(...args: Parameters<typeof logEError>): number {
  return logEError(...args);
}

/** x of nC requests over a limit that allows a share of `ceiling`; alternative: a share of `theta`. */
export function logEGuard(x: number, nC: number, ceiling: number, theta: number): number {
  return x * Math.log(theta / ceiling) + (nC - x) * Math.log((1 - theta) / (1 - ceiling));
}

/**
 * Of x + y slow answers among nC + nB, x fell to the canary; alternative: its odds of a slow answer are `psi` times
 * stable's. Exact (hypergeometric) for any latency distribution both sides share.
 */
export function logEOdds(x: number, nC: number, y: number, nB: number, psi: number): number {
  return logEOddsAll({ x, nC, y, nB }, [psi])[0] ?? 0;
}

export interface SlowCounts {
  readonly x: number;
  readonly nC: number;
  readonly y: number;
  readonly nB: number;
}

/** Terms this far below the largest one vanish in a double: e^−45 ≈ 3e−20. */
const NEGLIGIBLE = -45;

/** `logEOdds` for several odds ratios at once: the costly hypergeometric terms are computed once. */
export function logEOddsAll(counts: SlowCounts, psis: readonly number[]): number[] {
  const { x, nC, y, nB } = counts;
  const slow = x + y;
  const from = Math.max(0, slow - nB);
  const to = Math.min(nC, slow);
  if (nC === 0 || nB === 0 || from >= to) return psis.map(() => 0);
  const terms = hypergeometricTerms(counts, from, to);
  const norm = tiltedLogSum(terms, from, 0);
  return psis.map((psi) => {
    const logPsi = Math.log(psi);
    return x * logPsi - (tiltedLogSum(terms, from, logPsi) - norm);
  });
}

/** Unnormalised log h(u) for u = from … to, by the ratio of neighbours. */
function hypergeometricTerms(counts: SlowCounts, from: number, to: number): Float64Array {
  const slow = counts.x + counts.y;
  const terms = new Float64Array(to - from + 1);
  let term = 0;
  for (let u = from; u < to; u++) {
    term += Math.log(((counts.nC - u) * (slow - u)) / ((u + 1) * (counts.nB - slow + u + 1)));
    terms[u - from + 1] = term;
  }
  return terms;
}

function tiltedLogSum(terms: Float64Array, from: number, logPsi: number): number {
  let high = -Infinity;
  for (let i = 0; i < terms.length; i++) {
    const value = (terms[i] ?? 0) + (from + i) * logPsi;
    if (value > high) high = value;
  }
  let sum = 0;
  for (let i = 0; i < terms.length; i++) {
    const below = (terms[i] ?? 0) + (from + i) * logPsi - high;
    if (below > NEGLIGIBLE) sum += Math.exp(below);
  }
  return high + Math.log(sum);
}

/** First bucket at which the cumulative share reaches q. The slack keeps exact ties from flipping after decay. */
export function quantileBucket(hist: readonly number[], q: number): number {
  const target = q * histogramTotal(hist) * (1 - 1e-9);
  let cumulative = 0;
  for (let i = 0; i < hist.length; i++) {
    cumulative += hist[i] ?? 0;
    if (cumulative >= target) return i;
  }
  return hist.length - 1;
}

export function histogramTotal(hist: readonly number[]): number {
  let total = 0;
  for (let i = 0; i < hist.length; i++) total += hist[i] ?? 0;
  return total;
}
