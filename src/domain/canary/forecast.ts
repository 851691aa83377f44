import { HISTOGRAM_BUCKETS, WINDOW_MS } from "../routing/meter.ts";
import { CANARY_DEFAULTS, type CanaryConfig } from "./config.ts";
import { decide, tick, type Verdict } from "./decide.ts";
import { type CanaryState, init } from "./state.ts";
import { update } from "./update.ts";
import type { ArmWindow, CanaryWindow } from "./window.ts";

/**
 * What the judge would make of a release with the traffic that an environment has: the judge itself, fed with windows as they
 * would typically come. Not by chance: in one course errors come evenly, in the other by the quantiles of a Poisson's distribution in
 * van der Corput's order, and what lies between the two is told. Against bench/canary: docs/canary.md.
 */

/** What an environment has. */
export interface Traffic {
  /** Requests a second. */
  readonly rate: number;
  /** Share of them that stable answers with an error. */
  readonly errorRate: number;
  /** Dense histogram of good answers (domain/routing/meter.ts), of any total. */
  readonly latency: readonly number[];
}

/** How a release differs from stable. */
export interface Fault {
  /** Share of its requests that fail. */
  readonly errorRate?: number;
  /** Its answers take so many times as long. */
  readonly slower?: number;
}

/** Weight steps, one after the other: each for its bake, and on as soon as it is proven no worse. */
export interface Stretch {
  readonly weightBp: number;
  readonly bakeMs: number;
  /** How long it waits for proof after that; not proven by then, it goes no further. */
  readonly waitMs: number;
}

export interface Found {
  /** From its first request on, ms; null: not found. */
  readonly afterMs: number | null;
  /** Its own requests until then, and those of them that failed. */
  readonly requests: number;
  readonly failed: number;
}

/** Windows looked at in one course: an hour. */
const MOST_WINDOWS = 360;
const WINDOW_S = WINDOW_MS / 1_000;
const FULL = 10_000;

/** When a release with this fault is found, and what it costs until then. */
export function forecast(
  traffic: Traffic,
  { fault, steps, config }: { fault: Fault; steps: readonly Stretch[]; config: Partial<CanaryConfig> },
): Found {
  const [even, chance] = [true, false].map((isEven) =>
    new Course(traffic, fault, isEven).run(steps, config, "rollback"),
  ) as [Found, Found];
  return between(even, chance);
}

/** How long a good release takes at this weight to be proven no worse, ms; null: more than an hour. */
export function proofMs(traffic: Traffic, weightBp: number, config: Partial<CanaryConfig>): number | null {
  const { minPass } = { ...CANARY_DEFAULTS, ...config };
  const most = (traffic.rate * WINDOW_S * MOST_WINDOWS * weightBp) / FULL;
  // Chance adds hardly more than this to what comes in an hour.
  if (most + 5 * Math.sqrt(most) < minPass) return null;
  const steps = [{ weightBp, bakeMs: MOST_WINDOWS * WINDOW_MS, waitMs: 0 }];
  const fault = { errorRate: traffic.errorRate };
  const times = [true, false].map(
    (isEven) => new Course(traffic, fault, isEven).run(steps, config, "pass").afterMs,
  );
  return times.includes(null) ? null : Math.max(...times.map(Number));
}

/** Chance makes it a little longer than evenly spaced errors would. */
function between(even: Found, chance: Found): Found {
  if (even.afterMs === null || chance.afterMs === null) return chance.afterMs === null ? even : chance;
  const mix = (of: (course: Found) => number) => Math.round((2 * of(even) + of(chance)) / 3);
  return {
    afterMs: mix(({ afterMs }) => afterMs ?? 0),
    requests: mix(({ requests }) => requests),
    failed: mix(({ failed }) => failed),
  };
}

/** One course of a rollout. */
class Course {
  readonly #traffic: Traffic;
  readonly #fault: Fault;
  readonly #shapes: { readonly canary: readonly number[]; readonly stable: readonly number[] };
  readonly #left = new Map<string, number>();
  readonly #drawn = { canary: 0, stable: 0 };
  /** Errors come evenly, or as chance would have them. */
  readonly #isEven: boolean;

  constructor(traffic: Traffic, fault: Fault, isEven: boolean) {
    this.#traffic = traffic;
    this.#fault = fault;
    const stable = shapeOf(traffic.latency);
    this.#shapes = { stable, canary: moved(stable, fault.slower ?? 1) };
    this.#isEven = isEven;
  }

