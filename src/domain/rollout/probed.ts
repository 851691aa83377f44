import type { InstanceChange } from "./decision.ts";
import type { InstanceFacts } from "./facts.ts";

/** What an answer, or its absence, changes about an instance; undefined: nothing that was not known. */
export function probed(
  instance: InstanceFacts,
  cause: string | null,
  now: number,
): InstanceChange | undefined {
  if (cause === null) {
    const known = instance.verifiedAt !== null && instance.unreachableSince === null;
    return known ? undefined : { verifiedAt: now, verifyCause: null, unreachableSince: null };
  }
  if (instance.verifiedAt === null)
    return cause === instance.verifyCause ? undefined : { verifyCause: cause };
  return instance.unreachableSince === null ? { unreachableSince: now, verifyCause: cause } : undefined;
}
