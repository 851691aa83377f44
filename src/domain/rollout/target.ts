import type { EnvironmentFacts } from "./facts.ts";
import { hasServed, type ReleaseFacts } from "./release.ts";

type Releases = Pick<EnvironmentFacts, "releases">;

/** What a rollback could return to: the first of the heirs. */
export const rollbackTarget = (
  facts: Releases,
  from: Pick<ReleaseFacts, "id"> | undefined,
): ReleaseFacts | undefined => heirsOf(facts, from)[0];

/**
 * Who could take a release's traffic, in this order: who shares it, then those that gave their own away, the last of them
 * first. Where the first is dead, an older one that is still warm is better than nobody. (A contract hook, after which
 * nothing older may serve, waits until none of these has an instance.)
 */
export function heirsOf({ releases }: Releases, from: Pick<ReleaseFacts, "id"> | undefined): ReleaseFacts[] {
  const others = releases.filter((release) => release.id !== from?.id && hasServed(release));
  const sharing = others.filter(({ weightBp }) => weightBp > 0).sort((a, b) => b.weightBp - a.weightBp);
  const gone = others
    .filter(({ state, weightBp }) => state === "superseded" && weightBp === 0)
    .sort((a, b) => (b.endedAt ?? 0) - (a.endedAt ?? 0) || b.createdAt - a.createdAt);
  return [...sharing, ...gone];
}
