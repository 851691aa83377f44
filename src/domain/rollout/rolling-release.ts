import type { Rolling } from "../spec.ts";
import type { Draft } from "./draft.ts";
import { giveBack } from "./ending.ts";
import type { ReleaseFacts } from "./release.ts";
import { roll, rollLimits } from "./roll.ts";
import { servingBeside } from "./shift.ts";
import { smokeOutcome } from "./smoke.ts";
import { takeOver } from "./states/settling.ts";

/** One tick of a rolling release on its way there. Its first instances are checked before one of them serves. */
export function rollOn(draft: Draft, release: ReleaseFacts, strategy: Rolling): void {
  const smoke = smokeOutcome(draft, release, "before");
  if (smoke !== "asking" && smoke !== null)
    return void giveBack(draft, release, `${release.version} rolls back: ${smoke.message}`, smoke);
  const limits = rollLimits(strategy, release.spec.replicas);
  const from = servingBeside(draft, release);
  const admits = smoke === null;
  const progress = roll(draft, { to: release, from, limits, admits, startsAt: draft.now, avoid: [] });
  if (progress === "done") return takeOver(draft, draft.release(release.id) ?? release);
  if (progress === "going") return;
  const message = "no host has a free slot, and none becomes free: add a host, or set `maxUnavailable` to 1";
  const failure = { code: "no_slots", message, logs: [] };
  giveBack(draft, release, `${release.version} rolls back: ${message}`, failure);
}
