import { workerFailure } from "../../processes/workers.ts";
import { late, lostOnTheWay, openWork } from "../causes.ts";
import type { Draft } from "../draft.ts";
import { fail } from "../ending.ts";
import type { ReleaseFacts } from "../release.ts";
import { smokeOutcome } from "../smoke.ts";
import { askUnverified } from "../watch.ts";
import { openShift } from "./shifting.ts";
import type { StateRule } from "./state-rule.ts";

/** verifying → shifting: each instance has answered over its real path, and the smoke checks are as wanted. */
export const verifying: StateRule = {
  work: verify,
  overdue: (draft, release) => fail(draft, release, late(draft, release, waitsFor(draft, release))),
};

function verify(draft: Draft, release: ReleaseFacts): void {
  const failure = workerFailure(draft, release);
  if (failure) return fail(draft, release, failure);
  const own = draft.instancesOf(release.id).filter(({ state }) => state === "ready");
  if (own.length < release.spec.replicas) return fail(draft, release, lostOnTheWay(release, own.length));
  if (askUnverified(draft, own)) return;
  const smoke = smokeOutcome(draft, release, "before");
  if (smoke === "asking") return;
  if (smoke) return fail(draft, release, smoke);
  openShift(draft, release, `${release.version}: answers on its real path, traffic begins to shift`);
}

function waitsFor(draft: Draft, release: ReleaseFacts): string {
  const silent = draft
    .instancesOf(release.id)
    .filter((instance) => instance.verifiedAt === null)
    .map(
      (instance) => `${instance.origin} on ${instance.hostName}: ${instance.verifyCause ?? "no answer yet"}`,
    );
  return silent.join("; ") || openWork(draft, release);
}
