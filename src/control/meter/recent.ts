import { HISTOGRAM_BUCKETS, type MeterEntry, WINDOW_MS } from "../../domain/routing/meter.ts";

/** The last whole windows that are told. */
export const RECENT_MS = 60_000;
/** An environment has fewer; what an old edge still names is not kept without end. */
const MOST_KEPT = 2_000;

/** What the edge counted of one instance within the last whole windows. */
export interface RecentCounts {
  readonly release: string;
  readonly instance: string;
  requests: number;
  /** Its own 5xx, timeouts and broken connections, whoever answered the visitor in the end. */
  errors: number;
  /** Of those: the path's. */
  pathErrors: number;
  /** Dense histogram of good answers (domain/routing/meter.ts). */
  readonly latency: number[];
}

/** Where the last whole windows begin and end, epoch ms: the one that is being counted is not among them. */
export function recentSpan(now: number): { readonly from: number; readonly to: number } {
  const to = now - (now % WINDOW_MS);
  return { from: to - RECENT_MS, to };
}

/**
 * The last minute by instance, for whoever looks now. Kept in memory alone, for it is worth no row: an object that left memory
 * knows what came since.
 */
export class Recent {
  readonly #held = new Map<string, RecentCounts & { readonly window: number }>();

  add(entry: MeterEntry, now: number): void {
    const key = `${entry.window} ${entry.instance}`;
    const held = this.#held.get(key) ?? { ...noneOf(entry), window: entry.window };
    addTo(held, entry, entry.latency);
    this.#held.delete(key);
    this.#held.set(key, held);
    const { from } = recentSpan(now);
    // Oldest first: what was added to last is last.
    for (const [old, { window }] of this.#held) {
      if (window >= from && this.#held.size <= MOST_KEPT) break;
      this.#held.delete(old);
    }
  }

  read(now: number): RecentCounts[] {
    const { from, to } = recentSpan(now);
    return sumOf([...this.#held.values()].filter(({ window }) => window >= from && window < to));
  }
}

/** Adds up what was counted of the same instances. */
export function sumOf(counted: readonly RecentCounts[]): RecentCounts[] {
  const sums = new Map<string, RecentCounts>();
  for (const one of counted) {
    const sum = sums.get(one.instance) ?? noneOf(one);
    addTo(sum, one, one.latency.entries());
    sums.set(one.instance, sum);
  }
  return [...sums.values()];
}

const noneOf = ({ release, instance }: Pick<RecentCounts, "release" | "instance">): RecentCounts => ({
  release,
  instance,
  requests: 0,
  errors: 0,
  pathErrors: 0,
  latency: new Array<number>(HISTOGRAM_BUCKETS).fill(0),
});

function addTo(
  sum: RecentCounts,
  part: Pick<RecentCounts, "requests" | "errors" | "pathErrors">,
  latency: Iterable<readonly [number, number]>,
): void {
  sum.requests += part.requests;
  sum.errors += part.errors;
  sum.pathErrors += part.pathErrors;
  for (const [bucket, count] of latency)
    if (bucket in sum.latency) sum.latency[bucket] = (sum.latency[bucket] ?? 0) + count;
}
