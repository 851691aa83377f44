import { quantileBucket } from "../../domain/canary/evidence.ts";
import type { VisitsView } from "../../protocol/api/figures/visits.ts";
import { iso } from "../iso.ts";
import { RECENT_MS, type RecentCounts, recentSpan } from "../meter/recent.ts";
import type { EnvironmentStatus } from "../store/status.ts";

/** The last minute's figures of what an environment has: an instance without visitors is told, too, one that is gone is not. */
export function visitsView(
  { releases, instances }: EnvironmentStatus,
  counted: readonly RecentCounts[],
  now: number,
): VisitsView {
  const { from, to } = recentSpan(now);
  const byInstance = new Map(counted.map((one) => [one.instance, one]));
  return {
    from: iso(from),
    to: iso(to),
    releases: releases
      .filter(({ id, weightBp }) => weightBp > 0 || counted.some(({ release }) => release === id))
      .map(({ id, version, weightBp }) => ({
        release: id,
        version,
        weight: weightBp / 100,
        ...figuresOf(counted.filter(({ release }) => release === id)),
      })),
    instances: instances.map(({ id, releaseId, version, hostName, slot }) => {
      const own = byInstance.get(id);
      return {
        instance: id,
        release: releaseId,
        version,
        host: hostName,
        slot,
        ...figuresOf(own ? [own] : []),
      };
    }),
  };
}

function figuresOf(counted: readonly RecentCounts[]) {
  const sum = (of: (one: RecentCounts) => number) => counted.reduce((total, one) => total + of(one), 0);
  const requests = sum((one) => one.requests);
  const errors = sum((one) => one.errors - one.pathErrors);
  const length = counted[0]?.latency.length ?? 0;
  const latency = Array.from({ length }, (_, bucket) => sum((one) => one.latency[bucket] ?? 0));
  return {
    requests,
    perSecond: requests / (RECENT_MS / 1_000),
    errors,
    errorRate: requests === 0 ? null : errors / requests,
    p50Ms: quantileMs(latency, 0.5),
    p95Ms: quantileMs(latency, 0.95),
  };
}

/** The middle of the bucket that the quantile lies in; bucket i holds [2^(i/8), 2^((i+1)/8)) ms. */
function quantileMs(latency: readonly number[], q: number): number | null {
  if (!latency.some((count) => count > 0)) return null;
  return Math.round(2 ** ((quantileBucket(latency, q) + 0.5) / 8));
}
