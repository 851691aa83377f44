import type { ReleaseFacts } from "./rollout/release.ts";

/** The four keys of delivery (dora.dev), from releases alone. Every definition is in docs/dora.md. */

/** A release as these figures need it. Times are epoch ms. */
export interface Delivered
  extends Pick<
    ReleaseFacts,
    "id" | "kind" | "state" | "createdAt" | "servingAt" | "endedAt" | "stateSince" | "timings"
  > {
  /** When its commit was made; null: nobody said. */
  readonly committedAt: number | null;
}

export interface Spread {
  readonly medianMs: number;
  readonly p90Ms: number;
  /** How many it is reckoned from. */
  readonly of: number;
}

export interface Dora {
  /** Those that got all traffic. */
  readonly deployments: number;
  readonly perDay: number;
  /** From commit to all traffic; null: of no deployment the commit's time is known. */
  readonly leadTime: Spread | null;
  /** Deployments whose release visitors got to see. */
  readonly changes: number;
  readonly failures: number;
  /** Failures per change; null: nothing changed. */
  readonly changeFailureRate: number | null;
  /** From a failed change's first traffic to its last; null: nothing failed, or is not over. */
  readonly timeToRestore: Spread | null;
}

const DAY_MS = 86_400_000;

/** The figures of one environment's releases, in any order: all that were asked for in a stretch of `days`. */
export function doraOf(releases: readonly Delivered[], days: number): Dora {
  const deploys = releases.filter(({ kind }) => kind === "deploy");
  const deployments = deploys.filter(({ servingAt }) => servingAt !== null);
  const changes = deploys.filter(hadTraffic);
  const failures = changes.filter((change) => failedAt(change, releases) !== undefined);
  const leads = deployments.flatMap(({ committedAt, servingAt }) =>
    committedAt === null || servingAt === null || servingAt < committedAt ? [] : [servingAt - committedAt],
  );
  const restores = failures.flatMap((change) => {
    const at = failedAt(change, releases);
    return at === undefined || at === null ? [] : [Math.max(0, at - firstTrafficAt(change))];
  });
  return {
    deployments: deployments.length,
    perDay: deployments.length / days,
    leadTime: spread(leads),
    changes: changes.length,
    failures: failures.length,
    changeFailureRate: changes.length === 0 ? null : failures.length / changes.length,
    timeToRestore: spread(restores),
  };
}

/** Epoch ms of the beginning of the last `days`. */
export const windowStart = (now: number, days: number): number => now - days * DAY_MS;

/** It was in a state in which visitors reach it: those before end without anybody's having seen it. */
const hadTraffic = ({ state, servingAt, timings }: Delivered): boolean =>
  servingAt !== null || timings.shifting !== undefined || state === "shifting";

const BEFORE_TRAFFIC = ["queued", "preparing", "starting", "verifying"] as const;

const firstTrafficAt = ({ createdAt, timings }: Delivered): number =>
  createdAt + BEFORE_TRAFFIC.reduce((sum, state) => sum + (timings[state] ?? 0), 0);

/** When visitors were taken from a failed change; null: that is not over; undefined: it did not fail. */
function failedAt(change: Delivered, releases: readonly Delivered[]): number | null | undefined {
  const { state, timings, endedAt, stateSince, servingAt } = change;
  if (state === "rolling_back") return stateSince;
  if (state === "rolled_back" || state === "aborted")
    return (endedAt ?? stateSince) - (timings.rolling_back ?? 0);
  const after = releases.filter(({ createdAt }) => servingAt !== null && createdAt >= servingAt);
  const [next] = after.filter(hasServed).toSorted((a, b) => a.createdAt - b.createdAt);
  const back = next ?? after.find(({ kind, endedAt: ended }) => kind === "rollback" && ended === null);
  // Nothing of what was there before was warm any more: a release of its own took the failed one's place.
  return back?.kind === "rollback" ? back.servingAt : undefined;
}

const hasServed = ({ servingAt }: Delivered): boolean => servingAt !== null;

/** Nearest rank, so that each figure is one that really was. */
function spread(values: readonly number[]): Spread | null {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (q: number) => sorted[Math.max(0, Math.ceil(q * sorted.length) - 1)] ?? 0;
  return sorted.length === 0 ? null : { medianMs: at(0.5), p90Ms: at(0.9), of: sorted.length };
}
