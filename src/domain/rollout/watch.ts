import type { Draft } from "./draft.ts";
import type { InstanceFacts } from "./facts.ts";
import type { ReleaseFacts, ReleaseFailure } from "./release.ts";

/** How often an instance that does not answer over its real path yet is asked again. */
const PROBE_INTERVAL_MS = 500;
/** Serving instances of a release on its way are asked over their real path this often. */
const WATCH_MS = 5_000;
/** Not answering, or not ready, for this long counts as lost. */
const LOST_MS = 15_000;

/** Asks those that have never answered over their real path. False: all have. */
export function askUnverified(draft: Draft, instances: readonly InstanceFacts[]): boolean {
  const silent = instances.filter((instance) => instance.verifiedAt === null);
  draft.probe(silent);
  if (silent.length > 0) draft.wakeAt(draft.now + PROBE_INTERVAL_MS);
  return silent.length > 0;
}

/** Why the release can't be trusted with traffic any more: none of its serving instances answers. */
export function lostCause(draft: Draft, release: ReleaseFacts): ReleaseFailure | undefined {
  const serving = draft.instancesOf(release.id).filter((instance) => instance.state === "serving");
  if (serving.length === 0 || release.weightBp === 0) return undefined;
  draft.probe(serving);
  draft.wakeAt(draft.now + WATCH_MS);
  const since = serving.map((instance) => downSince(instance));
  if (since.some((time) => time === null || time + LOST_MS > draft.now)) return undefined;
  const each = serving.map(
    (instance) => `${instance.hostName}: ${instance.verifyCause ?? instance.reportCause ?? "not ready"}`,
  );
  return { code: "instances_lost", message: `all its instances are lost (${each.join("; ")})`, logs: [] };
}

function downSince(instance: InstanceFacts): number | null {
  if (instance.unreachableSince !== null) return instance.unreachableSince;
  return instance.reportState === "ready" ? null : instance.reportAt;
}
