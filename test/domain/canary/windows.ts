import {
  type CanaryConfig,
  type CanaryState,
  type CanaryWindow,
  decide,
  init,
  describe as inWords,
  type Judgement,
  update,
} from "../../../src/domain/canary/index.ts";
import { HISTOGRAM_BUCKETS } from "../../../src/domain/routing/meter.ts";

/** All answers at once around `ms`. */
export function at(ms: number, count: number): number[] {
  const hist = new Array<number>(HISTOGRAM_BUCKETS).fill(0);
  hist[Math.floor(8 * Math.log2(ms))] = count;
  return hist;
}

export interface Counts {
  readonly n: number;
  readonly synthetic?: number;
  readonly errors?: number;
  readonly visitors?: number;
  readonly ms?: number;
}

export function windowOf(canary: Counts, baseline: Counts): CanaryWindow {
  const arm = ({ n, synthetic, errors = 0, visitors, ms = 80 }: Counts) => ({
    n,
    ...(synthetic === undefined ? {} : { synthetic }),
    errors,
    ...(visitors === undefined ? {} : { distinctErrors: visitors }),
    hist: at(ms, n - errors),
  });
  return { canary: arm(canary), baseline: arm(baseline) };
}

export const GOOD = windowOf({ n: 200 }, { n: 1800, errors: 4 });

export function fed(times: number, window: CanaryWindow, from: CanaryState = fresh()): CanaryState {
  let state = from;
  for (let i = 0; i < times; i++) state = update(state, window);
  return state;
}

export const fresh = (config: Partial<CanaryConfig> = {}): CanaryState => init(at(80, 10_000), config);

/** Windows until the judge rolls back, and what it said; fails the test after 60. */
export function untilRollback(
  window: CanaryWindow,
  from: CanaryState,
): { windows: number; decision: Judgement } {
  let state = from;
  for (let windows = 1; windows <= 60; windows++) {
    state = update(state, window);
    const decision = decide(state);
    if (decision.verdict === "rollback") return { windows, decision };
  }
  throw new Error(`no rollback within 60 windows: ${inWords(decide(state))}`);
}
