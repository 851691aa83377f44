import { FULL_WEIGHT } from "../../routing/table.ts";
import type { Rolling } from "../../spec.ts";
import type { Draft } from "../draft.ts";
import type { ReleaseFacts } from "../release.ts";
import { stop } from "../retire.ts";
import { roll, rollLimits } from "../roll.ts";
import { shiftWeights } from "../shift.ts";
import { askNew, startFailure } from "../starts.ts";
import type { StateRule } from "./state-rule.ts";

/**
 * rolling_back → rolled_back: its traffic is away, and its instances drain and stop. A rolling one goes back the way it
 * came; past its deadline no old instance is started again.
 */
export const rollingBack: StateRule = { work: endRollback };

function endRollback(draft: Draft, release: ReleaseFacts): void {
  const { strategy } = release.spec;
  const stable = draft.stable();
  const rolls = strategy.kind === "rolling" && stable !== undefined && stable.id !== release.id;
  if (rolls && !rollBack(draft, release, { stable, strategy })) return;
  const busy = draft.instancesOf(release.id).filter((instance) => instance.state !== "stopping");
  if (busy.length > 0) return;
  draft.moveRelease(release, "rolled_back", `${release.version} is rolled back`, { endedAt: draft.now });
}

/** One tick of putting the old instances back. True: stable has all that it will get. */
function rollBack(
  draft: Draft,
  release: ReleaseFacts,
  { stable, strategy }: { stable: ReleaseFacts; strategy: Rolling },
): boolean {
  askNew(draft, stable);
  for (const instance of draft.instancesOf(stable.id))
    if (startFailure(draft, stable, instance)) {
      stop(draft, instance);
      giveUp(draft, release);
    }
  const grow = (draft.release(release.id)?.deadlineAt ?? Number.POSITIVE_INFINITY) > draft.now;
  if (!grow && !canCarry(draft, stable)) return stay(draft, release);
  const limits = rollLimits(strategy, stable.spec.replicas);
  const progress = roll(draft, { to: stable, from: release, limits, grow, admits: true });
  if (progress === "stuck") giveUp(draft, release);
  if (progress !== "done") return false;
  shiftWeights(draft, new Map([[stable.id, FULL_WEIGHT]]));
  return true;
}

/** From now on no old instance is started again: what is left of them takes all of the traffic. */
const giveUp = (draft: Draft, { id }: ReleaseFacts): void =>
  draft.changeRelease(id, { deadlineAt: draft.now });

const canCarry = (draft: Draft, stable: ReleaseFacts): boolean =>
  draft.instancesOf(stable.id).some(({ state }) => ["starting", "ready", "serving"].includes(state));

/** Nothing of the old release can serve. What still does of the new one goes on: a bad release is better than none. */
function stay(draft: Draft, release: ReleaseFacts): boolean {
  const serves = draft.instancesOf(release.id).some(({ state }) => state === "serving");
  shiftWeights(draft, new Map(serves ? [[release.id, FULL_WEIGHT]] : []), { keepInstances: true });
  if (!serves) return true;
  draft.changeEnvironment({ stableReleaseId: release.id });
  const message = `${release.version} stays: the release before it could not be started again`;
  draft.moveRelease(release, "live", message, { endedAt: draft.now, failure: release.failure });
  return false;
}
