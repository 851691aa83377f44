import type { ArmWindow, CanaryWindow, HistoryWindow } from "../../domain/canary/index.ts";
import { HISTOGRAM_BUCKETS, WINDOW_MS } from "../../domain/routing/meter.ts";
import type { Counted, Judged } from "./counted.ts";

interface Totals {
  readonly requests: number;
  readonly failed: number;
}

/** An environment's counts over a stretch of time, as its judge and its status ask for them. Pure. */
export class Traffic {
  readonly #counted: readonly Counted[];
  readonly #judged = new Map<string, Judged>();

  constructor(counted: readonly Counted[]) {
    this.#counted = counted;
    for (const { release, window, judged } of counted)
      if (judged) this.#judged.set(`${window} ${release}`, judged);
  }

  /** Both sides' counts in the window that begins at `window`. */
  window(window: number, canary: string, stable: string): CanaryWindow {
    return { canary: this.#arm(canary, window), baseline: this.#arm(stable, window) };
  }

  #arm(release: string, window: number): ArmWindow {
    const judged = this.#judged.get(`${window} ${release}`);
    if (!judged) return { n: 0, errors: 0, distinctErrors: 0 };
    const { requests, errors, latency, visitors } = judged;
    // A lost batch may have taken the requests of which another counts the errors.
    const n = Math.max(requests, errors);
    return { n, errors, distinctErrors: Math.min(bits(visitors), errors), hist: [...latency] };
  }

  /** A release's latency histogram over the windows from `from` up to, not including, `to`. */
  latency(release: string, from: number, to: number): number[] {
    const sum = new Array<number>(HISTOGRAM_BUCKETS).fill(0);
    for (let window = from; window < to; window += WINDOW_MS)
      for (const [bucket, count] of (this.#judged.get(`${window} ${release}`)?.latency ?? []).entries())
        sum[bucket] = (sum[bucket] ?? 0) + count;
    return sum;
  }

  history(release: string, from: number, to: number): HistoryWindow[] {
    const windows: HistoryWindow[] = [];
    for (let window = from; window < to; window += WINDOW_MS) {
      const { n, errors, distinctErrors } = this.#arm(release, window);
      windows.push({ n, errors, distinctErrors });
    }
    return windows;
  }

  /** Visitors' requests by release. */
  byRelease(): Record<string, Totals> {
    return Object.fromEntries(this.#totalsBy(({ release }) => release));
  }

  /** All of the environment's requests per window, oldest first. */
  byWindow(): (Totals & { window: number })[] {
    return [...this.#totalsBy(({ window }) => window)]
      .map(([window, totals]) => ({ window, ...totals }))
      .sort((a, b) => a.window - b.window);
  }

  #totalsBy<K>(keyOf: (counted: Counted) => K): Map<K, Totals> {
    const totals = new Map<K, Totals>();
    for (const counted of this.#counted) {
      const { requests, failed } = totals.get(keyOf(counted)) ?? { requests: 0, failed: 0 };
      totals.set(keyOf(counted), { requests: requests + counted.requests, failed: failed + counted.failed });
    }
    return totals;
  }
}

function bits(bytes: Uint8Array): number {
  let count = 0;
  for (const byte of bytes) for (let rest = byte; rest > 0; rest &= rest - 1) count += 1;
  return count;
}
