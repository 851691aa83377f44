import type { EnvironmentFacts, Held } from "./facts.ts";
import { isActive, type ReleaseFacts } from "./release.ts";

/** Who keeps releases from beginning now, and until when at the latest. Derived: nobody stores it. */
export interface Lock extends Held {
  readonly fence: number;
}

type Holder = Pick<ReleaseFacts, "id" | "version" | "state" | "startedAt" | "createdAt" | "deadlineAt">;

/** The release on its way holds it; else a person may. */
export function lockOf(
  facts: Pick<EnvironmentFacts, "held" | "fence"> & { readonly releases: readonly Holder[] },
  now: number,
): Lock | null {
  const { releases, fence } = facts;
  const active = releases.find((release) => isActive(release.state));
  if (active) {
    const since = active.startedAt ?? active.createdAt;
    const expiresAt = active.deadlineAt ?? now;
    return { holder: active.id, reason: `release ${active.version}`, fence, since, expiresAt };
  }
  const held = heldNow(facts, now);
  return held && { ...held, fence };
}

/** A person's lock that has not run out. */
export const heldNow = ({ held }: Pick<EnvironmentFacts, "held">, now: number): Held | null =>
  held && held.expiresAt > now ? held : null;
