import type { EnvironmentFacts } from "./facts.ts";
import { hasServed, type ReleaseFacts } from "./release.ts";

/** What a rollback could return to: the release that gave its traffic away last. */
export function rollbackTarget(
  facts: Pick<EnvironmentFacts, "releases">,
  from: ReleaseFacts | undefined,
): ReleaseFacts | undefined {
  return facts.releases
    .filter((release) => release.id !== from?.id && release.state === "superseded" && hasServed(release))
    .sort((a, b) => (b.endedAt ?? 0) - (a.endedAt ?? 0) || b.createdAt - a.createdAt)[0];
}
