import { err, ok, type Result } from "../../domain/result.ts";
import { FULL_WEIGHT } from "../../domain/routing/table.ts";
import type { Weights } from "../../protocol/api/moves.ts";
import type { Refusal } from "../refusal.ts";

export interface KnownRelease {
  readonly id: string;
  readonly version: string;
}

/**
 * A split as people write it (percent by release id or label) as the coordinator takes it (basis points by id).
 * `valid`: the labels to offer when one is wrong.
 */
export function toBasisPoints(
  weights: Weights,
  known: readonly KnownRelease[],
  valid: readonly string[],
): Result<Record<string, number>, Refusal> {
  const refuse = (detail: string) => err({ code: "weights_invalid" as const, detail });
  const result: Record<string, number> = {};
  for (const [key, percent] of Object.entries(weights)) {
    const release = known.find(({ id, version }) => id === key || version === key);
    if (!release)
      return refuse(`there is no release \`${key}\` here; releases that could serve: ${listed(valid)}`);
    if (release.id in result)
      return refuse(`${release.version} is named twice, by label and by id: name it once`);
    const weightBp = Math.round(percent * 100);
    if (Math.abs(weightBp - percent * 100) > 1e-6)
      return refuse(`${key}: ${percent} has more than two decimals: the smallest step is 0.01 %`);
    result[release.id] = weightBp;
  }
  const sum = Object.values(result).reduce((total, weightBp) => total + weightBp, 0);
  if (sum === FULL_WEIGHT) return ok(result);
  return refuse(
    `the weights sum to ${sum / 100} %, not to 100 %: name every release that is to have traffic`,
  );
}

const listed = (names: readonly string[]) => names.join(", ") || "none";
