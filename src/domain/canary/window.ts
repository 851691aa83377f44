import type { Compared } from "../routing/compare.ts";
import { HISTOGRAM_BUCKETS, LATE_MS, latencyBucket } from "../routing/meter.ts";

/** One side's counts in one window. */
export interface ArmWindow {
  readonly n: number;
  /** Of those, visits of control's own (`load:`); absent: none. */
  readonly synthetic?: number | undefined;
  /** 5xx, timeouts, connection failures: what the release itself did, before rescue. */
  readonly errors: number;
  /** Visitors who met at least one error; absent where the edge could not tell. */
  readonly distinctErrors?: number | undefined;
  /** Dense latency histogram of answers that were not errors (meter.ts). */
  readonly hist?: readonly number[] | undefined;
}

/** Counts of canary and stable over the same seconds, split at random among the same visitors. */
export interface CanaryWindow {
  readonly canary: ArmWindow;
  readonly baseline: ArmWindow;
  /** The same requests by route, where the edge told them apart. */
  readonly routes?: readonly RouteWindow[] | undefined;
  /** The same requests by host, where the edge told them apart. */
  readonly hosts?: readonly HostWindow[] | undefined;
  /** The canary's answers against stable's, where mirrored requests are compared. */
  readonly compared?: Compared;
  /** Requests of either side that control made itself (rollout/load.ts); absent: none. */
  readonly synthetic?: Synthetic;
}

export interface Synthetic {
  readonly canary: number;
  readonly baseline: number;
  /** They are among the counts of their side. */
  readonly isJudged: boolean;
}

export const addSynthetic = (past: Synthetic | undefined, window: Synthetic): Synthetic => ({
  canary: (past?.canary ?? 0) + window.canary,
  baseline: (past?.baseline ?? 0) + window.baseline,
  isJudged: window.isJudged,
});

type Count = Pick<ArmWindow, "n" | "errors" | "distinctErrors">;

export interface RouteWindow {
  readonly route: string;
  readonly canary: Count;
  readonly baseline: Count;
  /** The canary's requests on this route by host. */
  readonly hosts: readonly { readonly host: string; readonly n: number; readonly errors: number }[];
  /** One of the canary's that failed, if its id is known. */
  readonly failed?: FailedRequest | undefined;
}

/** A request that an instance failed to answer. */
export interface FailedRequest {
  /** `X-Request-Id`, as the app got it. */
  readonly id: string;
  /** The instance. */
  readonly instance: string;
  /** It came after this, epoch ms. */
  readonly since: number;
}

/** Both sides' counts on one host. */
export interface HostWindow {
  readonly host: string;
  readonly canary: ArmWindow;
  readonly baseline: ArmWindow;
}

/** Counts of several windows, as shown to people. `distinctErrors` is null unless every part knew it. */
interface ArmTotals {
  readonly requests: number;
  readonly synthetic?: number;
  readonly errors: number;
  readonly distinctErrors: number | null;
  readonly hist: readonly number[];
}

export interface Totals {
  readonly windows: number;
  readonly canary: ArmTotals;
  readonly baseline: ArmTotals;
}

const NO_ARM: ArmTotals = {
  requests: 0,
  errors: 0,
  distinctErrors: 0,
  hist: new Array<number>(HISTOGRAM_BUCKETS).fill(0),
};
export const NO_TOTALS: Totals = { windows: 0, canary: NO_ARM, baseline: NO_ARM };

export function addWindow(totals: Totals, window: CanaryWindow): Totals {
  return {
    windows: totals.windows + 1,
    canary: addArm(totals.canary, window.canary),
    baseline: addArm(totals.baseline, window.baseline),
  };
}

function addArm(total: ArmTotals, arm: ArmWindow): ArmTotals {
  const known = total.distinctErrors !== null && (arm.distinctErrors !== undefined || arm.errors === 0);
  const synthetic = (total.synthetic ?? 0) + (arm.synthetic ?? 0);
  return {
    requests: total.requests + arm.n,
    ...(synthetic > 0 && { synthetic }),
    errors: total.errors + arm.errors,
    distinctErrors: known ? (total.distinctErrors ?? 0) + (arm.distinctErrors ?? 0) : null,
    hist: addHistogram(total.hist, arm.hist),
  };
}

/** a·keep + b; b may be absent. */
export function addHistogram(a: readonly number[], b: readonly number[] | undefined, keep = 1): number[] {
  const sum = a.slice();
  for (let i = 0; i < sum.length; i++) sum[i] = (sum[i] ?? 0) * keep + (b?.[i] ?? 0);
  return sum;
}

/** Throws RangeError on counts that can't have happened: a judge fed nonsense must stop, not guess. */
export function checkWindow(window: CanaryWindow): void {
  const { canary, baseline, hosts = [] } = window;
  const arms = [{ canary, baseline }, ...hosts].flatMap((one) => [
    ["canary", one.canary] as const,
    ["baseline", one.baseline] as const,
  ]);
  for (const [side, arm] of arms) {
    const { n, errors, distinctErrors = 0, hist = [] } = arm;
    const isBad = (count: number): boolean => !(Number.isSafeInteger(count) && count >= 0);
    const bad = [n, errors, distinctErrors].find(isBad) ?? hist.find(isBad);
    if (bad !== undefined)
      throw new RangeError(`${side} window holds ${bad}: counts are whole and not negative`);
    if (errors > n || distinctErrors > errors) {
      throw new RangeError(
        `${side} window: ${distinctErrors} visitors ≤ ${errors} errors ≤ ${n} requests must hold`,
      );
    }
    if (arm.hist && arm.hist.length !== HISTOGRAM_BUCKETS) {
      throw new RangeError(`${side} histogram has ${arm.hist.length} buckets, not ${HISTOGRAM_BUCKETS}`);
    }
  }
}

/** Late answers that came have their own time as well: as many as came are late no more, and what is left hangs. */
export function withoutAnswered(window: CanaryWindow): CanaryWindow {
  const { canary, baseline, hosts } = window;
  return {
    ...window,
    canary: lateOnes(canary),
    baseline: lateOnes(baseline),
    ...(hosts && {
      hosts: hosts.map((one) => ({ ...one, canary: lateOnes(one.canary), baseline: lateOnes(one.baseline) })),
    }),
  };
}

function lateOnes(arm: ArmWindow): ArmWindow {
  const late = latencyBucket(LATE_MS);
  if (!arm.hist?.[late]) return arm;
  const came = arm.hist.slice(late + 1).reduce((sum, count) => sum + count, 0);
  return { ...arm, hist: arm.hist.with(late, Math.max(0, arm.hist[late] - came)) };
}
