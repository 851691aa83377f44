import { STALENESS_BOUND_MS } from "../routing/table.ts";
import { answering } from "./carry.ts";
import type { Draft } from "./draft.ts";
import type { InstanceFacts } from "./facts.ts";
import type { ReleaseFacts } from "./release.ts";
import { percent } from "./steps.ts";

/**
 * Gives the traffic of an environment anew. Every release not named gets 0. A release that loses its last traffic
 * drains and is superseded but kept warm; one that gains traffic serves.
 */
export function shiftWeights(
  draft: Draft,
  weights: ReadonlyMap<string, number>,
  /** Rolling moves instances itself, one by one; only the weights follow. */
  options: { readonly keepInstances?: boolean } = {},
): void {
  const before = split(draft);
  for (const { id } of draft.facts.releases) {
    const release = draft.release(id);
    const weightBp = weights.get(id) ?? 0;
    if (!release || release.weightBp === weightBp) continue;
    draft.changeRelease(id, { weightBp });
    if (weightBp > 0 && options.keepInstances) resumeServing(draft, id);
    else if (weightBp > 0) serve(draft, id);
    else drain(draft, id);
  }
  const after = split(draft);
  if (before === after) return;
  draft.event("traffic.weights", null, `traffic: ${after}`, {
    before,
    after,
    weights: Object.fromEntries(weights),
  });
}

function serve(draft: Draft, releaseId: string): void {
  for (const instance of draft.instancesOf(releaseId)) {
    if (instance.state === "ready" || instance.state === "draining" || instance.state === "warm") {
      draft.changeInstance(instance, { state: "serving", drainUntil: null });
    }
  }
  if (draft.release(releaseId)?.state === "rolling_back") backToLive(draft, releaseId);
  resumeServing(draft, releaseId);
}

/** One that had given its traffic away is live again, and not kept warm for a time any more. */
function resumeServing(draft: Draft, releaseId: string): void {
  draft.changeRelease(releaseId, { warmUntil: null });
  if (draft.release(releaseId)?.state === "superseded") backToLive(draft, releaseId);
}

function backToLive(draft: Draft, releaseId: string): void {
  const release = draft.release(releaseId);
  if (!release) return;
  const change = { endedAt: draft.now, failure: null };
  draft.moveRelease(release, "live", `${release.version} takes traffic again`, change);
}

/** No new request comes once every edge has the table; then what is under way gets `drain`. */
function drain(draft: Draft, releaseId: string): void {
  const release = draft.release(releaseId);
  if (!release) return;
  const drainUntil = drainsUntil(draft, release);
  for (const instance of draft.instancesOf(releaseId)) {
    if (instance.state === "serving") draft.changeInstance(instance, { state: "draining", drainUntil });
  }
  if (release.state !== "live" && release.state !== "settling") return;
  const warmUntil = Math.max(draft.now + release.spec.keepMs, drainUntil);
  const isAnswering = answering(draft.instancesOf(releaseId), draft.now).length > 0;
  const kept = release.spec.keepMs > 0 ? " and is kept warm" : "";
  const now = isAnswering ? kept : ": none of its instances answers";
  draft.moveRelease(release, "superseded", `${release.version} gave its traffic away${now}`, {
    endedAt: draft.now,
    warmUntil,
  });
}

/** Lets one instance go while its release goes on serving from others. */
export function drainInstance(draft: Draft, release: ReleaseFacts, instance: InstanceFacts): void {
  const change = { state: "draining", drainUntil: drainsUntil(draft, release) } as const;
  draft.changeInstance(instance, change, `${release.version} on ${instance.hostName} drains`);
}

const drainsUntil = (draft: Draft, release: ReleaseFacts): number =>
  draft.now + STALENESS_BOUND_MS + release.spec.drainMs;

/** `v2 75 %, v1 25 %`: the split in words, largest first. */
function split(draft: Draft): string {
  const parts = draft
    .releases()
    .filter((release) => release.weightBp > 0)
    .sort((a, b) => b.weightBp - a.weightBp)
    .map((release) => `${release.version} ${percent(release.weightBp)}`);
  return parts.join(", ") || "nothing";
}

/** All that have traffic beside the release, stable first. */
export function servingBeside(draft: Draft, { id }: ReleaseFacts): ReleaseFacts[] {
  const others = draft.releases().filter((other) => other.id !== id && other.weightBp > 0);
  const stable = draft.stable()?.id;
  return others.sort((a, b) => Number(b.id === stable) - Number(a.id === stable));
}

/** Stable, where it still has traffic beside the release. */
export function servingStable(draft: Draft, release: ReleaseFacts): ReleaseFacts | undefined {
  const stable = draft.stable();
  return stable && stable.id !== release.id && stable.weightBp > 0 ? stable : undefined;
}
