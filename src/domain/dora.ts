import { isGiven } from "./approval/approval.ts";
import type { ReleaseFacts } from "./rollout/release.ts";
import { begunStep, stepsOf } from "./rollout/steps.ts";
import type { EnvironmentSpec } from "./spec.ts";

/** The four keys of delivery (dora.dev), from releases alone. Every definition is in docs/dora.md. */

/** A release as these figures need it. Times are epoch ms. */
export interface Delivered
  extends Pick<
    ReleaseFacts,
    | "id"
    | "kind"
    | "state"
    | "createdAt"
    | "servingAt"
    | "endedAt"
    | "stateSince"
    | "timings"
    | "weightBp"
    | "stepIndex"
    | "stepSince"
    | "override"
    | "approval"
  > {
  readonly strategy: EnvironmentSpec["strategy"];
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

/** Visitors got to see it. What ends before it shifts, or while it waits at 0 % for a person or beside copies alone, nobody saw. */
function hadTraffic(release: Delivered): boolean {
  const { state, servingAt, timings, weightBp, override } = release;
  if (servingAt !== null || weightBp > 0) return true;
  if (timings.shifting === undefined && state !== "shifting") return false;
  return override || wasLetIn(release);
}

/** A step that gives it visitors has begun; a rolling release gets them by its instances, once it may. */
function wasLetIn(release: Delivered): boolean {
  const { strategy, approval } = release;
  if (approval?.gate === "traffic" && !isGiven(approval)) return false;
  const begun = stepsOf(release).slice(0, begunStep(release) + 1);
  return strategy.kind === "rolling" || begun.some((step) => step.kind === "weight" && step.weightBp > 0);
}

const BEFORE_TRAFFIC = ["queued", "preparing", "starting", "verifying"] as const;

function firstTrafficAt({ createdAt, timings, approval }: Delivered): number {
  const couldAt = createdAt + BEFORE_TRAFFIC.reduce((sum, state) => sum + (timings[state] ?? 0), 0);
  const mayAt = approval?.gate === "traffic" ? (approval.given.at(-1)?.at ?? 0) : 0;
  return Math.max(couldAt, mayAt);
}

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
