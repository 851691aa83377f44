import type { Traffic } from "../../domain/canary/forecast.ts";
import { HISTOGRAM_BUCKETS } from "../../domain/routing/meter.ts";
import type { ReleaseTotal } from "./totals.ts";

interface Served {
  readonly id: string;
  readonly servingAt: number | null;
}

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

/** An environment's usual traffic, and over how long it was counted. */
export interface UsualTraffic extends Traffic {
  readonly overMs: number;
}

/**
 * By what was ever counted of the releases that served last: as many of them as make up a day, or all. Undefined: too little to
 * tell. Whoever counted forgets a release after a week without a request.
 */
export function usualTraffic(
  totals: ReadonlyMap<string, ReleaseTotal>,
  releases: readonly Served[],
  now: number,
): UsualTraffic | undefined {
  const served = releases
    .filter(({ id, servingAt }) => servingAt !== null && totals.has(id))
    .sort((a, b) => (b.servingAt ?? 0) - (a.servingAt ?? 0));
  const enough = served.findIndex(({ servingAt }) => now - (servingAt ?? now) >= DAY_MS);
  const counted = enough === -1 ? served : served.slice(0, enough + 1);
  const overMs = now - Math.min(now, ...counted.map(({ servingAt }) => servingAt ?? now));
  const latency = new Array<number>(HISTOGRAM_BUCKETS).fill(0);
  let [requests, errors] = [0, 0];
  for (const { id } of counted) {
    const total = totals.get(id);
    if (!total) continue;
    requests += total.requests;
    errors += (total.classes[5] ?? 0) + (total.classes[0] ?? 0);
    for (const [bucket, count] of total.latency.entries()) latency[bucket] = (latency[bucket] ?? 0) + count;
  }
  if (overMs < MINUTE_MS || requests < LEAST_REQUESTS) return undefined;
  return { rate: requests / (overMs / 1_000), errorRate: Math.min(1, errors / requests), latency, overMs };
}

const MINUTE_MS = 60_000;
const LEAST_REQUESTS = 20;
