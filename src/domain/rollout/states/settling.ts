import { FULL_WEIGHT, STALENESS_BOUND_MS } from "../../routing/table.ts";
import type { Draft } from "../draft.ts";
import type { ReleaseFacts, ReleaseFailure } from "../release.ts";
import { shiftWeights } from "../shift.ts";
import { smokeOutcome } from "../smoke.ts";
import { rollbackTarget } from "../target.ts";
import { lostCause } from "../watch.ts";
import type { StateRule } from "./state-rule.ts";

/** settling → live: it has all traffic, and what it took over from drains and stays warm. It has no deadline: drains end. */
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

function settle(draft: Draft, release: ReleaseFacts): void {
  const failure = lostCause(draft, release) ?? smokeOutcome(draft, release, "after");
  if (failure === "asking") return;
  if (failure && takeBack(draft, release, failure)) return;
  const due = draft.facts.instances
    .filter((instance) => instance.releaseId !== release.id && instance.state === "draining")
    .map((instance) => instance.drainUntil ?? 0);
  const last = Math.max((release.servingAt ?? 0) + STALENESS_BOUND_MS, ...due);
  if (last > draft.now) return draft.wakeAt(last);
  const but = failure ? `, though ${failure.message}: nothing to roll back to is ready` : "";
  const ended = { endedAt: draft.now, ...(failure ? { failure } : {}) };
  draft.moveRelease(release, "live", `${release.version} is live${but}`, ended);
}

/**
 * Back to what served before, if that still runs. False: there is nothing to go back to, so what serves stays. Fewer than
 * half of the wanted instances help only where nobody serves at all.
 */
function takeBack(draft: Draft, release: ReleaseFacts, failure: ReleaseFailure): boolean {
  const target = rollbackTarget(draft.facts, release);
  const warm = target
    ? draft
        .instancesOf(target.id)
        .filter((instance) => instance.state !== "stopping" && instance.reportState === "ready")
    : [];
  const enough = failure.code === "instances_lost" ? 1 : (target?.spec.replicas ?? 0) / 2;
  if (!target || warm.length < enough) return false;
  const message = `${release.version} rolls back to ${target.version}: ${failure.message}`;
  draft.moveRelease(release, "rolling_back", message, { failure, endedAt: null });
  shiftWeights(draft, new Map([[target.id, FULL_WEIGHT]]));
  draft.changeEnvironment({ stableReleaseId: target.id });
  return true;
}
