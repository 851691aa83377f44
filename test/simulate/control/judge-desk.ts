import { Judge } from "../../../src/control/environment/judge.ts";
import type { ArmWindow, HistoryWindow } from "../../../src/domain/canary/index.ts";
import { judgedIn } from "../../../src/domain/rollout/analysis/judged.ts";
import type { EnvironmentFacts } from "../../../src/domain/rollout/facts.ts";
import { HISTOGRAM_BUCKETS, type MeterBatch, WINDOW_MS } from "../../../src/domain/routing/meter.ts";

/** Visitors are few here: each stands for so many, or no canary would ever be proven. */
const VISITORS_EACH = 40;

interface Counts {
  n: number;
  errors: number;
  readonly visitors: Set<number>;
  readonly hist: number[];
}

const NOTHING: Counts = {
  n: 0,
  errors: 0,
  visitors: new Set(),
  hist: new Array<number>(HISTOGRAM_BUCKETS).fill(0),
};

/** Control's judge over counts in memory: what the edge's own meter sent. */
export class JudgeDesk {
  readonly #counts = new Map<string, Counts>();
  readonly #seen = new Set<string>();
  readonly #judge: Judge;

  constructor() {
    const kept = new Map<string, unknown>();
    const storage = {
      get: async (key: string) => kept.get(key),
      put: async (key: string, value: unknown) => void kept.set(key, value),
    };
    // The judge keeps its state there and asks for nothing else.
    this.#judge = new Judge(storage as unknown as DurableObjectStorage, async () => this.#traffic() as never);
  }

  /** Null at once where nothing is to be judged. */
  judge(
    facts: EnvironmentFacts,
    now: number,
  ): EnvironmentFacts["analysis"] | Promise<EnvironmentFacts["analysis"]> {
    return judgedIn(facts) ? this.#judge.judge(facts, now, async () => {}) : null;
  }

  /** An edge saw many errors of what has switched. */
  hurry(): void {
    this.#judge.hurry();
  }

  absorb(batch: MeterBatch): void {
    if (this.#seen.has(batch.id)) return;
    this.#seen.add(batch.id);
    for (const entry of batch.entries) {
      if (!entry.eligible) continue;
      const counts = this.#of(entry.release, entry.window);
      counts.n += (entry.requests - entry.pathErrors) * VISITORS_EACH;
      counts.errors += (entry.errors - entry.pathErrors) * VISITORS_EACH;
      for (const [bucket, count] of entry.latency)
        counts.hist[bucket] = (counts.hist[bucket] ?? 0) + count * VISITORS_EACH;
      for (const visitor of entry.erroredVisitors)
        for (let n = 0; n < VISITORS_EACH; n++) counts.visitors.add((visitor + n * 250) % 10_000);
    }
  }

  #of(release: string, window: number): Counts {
    const key = `${release} ${window}`;
    let counts = this.#counts.get(key);
    if (!counts) {
      counts = { n: 0, errors: 0, visitors: new Set(), hist: new Array<number>(HISTOGRAM_BUCKETS).fill(0) };
      this.#counts.set(key, counts);
    }
    return counts;
  }

  #arm(release: string, window: number): ArmWindow {
    const { n, errors, visitors, hist } = this.#counts.get(`${release} ${window}`) ?? NOTHING;
    return { n, errors, distinctErrors: Math.min(visitors.size, errors), hist };
  }

  #traffic() {
    const windows = (from: number, to: number) =>
      Array.from({ length: Math.max(0, Math.ceil((to - from) / WINDOW_MS)) }, (_, k) => from + k * WINDOW_MS);
    return {
      window: (window: number, canary: string, stable: string) => ({
        canary: this.#arm(canary, window),
        baseline: this.#arm(stable, window),
      }),
      latency: (release: string, from: number, to: number) => {
        const sum = new Array<number>(HISTOGRAM_BUCKETS).fill(0);
        for (const window of windows(from, to))
          for (const [bucket, count] of (this.#arm(release, window).hist ?? []).entries())
            sum[bucket] = (sum[bucket] ?? 0) + count;
        return sum;
      },
      history: (release: string, from: number, to: number): HistoryWindow[] =>
        windows(from, to).map((window) => this.#arm(release, window)),
    };
  }
}
