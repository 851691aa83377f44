import type { Decision } from "./decision.ts";
import type { EnvironmentFacts } from "./facts.ts";
import type { ReleaseFacts, ReleaseState } from "./release.ts";

/** How a deployment came out, said once: when it was live, or ended before that. */
export const OUTCOMES = ["success", "failed", "aborted", "superseded", "rolled_back"] as const;
type Outcome = (typeof OUTCOMES)[number];

/** The reasons and checks that are always shown, at 0: an increase from nothing at all is seen by no monitor. */
export const REASONS = [
  "asked",
  "aborted",
  "analysis_failed",
  "instances_lost",
  "smoke_failed",
  "deadline",
] as const;
export const CHECKS = ["startup", "readiness", "process", "path", "smoke"] as const;

/**
 * By how much a counter of an environment rises. Labels: `deployments` and `durationSum` strategy and outcome, `duration` also
 * the bucket's upper bound in seconds, `rollbacks` the reason, `checks` the check. Durations are seconds.
 */
export interface Tally {
  readonly metric: "deployments" | "duration" | "durationSum" | "rollbacks" | "checks";
  readonly labels: readonly string[];
  readonly by: number;
}

/** Upper bounds of the duration's buckets, seconds: a hot fix to a canary of an hour. */
export const DURATION_BOUNDS = [10, 30, 60, 120, 300, 600, 1_800, 3_600, 7_200] as const;

type Facts = Pick<EnvironmentFacts, "releases" | "instances">;
type Decided = Pick<Decision, "events" | "releases" | "newReleases" | "instances">;

/** What a decision adds to its environment's counters. */
export function talliesOf(facts: Facts, decision: Decided, now: number): Tally[] {
  const found: Tally[] = [];
  for (const { type, releaseId, data } of decision.events) {
    const before = facts.releases.find(({ id }) => id === releaseId);
    if (type !== "release.state" || !before) continue;
    const release = { ...before, ...decision.releases.get(before.id) };
    found.push(...ofMove(release, { from: data.from as ReleaseState, to: data.state as ReleaseState }, now));
  }
  for (const { kind } of decision.newReleases) if (kind === "rollback") found.push(rollback("asked"));
  return [...found, ...checksOf(facts, decision)];
}

/** Checks that control made itself, and starts that failed. What an agent's probes say is counted with its report. */
function checksOf(facts: Facts, decision: Decided): Tally[] {
  const found: Tally[] = [];
  for (const [id, { smoke, startFailures, state, failure }] of decision.releases) {
    const known = facts.releases.find((release) => release.id === id);
    for (const when of ["before", "after"] as const)
      if (smoke?.[when]?.failure && !known?.smoke?.[when]?.failure) found.push(check("smoke"));
    const isNew = (startFailures?.length ?? 0) > (known?.startFailures.length ?? 0);
    const isStart = state === "failed" && known?.state === "starting" && failure?.check !== undefined;
    if (isNew || isStart) found.push(check("startup"));
  }
  for (const [id, { unreachableSince }] of decision.instances) {
    const known = facts.instances.find((instance) => instance.id === id);
    if (typeof unreachableSince === "number" && known?.unreachableSince === null) found.push(check("path"));
  }
  return found;
}

interface Move {
  readonly from: ReleaseState;
  readonly to: ReleaseState;
}

function ofMove(release: ReleaseFacts, move: Move, now: number): Tally[] {
  const back = move.to === "rolling_back" ? [rollback(reasonOf(release))] : [];
  const outcome = release.kind === "deploy" ? outcomeOf(move, release) : undefined;
  if (!outcome) return back;
  const until = outcome === "success" ? (release.servingAt ?? now) : now;
  const seconds = Math.max(0, until - (release.startedAt ?? release.createdAt)) / 1_000;
  const labels = [release.spec.strategy.kind, outcome];
  const bound = DURATION_BOUNDS.find((one) => seconds <= one) ?? "+Inf";
  return [
    ...back,
    { metric: "deployments", labels, by: 1 },
    { metric: "duration", labels: [...labels, String(bound)], by: 1 },
    { metric: "durationSum", labels, by: seconds },
  ];
}

/** Undefined: it goes on, or its outcome was said before. What was live and then goes back was a success, and a rollback. */
function outcomeOf({ from, to }: Move, { failure }: ReleaseFacts): Outcome | undefined {
  if (to === "live") return from === "settling" ? "success" : undefined;
  if (to === "superseded")
    return from === "settling" ? "success" : from === "live" ? undefined : "superseded";
  const back = isPersons(failure) ? "aborted" : "rolled_back";
  if (to === "rolling_back") return from === "live" ? undefined : back;
  if (to === "failed") return "failed";
  return to === "aborted" && from !== "rolling_back" ? "aborted" : undefined;
}

/** It was somebody's will, or the lack of it, and no fault of the release. */
const isPersons = (failure: ReleaseFacts["failure"]): boolean =>
  failure !== null && ["aborted", "rejected", "not_approved"].includes(failure.code);

/** A person's rollback says no more than what it is. */
const reasonOf = ({ failure }: ReleaseFacts) =>
  failure === null || failure.code === "rolled_back" ? "asked" : failure.code;

/** Codes come from agents, too: one that is no plain word would be a label of a stranger's making. */
const rollback = (code: string): Tally => ({
  metric: "rollbacks",
  labels: [/^[a-z_]{1,40}$/.test(code) ? code : "other"],
  by: 1,
});

const check = (name: (typeof CHECKS)[number]): Tally => ({ metric: "checks", labels: [name], by: 1 });
