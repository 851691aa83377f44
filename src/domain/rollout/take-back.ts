import { FULL_WEIGHT } from "../routing/table.ts";
import { answering, canCarry, isUp } from "./carry.ts";
import type { Draft } from "./draft.ts";
import { giveBack } from "./ending.ts";
import type { ReleaseFacts, ReleaseFailure } from "./release.ts";
import { shiftWeights } from "./shift.ts";
import { heirsOf } from "./target.ts";
import { ableHeir, lossOf, strengthOf, watch } from "./watch.ts";

/** What is live is watched for as long as something warm could take over; later its loss can only be told. */

const WATCH_LIVE_MS = 10_000;

/** `lost`: it can't carry its traffic, and nobody else can. */
export function guard(draft: Draft, release: ReleaseFacts): "sound" | "lost" | "given away" {
  const heirs = heirsOf({ releases: draft.releases() }, release);
  const warm = heirs.filter(({ id }) => draft.instancesOf(id).some(isUp));
  // One that was silent once counts as silent until it is asked again, whatever is warm by then.
  const hasSilent = draft.instancesOf(release.id).some((one) => isUp(one) && one.unreachableSince !== null);
  if (warm.length > 0 || hasSilent) watch(draft, release, WATCH_LIVE_MS);
  for (const heir of warm) watch(draft, heir, WATCH_LIVE_MS);
  const loss = lossOf(draft, release);
  if (loss && takeBack(draft, release, loss)) return "given away";
  if (loss) alert(draft, release, loss);
  else if (release.failure?.code === "instances_lost") recover(draft, release);
  return loss ? "lost" : "sound";
}

/**
 * Back to what served before, if that can carry it. Where the release has nobody left at all, whoever answers is better.
 * False: what serves stays.
 */
export function takeBack(draft: Draft, release: ReleaseFacts, failure: ReleaseFailure): boolean {
  const target = receiverOf(draft, release);
  if (!target) return false;
  const isAble = canCarry(target, draft.instancesOf(target.id), draft.now);
  const but = isAble ? "" : `, though only ${strengthOf(draft, target)}`;
  const message = `${release.version} rolls back to ${target.version}: ${failure.message}${but}`;
  const onItsWay = besides(draft, release, failure);
  const deadlineAt = draft.now + release.spec.deadlines.releaseMs;
  draft.moveRelease(release, "rolling_back", message, { failure, endedAt: null, deadlineAt });
  const share = onItsWay?.weightBp ?? 0;
  const weights = new Map([[target.id, FULL_WEIGHT - share]]);
  if (onItsWay) weights.set(onItsWay.id, share);
  shiftWeights(draft, weights);
  draft.changeEnvironment({ stableReleaseId: target.id });
  if (!isAble) draft.event("traffic.alert", release.id, message, { failure });
  return true;
}

/** Undefined: the release keeps what it has. */
function receiverOf(draft: Draft, release: ReleaseFacts): ReleaseFacts | undefined {
  const answeringOf = ({ id }: ReleaseFacts) => answering(draft.instancesOf(id), draft.now).length;
  const able = ableHeir(draft, release);
  if (able) return able;
  if (answeringOf(release) > 0) return undefined;
  // What is on its way out was called bad, and has served: better than nobody.
  const leaving = draft
    .releases()
    .filter(({ state, servingAt }) => state === "rolling_back" && servingAt !== null);
  const heirs = heirsOf({ releases: draft.releases() }, release);
  return [...heirs, ...leaving].find((other) => other.id !== release.id && answeringOf(other) > 0);
}

/** A canary beside the lost release keeps its share. One that takes its instances' places one by one has nothing to go on from. */
function besides(draft: Draft, release: ReleaseFacts, failure: ReleaseFailure): ReleaseFacts | undefined {
  const other = draft.releases().find(({ id, state }) => state === "shifting" && id !== release.id);
  if (other?.spec.strategy.kind !== "rolling") return other;
  const message = `${other.version} ends: ${release.version}, which it was replacing, is lost`;
  giveBack(draft, other, message, { ...failure, message });
  return undefined;
}

/** Said once; `failure` remembers that it was. */
function alert(draft: Draft, release: ReleaseFacts, failure: ReleaseFailure): void {
  // Those that come back have to answer for a while before they count.
  if (answering(draft.instancesOf(release.id), draft.now).length > 0) draft.wakeAt(draft.now + WATCH_LIVE_MS);
  if (release.failure?.code === failure.code) return;
  draft.changeRelease(release.id, { failure });
  const message = `${release.version} can't carry its traffic, and nothing warm can take over: ${failure.message}`;
  draft.event("traffic.alert", release.id, message, { failure });
}

function recover(draft: Draft, release: ReleaseFacts): void {
  draft.changeRelease(release.id, { failure: null });
  draft.event("traffic.alert", release.id, `${strengthOf(draft, release)} again`, {});
}
