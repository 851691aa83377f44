import { stepsOf } from "../../domain/rollout/plan.ts";
import { percent } from "../../domain/rollout/shift.ts";
import { FULL_WEIGHT } from "../../domain/routing/table.ts";
import type { EnvironmentSpec, Step } from "../../domain/spec.ts";
import type { PlanView } from "../../protocol/api.ts";

/** A release's steps, and the times in them, as people read them. */

const UNITS = [
  [86_400_000, "d"],
  [3_600_000, "h"],
  [60_000, "m"],
  [1_000, "s"],
] as const;

/** `15 m`, `1 h 30 m`, `90 s`, `250 ms`: at most two units, and minutes only from two of them on. */
export function spell(ms: number): string {
  if (ms < 1_000) return `${Math.max(0, Math.round(ms))} ms`;
  const first = UNITS.find(([size]) => (size === 60_000 ? ms >= 2 * size || ms === size : ms >= size));
  if (!first) return `${ms} ms`;
  const [size, unit] = first;
  if (unit === "s") return `${Number((ms / size).toFixed(1))} s`;
  const whole = Math.floor(ms / size);
  const rest = ms - whole * size;
  const next = UNITS[UNITS.indexOf(first) + 1];
  const more = next ? Math.floor(rest / next[0]) : 0;
  return next && more > 0 ? `${whole} ${unit} ${more} ${next[1]}` : `${whole} ${unit}`;
}

export function stepLabel(step: Step): string {
  if (step.kind === "pause")
    return step.forMs === null ? "until it is promoted" : `pause for ${spell(step.forMs)}`;
  if (step.kind === "analysis") return `until proven no worse, at most ${spell(step.forMs)}`;
  // Who is eligible, and what is mirrored, ends where everybody has it.
  if (step.weightBp === FULL_WEIGHT && step.bakeMs === 0) return percent(FULL_WEIGHT);
  const extras = [
    step.bakeMs > 0 ? ` for ${spell(step.bakeMs)}` : "",
    step.match === null ? "" : " of those who match",
    step.mirrorBp > 0 ? `, ${percent(step.mirrorBp)} mirrored` : "",
  ];
  return percent(step.weightBp) + extras.join("");
}

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
