import { describe, type Judgement } from "../../canary/index.ts";
import type { Draft } from "../draft.ts";
import type { Analysis } from "../facts.ts";
import type { ReleaseFacts, ReleaseFailure } from "../release.ts";
import { takeBack } from "../take-back.ts";
import { analysisOf, type Judged } from "./judged.ts";

/** What becomes of a release by the judge's word. */

/** The judge's word on a release; undefined: there is none yet. */
export const judgementOf = (
  { facts: { analysis } }: Draft,
  release: ReleaseFacts,
  how: Analysis["how"],
): Judgement | undefined =>
  analysis?.release === release.id && analysis.how === how ? analysis.decision : undefined;

/** What the judge found, and what comes of it, in one line. */
export function wordsOf(decision: Judgement, { release, how }: Pick<Judged, "release" | "how">): string {
  const { mode, onFailure } = analysisOf(release.spec);
  if (how === "before")
    return describe(decision, release.spec.watch === "on" ? "rollback" : "tell", "before the switch");
  const isTold = release.spec.strategy.kind === "rolling" && release.spec.watch === "alert";
  return describe(decision, mode ?? (isTold ? "tell" : onFailure), "on stable", release.version);
}

/** Why a release whose verdict is a rollback can't go on. */
export function analysisFailed(decision: Judgement, message: string, baseline = "stable"): ReleaseFailure {
  const { canary, baseline: other } = decision.rollout;
  return {
    code: "analysis_failed",
    message,
    check: {
      name: `analysis (${decision.reason})`,
      value: `errors ${rate(canary)}`,
      limit: `${baseline}: ${rate(other)}`,
    },
    logs: [],
  };
}

const rate = (side: { errors: number; requests: number }): string =>
  `${((100 * side.errors) / Math.max(1, side.requests)).toFixed(1)} % of ${side.requests}`;

/**
 * After the switch: what is worse than what served before is taken back, where `watch` says so and that one can carry it; else
 * people are told. True: it gave its traffic away.
 */
export function actOnWatch(draft: Draft, release: ReleaseFacts): boolean {
  const decision = judgementOf(draft, release, "before");
  if (decision?.verdict !== "rollback") return false;
  const isOn = release.spec.watch === "on";
  const failed = (message: string) => analysisFailed(decision, message, "before the switch");
  if (isOn && takeBack(draft, release, failed(wordsOf(decision, { release, how: "before" })))) return true;
  const why = isOn ? ", and nothing warm can take over" : "";
  const message = describe(decision, "tell", "before the switch");
  const failure = failed(message);
  tellOnce(draft, release, failure, `${release.version} is worse than what served before${why}: ${message}`);
  return false;
}

/** `failure` remembers that it was said. */
export function tellOnce(
  draft: Draft,
  release: ReleaseFacts,
  failure: ReleaseFailure,
  message: string,
): void {
  if (release.failure?.code === failure.code) return;
  draft.changeRelease(release.id, { failure });
  draft.event("traffic.alert", release.id, message, { failure });
}
