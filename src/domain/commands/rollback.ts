import { err, ok, type Result } from "../result.ts";
import { Draft } from "../rollout/draft.ts";
import { giveBack } from "../rollout/ending.ts";
import type { EnvironmentFacts, InstanceFacts } from "../rollout/facts.ts";
import { hasServed, isActive, type ReleaseFacts } from "../rollout/release.ts";
import { shiftWeights } from "../rollout/shift.ts";
import { rollbackTarget } from "../rollout/target.ts";
import { FULL_WEIGHT } from "../routing/table.ts";
import { shiftingAlready } from "./obstacles.ts";
import type { Outcome, Refusal } from "./refusal.ts";
import { nobodyElse, supersede } from "./releases.ts";

/** All that the plan of a rollback is made from. */
export type RollbackFacts = Pick<EnvironmentFacts, "releases" | "instances" | "stableReleaseId">;

/** Instances that could answer a request now: up, and ready by their agent's last word. */
export function readyInstances(
  facts: Pick<RollbackFacts, "instances">,
  release: ReleaseFacts,
): InstanceFacts[] {
  return facts.instances.filter(
    (instance) =>
      instance.releaseId === release.id &&
      ["ready", "serving", "draining", "warm"].includes(instance.state) &&
      instance.reportState === "ready",
  );
}

export interface RollbackPlan {
  readonly how: "instant" | "restart";
  readonly from: ReleaseFacts;
  readonly to: ReleaseFacts;
  /** Warm instances to be asked first: a rollback never leads to something not proven healthy now. */
  readonly prove: readonly InstanceFacts[];
}

/** What a rollback would do. `to`: release id or label; null: the release that served last before this one. */
export function planRollback(facts: RollbackFacts, to: string | null): Result<RollbackPlan, Refusal> {
  const onItsWay = facts.releases.find((release) => release.state === "shifting");
  const stable = facts.releases.find((release) => release.id === facts.stableReleaseId);
  if (onItsWay && stable && (to === null || to === stable.id || to === stable.version)) {
    return ok({ how: "instant", from: onItsWay, to: stable, prove: [] });
  }
  if (onItsWay && stable) return err(shiftingAlready(onItsWay));
  const back = facts.releases.find((release) => release.state === "rolling_back" && release.weightBp > 0);
  if (back) return err({ code: "rollback_impossible", detail: `${back.version} is rolling back already` });
  const from = serving(facts);
  if (!from)
    return err({
      code: "nothing_to_roll_back",
      detail: "no release has traffic, so there is nothing to roll back",
    });
  const target =
    to === null ? rollbackTarget(facts, from) : facts.releases.find((r) => r.id === to || r.version === to);
  const could = facts.releases.filter((release) => release.id !== from.id && hasServed(release));
  const valid = could.map((release) => release.version).join(", ") || "none";
  if (!target) {
    const what = to === null ? "no earlier release has served here" : `no release ${to}`;
    return err({
      code: to === null ? "nothing_to_roll_back" : "not_found",
      detail: `${what}; releases to go back to: ${valid}`,
    });
  }
  if (target.id === from.id) {
    return err({
      code: "rollback_impossible",
      detail: `${target.version} serves already; releases to go back to: ${valid}`,
    });
  }
  if (target.servingAt === null) {
    const detail = `${target.version} is ${target.state} and never held all traffic; releases to go back to: ${valid}`;
    return err({ code: "rollback_impossible", detail });
  }
  const contracted = facts.releases.find(
    ({ contractedAt, servingAt }) => contractedAt !== null && (servingAt ?? 0) > (target.servingAt ?? 0),
  );
  if (contracted) {
    const detail = `the contract migration of ${contracted.version} was run, ${target.version} can't run on its data any more: mend it forward`;
    return err({ code: "rollback_impossible", detail });
  }
  const warm = readyInstances(facts, target);
  // Fewer than half of the wanted instances would be a second incident, not a rescue.
  const how = warm.length * 2 >= target.spec.replicas ? "instant" : "restart";
  return ok({ how, from, to: target, prove: how === "instant" ? warm : [] });
}

const serving = (facts: RollbackFacts): ReleaseFacts | undefined =>
  [...facts.releases].sort((a, b) => b.weightBp - a.weightBp).find((release) => release.weightBp > 0);

/** A weight flip to warm instances. `proven`: ids of those that just answered. */
export function rollbackInstantly(
  facts: EnvironmentFacts,
  plan: RollbackPlan,
  input: { readonly actor: string; readonly reason: string },
  now: number,
): Outcome<object> {
  const draft = new Draft(facts, now, input.actor);
  const message = `${plan.from.version} rolls back to ${plan.to.version}: ${input.reason}`;
  const failure = { code: "rolled_back", message, logs: [] };
  if (plan.from.state === "shifting") {
    if (!giveBack(draft, plan.from, message, failure)) return err(nobodyElse(draft, plan.from));
    return ok({ decision: draft.decision });
  }
  if (plan.from.state === "live" || plan.from.state === "settling") {
    draft.moveRelease(plan.from, "rolling_back", message, { failure, endedAt: null });
  }
  shiftWeights(draft, new Map([[plan.to.id, FULL_WEIGHT]]));
  draft.changeEnvironment({ stableReleaseId: plan.to.id });
  return ok({ decision: draft.decision });
}

/** A new release of an old digest, where nothing of the old one is warm any more. */
export function rollbackByRelease(
  facts: EnvironmentFacts,
  plan: RollbackPlan,
  input: { readonly id: string; readonly actor: string },
  now: number,
): Outcome<{ version: string }> {
  const draft = new Draft(facts, now, input.actor);
  const base = `${plan.to.version}-again`;
  let version = base;
  for (let n = 2; facts.releases.some((release) => release.version === version); n++)
    version = `${base}-${n}`;
  // An emergency waits for nobody who has no traffic yet.
  for (const other of facts.releases.filter(({ state }) => state === "queued" || isActive(state)))
    supersede(draft, other, version);
  draft.addRelease({
    id: input.id,
    version,
    kind: "rollback",
    image: plan.to.pinnedImage ?? plan.to.image,
    spec: plan.to.spec,
    by: input.actor,
    git: null,
    requestKey: null,
    hold: false,
    override: false,
    deadlineAt: now + plan.to.spec.deadlines.releaseMs,
  });
  const message = `${version}: rolling back from ${plan.from.version}, ${plan.to.version} is started again`;
  draft.event("release.state", input.id, message, { state: "queued", from: null, version });
  return ok({ version, decision: draft.decision });
}