  run(steps: readonly Stretch[], config: Partial<CanaryConfig>, wanted: Verdict["verdict"]): Found {
    let state = this.#begin(config);
    let [requests, failed, windows] = [0, 0, 0];
    for (const { weightBp, bakeMs, waitMs } of steps) {
      const baked = windows + Math.round(bakeMs / WINDOW_MS);
      const until = Math.min(MOST_WINDOWS, baked + Math.round(waitMs / WINDOW_MS));
      let isProven = false;
      while (windows < until && !(isProven && windows >= baked)) {
        const window = this.#window(weightBp / FULL);
        const second = this.#tickOf(state, window);
        const share = (second ?? WINDOW_S) / WINDOW_S;
        requests += window.canary.n * share;
        failed += window.canary.errors * share;
        const told = { requests: Math.round(requests), failed: Math.round(failed) };
        if (second !== null) return { ...told, afterMs: windows * WINDOW_MS + second * 1_000 };
        state = update(state, window);
        windows += 1;
        const { verdict } = decide(state);
        if (verdict === wanted) return { ...told, afterMs: windows * WINDOW_MS };
        isProven = verdict === "pass";
      }
      if (!isProven) break;
    }
    return { afterMs: null, requests: Math.round(requests), failed: Math.round(failed) };
  }

  #begin(config: Partial<CanaryConfig>): CanaryState {
    const { rate, errorRate } = this.#traffic;
    const each = Math.round(rate * WINDOW_S);
    const history = Array.from({ length: 60 }, () => ({ n: each, errors: Math.round(each * errorRate) }));
    return init(
      this.#shapes.stable.map((share) => share * Math.max(1_000, each * 60)),
      config,
      history,
    );
  }

  #window(weight: number): CanaryWindow {
    const { rate, errorRate } = this.#traffic;
    const each = rate * WINDOW_S;
    return {
      canary: this.#arm("canary", each * weight, this.#fault.errorRate ?? errorRate),
      baseline: this.#arm("stable", each * (1 - weight), errorRate),
    };
  }

  #arm(side: "canary" | "stable", mean: number, errorRate: number): ArmWindow {
    const n = errorRate >= 1 ? this.#draw(side, mean) : this.#whole(`${side} n`, mean);
    const errors =
      errorRate >= 1
        ? n
        : Math.min(
            n,
            this.#isEven
              ? this.#whole(`${side} errors`, mean * errorRate)
              : this.#draw(side, mean * errorRate),
          );
    const hist = this.#shapes[side].map((share, bucket) =>
      share > 0 ? this.#whole(`${side} ${bucket}`, share * (n - errors)) : 0,
    );
    return { n, errors, distinctErrors: errors, hist };
  }

  /** The second in which the fast tick finds it; null: not within this window. */
  #tickOf(state: CanaryState, { canary, baseline }: CanaryWindow): number | null {
    if (canary.errors < canary.n * state.config.ceiling) return null;
    for (let second = 1; second < WINDOW_S; second++) {
      const part = (count: number) => Math.floor((count * second) / WINDOW_S);
      const errors = part(canary.errors);
      const open = {
        canary: { n: part(canary.n), errors, distinctErrors: errors },
        baseline: { n: Math.max(1, part(baseline.n)), errors: part(baseline.errors) },
      };
      if (tick(state, [{ ...open, baseline: { ...open.baseline, distinctErrors: open.baseline.errors } }]))
        return second;
    }
    return null;
  }

  /** What is left of one window goes with the next. */
  #whole(key: string, mean: number): number {
    const sum = (this.#left.get(key) ?? phaseOf(this.#left.size)) + mean;
    const whole = Math.floor(sum);
    this.#left.set(key, sum - whole);
    return whole;
  }

  /** The next of a Poisson's counts, by its quantile. */
  #draw(side: "canary" | "stable", mean: number): number {
    this.#drawn[side] += 1;
    return poissonAt(vanDerCorput(this.#drawn[side], side === "canary" ? 2 : 3), mean);
  }
}

/** Where each count begins, or all would come to their first whole one together. */
const phaseOf = (nth: number): number => vanDerCorput(nth + 1, 2);

/** In base 2: 1/2, 1/4, 3/4, 1/8, … The sides have bases of their own, or they would waver together. */
function vanDerCorput(n: number, base: number): number {
  let [value, part] = [0, 1 / base];
  for (let rest = n; rest > 0; rest = Math.floor(rest / base), part /= base) value += (rest % base) * part;
  return value;
}

function poissonAt(quantile: number, mean: number): number {
  // Large ones hardly waver.
  if (mean > 50) return Math.round(mean);
  let [count, chance] = [0, Math.exp(-mean)];
  for (let sum = chance; sum < quantile && count < 1_000; sum += chance) chance *= mean / ++count;
  return count;
}

function shapeOf(latency: readonly number[]): number[] {
  const total = latency.reduce((sum, count) => sum + count, 0);
  return latency.map((count) => (total > 0 ? count / total : 0));
}

/** So many times as long is so many eighths of a doubling further. */
function moved(shape: readonly number[], times: number): number[] {
  const by = Math.round(8 * Math.log2(times));
  const next = new Array<number>(HISTOGRAM_BUCKETS).fill(0);
  for (const [bucket, share] of shape.entries()) {
    const to = Math.min(HISTOGRAM_BUCKETS - 1, Math.max(0, bucket + by));
    next[to] = (next[to] ?? 0) + share;
  }
  return next;
}
