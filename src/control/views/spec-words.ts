import { stepLabel } from "../../domain/rollout/steps.ts";
import type { Step } from "../../domain/spec.ts";
import { spell } from "../../domain/times.ts";
import type { Difference } from "./differences.ts";

/** What differs between two specs by the manifest's own keys and in its units: `deadlines.release: 1 h`, not `releaseMs: 3600000`. */
export function inManifestWords({ path, before, after }: Difference): Difference {
  const say = (value: unknown): unknown => (value === null ? null : worded(path, value));
  return {
    path: path.replace(/^strategy\.kind$/, "strategy").replace(/(?:Ms|Bp)$/, ""),
    before: say(before),
    after: say(after),
  };
}

function worded(path: string, value: unknown): unknown {
  if (typeof value === "number" && path.endsWith("Ms")) return value === 0 ? "0 s" : spell(value);
  if (typeof value === "number" && path.endsWith("Bp")) return `${value / 100} %`;
  // A spec's own steps.
  if (path === "strategy.steps" && Array.isArray(value))
    return (value as Step[]).map(stepLabel).join(", then ");
  return value;
}
