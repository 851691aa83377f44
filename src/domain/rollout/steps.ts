import { FULL_WEIGHT } from "../routing/table.ts";
import type { EnvironmentSpec, Step, WeightStep } from "../spec.ts";
import { spell } from "../times.ts";
import type { ReleaseFacts } from "./release.ts";

/** The steps of a strategy, the last of them all traffic. A rolling release has none: its weight follows its instances. */
export function stepsOf(spec: Pick<EnvironmentSpec, "strategy">): readonly Step[] {
  const { strategy } = spec;
  switch (strategy.kind) {
    case "blue-green":
      return [{ kind: "weight", weightBp: FULL_WEIGHT, bakeMs: 0, match: null, mirrorBp: 0 }];
    case "canary":
      return strategy.steps;
    case "rolling":
      return [];
  }
}

/** A step as people read it, in plans, in status and in the feed. */
export function stepLabel(step: Step): string {
  if (step.kind === "pause")
    return step.forMs === null ? "until it is promoted" : `pause for ${spell(step.forMs)}`;
  if (step.kind === "analysis") return `until proven no worse, at most ${spell(step.forMs)}`;
  // Who is eligible, and what is mirrored, ends where everybody has it.
  if (step.weightBp === FULL_WEIGHT && step.bakeMs === 0) return percent(FULL_WEIGHT);
  const extras = [
    step.bakeMs > 0 ? ` for ${spell(step.bakeMs)}` : "",
    step.match === null ? "" : " of those who match",
    step.mirrorBp > 0 ? `, ${percent(step.mirrorBp)} mirrored${step.compare ? " and compared" : ""}` : "",
  ];
  return percent(step.weightBp) + extras.join("");
}

export const percent = (weightBp: number): string => `${(weightBp * 100) / FULL_WEIGHT} %`;

/** The last step that has begun; of one that is held before its first, -1: what a press there begins, the next one would end. */
export const begunStep = ({ stepIndex, stepSince }: Pick<ReleaseFacts, "stepIndex" | "stepSince">): number =>
  (stepIndex ?? 0) - (stepSince === null ? 1 : 0);

/** What gives it its share, and says who is eligible and what is mirrored: the last weight step that has begun; undefined: none. */
export const begunWeight = (
  release: Pick<ReleaseFacts, "spec" | "stepIndex" | "stepSince">,
): WeightStep | undefined =>
  stepsOf(release.spec)
    .slice(0, begunStep(release) + 1)
    .findLast((step): step is WeightStep => step.kind === "weight");
