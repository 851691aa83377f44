import type { Judgement } from "./decide.ts";

export type OnInconclusive = "ask" | "promote" | "abort";

export interface StepPolicy {
  /** When the step's time is up and the data prove neither good nor bad. */
  readonly onInconclusive: OnInconclusive;
  readonly onFailure: "rollback" | "pause";
  /** Whether the step may still be prolonged before its deadline. */
  readonly canWait: boolean;
}

export type StepAction =
  /** Failed: back to stable, or stop and call someone, as the policy says. */
  | "rollback"
  | "pause"
  /** On to the next step. */
  | "promote"
  /** Stay at this weight until a person decides. */
  | "ask"
  /** End the release, all traffic to stable. */
  | "abort"
  /** Stay at this weight and look again at the next window. */
  | "wait";

/** `promote` on thin data needs at least these requests, none of them suspicious: silence is never a pass. */
const MIN_PROMOTE_REQUESTS = 50;

export interface StepEnd {
  readonly action: StepAction;
  /** Why, in words, for the event log; the figures are in `describe`. */
  readonly because: string;
}

/** What to do when a step's time is up. Nothing but proof passes by itself; the rest is the environment's policy. */
export function endStep(decision: Judgement, policy: StepPolicy): StepEnd {
  switch (decision.verdict) {
    case "rollback":
      return { action: policy.onFailure, because: "the canary failed its analysis" };
    case "pass":
      return { action: "promote", because: "the canary is proven no worse than stable" };
    case "hold":
      return endDuringOutage(policy);
    case "continue":
      return endInconclusive(decision, policy);
  }
}

/** No promotion into an outage, whatever the policy: stable's own failures hide the canary's. */
function endDuringOutage(policy: StepPolicy): StepEnd {
  if (policy.canWait) return { action: "wait", because: "stable is failing too" };
  if (policy.onInconclusive === "abort") {
    return { action: "abort", because: "stable is failing too, the step's deadline has passed" };
  }
  return { action: "ask", because: "stable is failing too, the step's deadline has passed" };
}

function endInconclusive(decision: Judgement, { onInconclusive }: StepPolicy): StepEnd {
  const requests = decision.rollout.canary.requests;
  const facts = `${requests} canary requests prove neither good nor bad`;
  if (onInconclusive === "abort") return { action: "abort", because: `${facts}, onInconclusive: abort` };
  if (onInconclusive === "ask") return { action: "ask", because: `${facts}, onInconclusive: ask` };
  if (requests < MIN_PROMOTE_REQUESTS) {
    return {
      action: "ask",
      because: `${facts}; onInconclusive: promote needs at least ${MIN_PROMOTE_REQUESTS}`,
    };
  }
  if (decision.logE >= 0) {
    return {
      action: "ask",
      because: `${facts}, and lean towards worse; onInconclusive: promote does not cover that`,
    };
  }
  return { action: "promote", because: `${facts}, nothing speaks against it, onInconclusive: promote` };
}
