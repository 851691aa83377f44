import { areWorkersUp, workerFailure } from "../../processes/workers.ts";
import { FULL_WEIGHT, STALENESS_BOUND_MS } from "../../routing/table.ts";
import { actOnWatch } from "../analysis/consequences.ts";
import type { Draft } from "../draft.ts";
import type { ReleaseFacts } from "../release.ts";
import { shiftWeights } from "../shift.ts";
import { smokeOutcome } from "../smoke.ts";
import { takeBack } from "../take-back.ts";
import { heirsOf } from "../target.ts";
import { lossOf, watch } from "../watch.ts";
import type { StateRule } from "./state-rule.ts";

/**
 * settling → live: it has all traffic, what it took over from drains and stays warm, and its workers take the place of the
 * older ones: if they can't, it goes back while that costs nothing. It has no deadline: drains end, and so do starts.
 */
export const settling: StateRule = { work: settle };

/** The release has all traffic: the others drain, and the next release may begin. */
export function takeOver(draft: Draft, release: ReleaseFacts): void {
  shiftWeights(draft, new Map([[release.id, FULL_WEIGHT]]));
  draft.moveRelease(release, "settling", `${release.version} serves 100 %`, {
    servingAt: draft.now,
    weightBp: FULL_WEIGHT,
    paused: null,
  });
  draft.changeEnvironment({ stableReleaseId: release.id });
}

/** Where it is all there is, or all that answers, why is told with it. */
export function takeOverFrom(draft: Draft, release: ReleaseFacts, lost: string): void {
  draft.event("traffic.alert", release.id, `${release.version} takes all traffic at once: ${lost}`);
  takeOver(draft, release);
}

function settle(draft: Draft, release: ReleaseFacts): void {
  watch(draft, release);
  for (const heir of heirsOf({ releases: draft.releases() }, release)) watch(draft, heir);
  const outcome = lossOf(draft, release) ?? smokeOutcome(draft, release, "after");
  if (outcome === "asking") return;
  // What a person went back to is kept, whatever becomes of its workers.
  const failure = outcome ?? (release.kind === "deploy" ? workerFailure(draft, release) : undefined);
  if (failure && takeBack(draft, release, failure)) return;
  if (actOnWatch(draft, release)) return;
  // Each start has a deadline of its own.
  if (!failure && !areWorkersUp(draft, release)) return;
  const due = draft.facts.instances
    .filter((instance) => instance.releaseId !== release.id && instance.state === "draining")
    .map((instance) => instance.drainUntil ?? 0);
  const last = Math.max((release.servingAt ?? 0) + STALENESS_BOUND_MS, ...due);
  if (last > draft.now) return draft.wakeAt(last);
  const but = failure ? `, though ${failure.message}: nothing to roll back to is ready` : "";
  const ended = { endedAt: draft.now, ...(failure ? { failure } : {}) };
  draft.moveRelease(release, "live", `${release.version} is live${but}`, ended);
}
