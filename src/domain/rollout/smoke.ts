import type { Draft } from "./draft.ts";
import type { ReleaseFacts, ReleaseFailure } from "./release.ts";

/** Should the process that runs smoke checks die, they are run again after this long. */
const SMOKE_RETRY_MS = 15_000;

/** What is put back has been looked at when it came. */
export const isLookedAt = ({ kind, spec }: ReleaseFacts, when: "before" | "after"): boolean =>
  when === "before" && kind === "deploy" && (spec.look ?? "off") !== "off";

/**
 * What the smoke checks said before or after the switch; has them run where nobody has yet and an instance can answer.
 * Null: all as wanted, or there are none.
 */
export function smokeOutcome(
  draft: Draft,
  release: ReleaseFacts,
  when: "before" | "after",
): ReleaseFailure | "asking" | null {
  if (release.spec.smoke.length === 0 && !isLookedAt(release, when)) return null;
  const outcome = release.smoke?.[when];
  if (outcome) return outcome.failure;
  if (draft.instancesOf(release.id).some(({ verifiedAt }) => verifiedAt !== null)) {
    draft.smoke({ release, when });
    draft.wakeAt(draft.now + SMOKE_RETRY_MS);
  }
  return "asking";
}
