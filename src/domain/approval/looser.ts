import { stepsOf } from "../rollout/steps.ts";
import { FULL_WEIGHT } from "../routing/table.ts";
import type { EnvironmentSpec } from "../spec.ts";

type Gated = Pick<EnvironmentSpec, "approval" | "strategy">;

/** Whether a manifest lets pass what another one would not. */
export function isLooser(next: Gated, { approval: before, ...spec }: Gated): boolean {
  if (!before) return false;
  if (next.approval?.before !== before.before || next.approval.by < before.by) return true;
  if (before.before !== "step") return false;
  const now = sharesAtPauses(next);
  return sharesAtPauses(spec).some((share, index) => (now[index] ?? FULL_WEIGHT) > share);
}

/** What a release has at each pause for a person, in basis points. */
function sharesAtPauses(spec: Pick<Gated, "strategy">): number[] {
  let share = 0;
  const shares: number[] = [];
  for (const step of stepsOf(spec)) {
    if (step.kind === "weight") share = step.weightBp;
    else if (step.forMs === null) shares.push(share);
  }
  return shares;
}
