import { answering, canCarry, downAt, isDown, isLost, isUp, outagesNow } from "./carry.ts";
import type { Draft } from "./draft.ts";
import type { InstanceFacts } from "./facts.ts";
import type { ReleaseFacts, ReleaseFailure } from "./release.ts";
import { heirsOf } from "./target.ts";

/** How often an instance that does not answer over its real path yet is asked again. */
const PROBE_INTERVAL_MS = 500;
/** Instances of a release on its way, and of what it takes over from, are asked over their real path this often. */
const WATCH_MS = 5_000;

/** Asks those that have never answered over their real path. False: all have. */
export function askUnverified(draft: Draft, instances: readonly InstanceFacts[]): boolean {
  const silent = instances.filter((instance) => instance.verifiedAt === null);
  draft.probe(silent);
  if (silent.length > 0) draft.wakeAt(draft.now + PROBE_INTERVAL_MS);
  return silent.length > 0;
}

/** Keeps asking a release's instances whether they answer. */
export function watch(draft: Draft, release: ReleaseFacts, everyMs = WATCH_MS): void {
  const up = draft
    .instancesOf(release.id)
    .filter((instance) => isUp(instance) && instance.verifiedAt !== null);
  if (up.length === 0) return;
  draft.probe(up);
  draft.wakeAt(draft.now + everyMs);
}

/** Why the release can't be trusted with traffic any more; undefined: it can. */
export function lossOf(draft: Draft, release: ReleaseFacts): ReleaseFailure | undefined {
  const { now } = draft;
  const own = draft.instancesOf(release.id).filter(isUp);
  for (const instance of own) draft.wakeAt(downAt(instance, now));
  // A rolling release that has begun nothing yet has nothing to lose.
  if (release.weightBp === 0 && own.length === 0) return undefined;
  const isGone = own.length === 0 && ableHeir(draft, release) !== undefined;
  const isPart = isGrowing(release) || (!isGone && isReplaced(draft, release));
  if (!isLost(release, own, { now, isPart })) return undefined;
  const down = own.filter((instance) => isDown(instance, now));
  const each = down.map((instance) => `${instance.hostName}: ${causeOf(instance)}`);
  const left = own.length - down.length;
  const words =
    left === 0 ? "all its instances are lost" : `${left} of ${release.spec.replicas} instances are left`;
  const causes = each.length > 0 ? ` (${each.join("; ")})` : "";
  return { code: "instances_lost", message: words + causes, logs: [] };
}

/** It comes instance by instance: those that are not there yet are no loss, though the first have all traffic. */
const isGrowing = ({ state, spec }: ReleaseFacts): boolean =>
  state === "shifting" && spec.strategy.kind === "rolling";

/** What is warm, or shares the traffic, and could take over at once: nobody has to wait for those that come. */
export const ableHeir = (draft: Draft, release: ReleaseFacts): ReleaseFacts | undefined =>
  heirsOf({ releases: draft.releases() }, release).find((heir) =>
    canCarry(heir, draft.instancesOf(heir.id), draft.now),
  );

/** Another one takes its instances' places one by one, so that those that went are no loss. */
const isReplaced = (draft: Draft, release: ReleaseFacts): boolean =>
  draft
    .releases()
    .some(
      ({ id, state, spec }) => id !== release.id && state === "shifting" && spec.strategy.kind === "rolling",
    );

const causeOf = ({ verifyCause, reportCause, reportState, exits, hostRemoved }: InstanceFacts): string => {
  if (hostRemoved) return "its host was removed";
  // Of one that ended the agent says how; to whoever asks it over the network it only is silent.
  const hasEnded = reportState === "exited" || reportState === "gone";
  const cause = hasEnded ? (reportCause ?? verifyCause) : (verifyCause ?? reportCause);
  if (cause) return cause;
  if (exits.length > 1) return `it ended ${exits.length} times`;
  return reportState === "ready" ? "its host is not heard from" : "not ready";
};

/** `1 of 3 instances of v2 answers`: in words, who can carry how much. */
export function strengthOf(draft: Draft, release: ReleaseFacts): string {
  const count = answering(draft.instancesOf(release.id), draft.now).length;
  return `${count} of ${release.spec.replicas} instances of ${release.version} ${count === 1 ? "answers" : "answer"}`;
}

/** Writes down when what serves was out: a share of a minute can't be told from how things are now. */
export function noteOutages(draft: Draft): void {
  for (const instance of draft.instances()) {
    if (instance.state !== "serving") continue;
    const outages = outagesNow(instance, draft.now);
    if (outages) draft.changeInstance(instance, { outages });
  }
}
