import { isOnline } from "../host-online.ts";
import { FULL_WEIGHT } from "../routing/table.ts";
import type { InstanceFacts } from "./facts.ts";
import type { ReleaseFacts } from "./release.ts";

/**
 * Who can carry traffic. Weight says who is meant to serve; this says who may be given any: every move of traffic (shift,
 * give back, take back, roll back, take over, abort, deadline) asks it of the side that receives.
 *
 * Two questions with two measures of time: `answers` and `canCarry` are about this moment, `isDown` and `isLost` about
 * the last minutes, so that nobody is judged by one answer that went missing.
 */

/** Not answering, or not ready, for this long without a break is down. */
const LOST_MS = 15_000;
/** A second exit within this long is down, however quickly it came back: a crash loop serves between its crashes. */
const EXITS_MS = 300_000;
/** Ready for less than half of this is down. */
const SHARE_MS = 60_000;

/** Its container runs, and requests may be sent to it. */
export const isUp = ({ state }: Pick<InstanceFacts, "state">): boolean =>
  state === "ready" || state === "serving" || state === "draining" || state === "warm";

/** Its host's agent has not been silent for too long, and the host is still one of ours. */
export const isHeard = (
  { hostSeenAt, hostRemoved }: Pick<InstanceFacts, "hostSeenAt" | "hostRemoved">,
  now: number,
): boolean => !hostRemoved && (hostSeenAt === null || isOnline({ lastSeenAt: hostSeenAt }, now));

/** Ready by its agent's word, where that word still counts. */
const isReady = (instance: InstanceFacts, now: number): boolean =>
  isUp(instance) && instance.reportState === "ready" && isHeard(instance, now);

/** A request sent to it now would be answered, as far as anybody knows. */
export const answers = (instance: InstanceFacts, now: number): boolean =>
  isReady(instance, now) && hasAnswered(instance) && instance.unreachableSince === null;

/** Nothing gets past `ready` before it has answered over its real path. */
const hasAnswered = ({ state, verifiedAt }: InstanceFacts): boolean =>
  state !== "ready" || verifiedAt !== null;

export const isCrashing = ({ exits }: Pick<InstanceFacts, "exits">, now: number): boolean =>
  exits.filter((at) => at > now - EXITS_MS).length >= 2;

export const answering = (instances: readonly InstanceFacts[], now: number): InstanceFacts[] =>
  instances.filter((instance) => answers(instance, now));

/** At least half of the instances that the release wants answer, and none of those is in a crash loop. */
export function canCarry(release: ReleaseFacts, own: readonly InstanceFacts[], now: number): boolean {
  const sound = answering(own, now).filter((instance) => !isCrashing(instance, now));
  return sound.length > 0 && sound.length * 2 >= release.spec.replicas;
}

// --- over the last minutes ------------------------------------------------------------------------------------------

/** Since when it does not answer, or is not ready; null: it does and is. */
function downSince(instance: InstanceFacts): number | null {
  if (instance.unreachableSince !== null) return instance.unreachableSince;
  return instance.reportState === "ready" ? null : (instance.reportAt ?? instance.stateSince);
}

/** How long it was down within the last minute. */
function downMs({ outages }: InstanceFacts, now: number): number {
  const from = now - SHARE_MS;
  return outages.reduce(
    (sum, outage) => sum + Math.max(0, (outage.to ?? now) - Math.max(from, outage.from)),
    0,
  );
}

/** Not to be counted on: gone with its host, silent for too long, in and out, or in a crash loop. */
export function isDown(instance: InstanceFacts, now: number): boolean {
  if (!isHeard(instance, now) || isCrashing(instance, now)) return true;
  const since = downSince(instance);
  if (since !== null && since + LOST_MS <= now) return true;
  return downMs(instance, now) * 2 > SHARE_MS;
}

/** It has not answered over its real path for so long that no visitor is to try it. */
export const isSilent = (
  { unreachableSince }: Pick<InstanceFacts, "unreachableSince">,
  now: number,
): boolean => unreachableSince !== null && unreachableSince + LOST_MS <= now;

/** When one that does not answer would be down; null: it answers, or is down already. */
export function downAt(instance: InstanceFacts, now: number): number | null {
  const since = downSince(instance);
  return since === null || isDown(instance, now) ? null : since + LOST_MS;
}

/**
 * Fewer than half of its instances are to be counted on. One that shares traffic, or comes or is replaced instance by
 * instance (`isPart`), is asked for those it has.
 */
export function isLost(
  release: ReleaseFacts,
  own: readonly InstanceFacts[],
  { now, isPart = false }: { readonly now: number; readonly isPart?: boolean },
): boolean {
  const up = own.filter(isUp);
  const sound = up.filter((instance) => !isDown(instance, now));
  const { replicas } = release.spec;
  if (isPart && up.length === 0) return false;
  const isWhole = release.weightBp === FULL_WEIGHT && !isPart;
  const wanted = isWhole ? replicas : Math.min(replicas, up.length);
  const exits = up.flatMap((instance) => instance.exits).filter((at) => at > now - EXITS_MS);
  return sound.length === 0 || sound.length * 2 < wanted || exits.length > Math.max(2, replicas);
}

/** An outage begins or ends: what `outages` becomes. Undefined: nothing that was not known. */
export function outagesNow(instance: InstanceFacts, now: number): InstanceFacts["outages"] | undefined {
  const kept = instance.outages.filter(({ to }) => to === null || to > now - SHARE_MS);
  const open = kept.find(({ to }) => to === null);
  const since = downSince(instance);
  if ((since === null) === (open === undefined)) return undefined;
  if (open) return kept.map((outage) => (outage === open ? { ...outage, to: now } : outage));
  return [...kept, { from: since ?? now, to: null }].slice(-MOST_OUTAGES);
}

const MOST_OUTAGES = 10;
