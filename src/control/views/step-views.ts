import { stepLabel, stepsOf } from "../../domain/rollout/steps.ts";
import type { EnvironmentSpec, Step } from "../../domain/spec.ts";
import type { PlanView } from "../../protocol/api/plans.ts";

/** A release's steps as the API's resource. */

type StepView = PlanView["steps"][number];

export function stepView(step: Step): StepView {
  const { kind } = step;
  const label = stepLabel(step);
  if (kind === "weight") return { kind, weight: step.weightBp / 100, forMs: step.bakeMs, label };
  // An analysis step ends as soon as there is proof: at least, it takes no time.
  return { kind, forMs: kind === "pause" ? step.forMs : 0, label };
}

export const stepViews = (spec: EnvironmentSpec): StepView[] => stepsOf(spec).map(stepView);

/** The least time that the steps take; null: somebody has to promote it. */
export function leastMs(steps: readonly StepView[]): number | null {
  let sum = 0;
  for (const { forMs } of steps) {
    if (forMs === null) return null;
    sum += forMs;
  }
  return sum;
}
