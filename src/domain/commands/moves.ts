import { err, ok } from "../result.ts";
import { advance } from "../rollout/advance.ts";
import { type Decision, hasChanges } from "../rollout/decision.ts";
import { Draft } from "../rollout/draft.ts";
import type { EnvironmentFacts } from "../rollout/facts.ts";
import { isActive, type ReleaseFacts } from "../rollout/release.ts";
import type { Outcome, Refusal } from "./refusal.ts";
import { abort } from "./releases.ts";
import { planRollback, rollbackInstantly } from "./rollback.ts";
import { promote } from "./steer.ts";

/** What a person could do about the traffic now, told before it is done. */
export type Move = "promote" | "abort" | "rollback";

export interface MovePlan {
  readonly move: Move;
  /** Null: it would be refused. */
  readonly refusal: Refusal | null;
  /** What the feed would say, in its order. */
  readonly says: readonly string[];
  /** Who would have traffic then, the newest first. */
  readonly weights: readonly {
    readonly release: string;
    readonly version: string;
    readonly weightBp: number;
  }[];
}

/** The very command and the tick after it, on a copy of the facts: plan and deed can't differ. */
export function planMove(facts: EnvironmentFacts, move: Move, now: number): MovePlan {
  const made = take(facts, move, now);
  if (!made.ok) return { move, refusal: made.error, says: [], weights: weightsOf(facts) };
  // What is due without the move is none of its doing.
  const due = new Set(advance(facts, now).events.map(({ message }) => message));
  const says: string[] = [];
  let after = facts;
  let decision: Decision | null = made.value.decision;
  for (let pass = 0; decision && pass < MOST_PASSES; pass++) {
    says.push(...decision.events.map(({ message }) => message).filter((message) => !due.has(message)));
    after = asDecided(after, decision, now);
    const next = advance(after, now);
    decision = hasChanges(next) ? next : null;
  }
  return { move, refusal: null, says, weights: weightsOf(after) };
}

const MOST_PASSES = 5;

function take(facts: EnvironmentFacts, move: Move, now: number): Outcome<object> {
  const by = { actor: "you", reason: null };
  if (move === "rollback") return takeRollback(facts, now);
  const release = facts.releases.find(({ state }) => isActive(state) || state === "queued");
  if (!release)
    return err({ code: "stale_step", detail: `nothing is on its way: there is nothing to ${move}` });
  if (move === "abort") return abort(facts, { ...by, release: release.id }, now);
  return promote(facts, { ...by, release: release.id, step: null, full: false }, now);
}

function takeRollback(facts: EnvironmentFacts, now: number): Outcome<object> {
  const plan = planRollback(facts, { to: null }, now);
  if (!plan.ok) return plan;
  const { how, from, to, lacks } = plan.value;
  if (how === "instant")
    return rollbackInstantly(facts, plan.value, { actor: "you", reason: "asked by you" }, now);
  const draft = new Draft(facts, now, "you");
  const message = `${lacks ?? `${to.version} is on its way back`}: its image is started again, and takes over from ${from.version} when it answers`;
  draft.event("release.progress", null, message);
  return ok({ decision: draft.decision });
}

/** The facts as a decision leaves them, as far as traffic goes. */
function asDecided(facts: EnvironmentFacts, decision: Decision, now: number): EnvironmentFacts {
  const { stableReleaseId = facts.stableReleaseId } = decision.environment;
  const cancelled = new Set(decision.cancelJobs);
  return {
    ...facts,
    stableReleaseId,
    releases: facts.releases.map((release) => ({ ...release, ...decision.releases.get(release.id) })),
    instances: facts.instances.map((instance) => {
      const change = decision.instances.get(instance.id);
      return { ...instance, ...change, ...(change?.state && { stateSince: now }) };
    }),
    jobs: facts.jobs.filter(({ id }) => !cancelled.has(id)),
  };
}

const weightsOf = ({ releases }: EnvironmentFacts): MovePlan["weights"] =>
  releases
    .filter((release: ReleaseFacts) => release.weightBp > 0)
    .toSorted((a, b) => b.createdAt - a.createdAt)
    .map(({ id, version, weightBp }) => ({ release: id, version, weightBp }));
