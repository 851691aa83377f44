import { FULL_WEIGHT } from "../routing/table.ts";
import { markReady, prepare, start, startNext, verify } from "./begin.ts";
import { contract } from "./contract.ts";
import { type Decision, Draft, hasChanges } from "./decision.ts";
import { pastDeadline } from "./ending.ts";
import type { EnvironmentFacts } from "./facts.ts";
import type { ReleaseFacts } from "./release.ts";
import { retire } from "./retire.ts";
import { endRollback } from "./rolling.ts";
import { settle } from "./settling.ts";
import { shift } from "./shifting.ts";

/** How often a partial weight is renewed; the edge drops it after PARTIAL_LEASE_MS without renewal. */
const PARTIAL_RENEW_MS = 20_000;
export const PARTIAL_LEASE_MS = 60_000;

/**
 * One step of everything that is due in an environment now. Control applies the decision and asks again with fresh facts
 * until nothing changes; every rule is therefore safe to run twice, and a death between any two steps loses nothing.
 */
export function advance(facts: EnvironmentFacts, now: number): Decision {
  const draft = new Draft(facts, now);
  markReady(draft);
  for (const instance of facts.instances) retire(draft, instance);
  for (const { id } of facts.releases) {
    const release = draft.release(id);
    if (release) progress(draft, release);
  }
  // What this step frees (a lock, slots) is seen by the next one, from fresh facts.
  if (!hasChanges(draft.decision)) startNext(draft);
  renewPartial(draft);
  return draft.decision;
}

function progress(draft: Draft, release: ReleaseFacts): void {
  if (release.deadlineAt !== null) {
    if (release.deadlineAt <= draft.now && pastDeadline(draft, release)) return;
    if (release.deadlineAt > draft.now) draft.wakeAt(release.deadlineAt);
  }
  if (release.state === "preparing") return prepare(draft, release);
  if (release.state === "starting") return start(draft, release);
  if (release.state === "verifying") return verify(draft, release);
  if (release.state === "shifting") return shift(draft, release);
  if (release.state === "settling") return settle(draft, release);
  if (release.state === "live") return contract(draft, release);
  if (release.state === "rolling_back") return endRollback(draft, release);
}

/** A partial weight is a lease that each tick renews (the dead-man rule, design §3). */
function renewPartial(draft: Draft): void {
  const partial = draft.facts.releases.some(
    (release) => release.weightBp > 0 && release.weightBp < FULL_WEIGHT,
  );
  if (partial) draft.wakeAt(draft.now + PARTIAL_RENEW_MS);
}
