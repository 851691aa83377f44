import type { EnvironmentFacts } from "./facts.ts";
import { hasServed, type ReleaseFacts } from "./release.ts";

/** What a rollback could return to: who shares the traffic, else the release that gave its own away last. */
export function rollbackTarget(
  { releases }: Pick<EnvironmentFacts, "releases">,
  from: ReleaseFacts | undefined,
): ReleaseFacts | undefined {
  const others = releases.filter((release) => release.id !== from?.id && hasServed(release));
  const [sharing] = others.filter(({ weightBp }) => weightBp > 0).sort((a, b) => b.weightBp - a.weightBp);
  const [last] = others
    .filter(({ state }) => state === "superseded")
    .sort((a, b) => (b.endedAt ?? 0) - (a.endedAt ?? 0) || b.createdAt - a.createdAt);
  return sharing ?? last;
}
