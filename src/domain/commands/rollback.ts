import { err, ok, type Result } from "../result.ts";
import { answering, canCarry, isCrashing, isUp } from "../rollout/carry.ts";
import { Draft } from "../rollout/draft.ts";
import { giveBack } from "../rollout/ending.ts";
import type { EnvironmentFacts, InstanceFacts } from "../rollout/facts.ts";
import { isActive, namedRelease, type ReleaseFacts } from "../rollout/release.ts";
import { shiftWeights } from "../rollout/shift.ts";
import { rollbackTarget } from "../rollout/target.ts";
import { FULL_WEIGHT } from "../routing/table.ts";
import { inWords } from "../state-words.ts";
import { shiftingAlready } from "./obstacles.ts";
import type { Outcome, Refusal } from "./refusal.ts";
import { nobodyElse, supersede } from "./releases.ts";

/** All that the plan of a rollback is made from. */
export type RollbackFacts = Pick<EnvironmentFacts, "releases" | "instances" | "stableReleaseId">;

export interface RollbackRequest {
  /** Release id or label; null: the one that served before. */
  readonly to: string | null;
  /** The release (id or label) that its sender saw serving: another one now is refused. Null: whatever serves. */
  readonly seen?: string | null | undefined;
}

export interface RollbackPlan {
  /** `restart`: a new release of the old image, where too few of its instances answer. */
  readonly how: "instant" | "restart";
  readonly from: ReleaseFacts;
  readonly to: ReleaseFacts;
  /** Warm instances to be asked first: a rollback never leads to something not proven healthy now. */
  readonly prove: readonly InstanceFacts[];
  /** Why the target can't take over as it is, in words; null: it can. */
  readonly lacks: string | null;
  /** The rollback by a new release that is on its way there already: a second one is the same. */
  readonly ongoing: ReleaseFacts | null;
}

/** What a rollback would do now. Status shows it, `plan rollback` tells it, and the command does it. */
export function planRollback(
  facts: RollbackFacts,
  { to, seen = null }: RollbackRequest,
  now: number,
): Result<RollbackPlan, Refusal> {
  const found = whatServes(facts, seen);
  if (!found.ok) return found;
  const { serving, onItsWay, stable } = found.value;
  const ongoing = facts.releases.find(({ kind, state }) => kind === "rollback" && isOnItsWay(state));
  if (ongoing && (to === null || isOf(ongoing, to, facts))) {
    const target = facts.releases.find((release) => isAgain(ongoing, release)) ?? ongoing;
    return ok({ how: "restart", from: serving, to: target, prove: [], lacks: null, ongoing });
  }
  if (onItsWay && stable && (to === null || to === stable.id || to === stable.version))
    return ok({ how: "instant", from: onItsWay, to: stable, prove: [], lacks: null, ongoing: null });
  if (onItsWay && stable) return err(shiftingAlready(onItsWay));
  const blind = to === null && seen === null;
  const back = facts.releases.find(
    ({ state, weightBp, stateSince }) =>
      state === "rolling_back" &&
      // What has come since is no second press of the same button.
      (weightBp > 0 || (blind && (serving.servingAt ?? 0) < stateSince)),
  );
  if (back) {
    const detail = `${back.version} is rolling back already, and ${serving.version} serves: to go back further, name the release (\`--to\`)`;
    return err({ code: "rollback_impossible", detail });
  }
  const target = targetOf(facts, serving, to);
  if (!target.ok) return target;
  const own = facts.instances.filter(({ releaseId }) => releaseId === target.value.id);
  const isWarm = canCarry(target.value, own, now);
  const prove = isWarm ? answering(own, now) : [];
  const lacks = isWarm ? null : whatLacks(target.value, own, now);
  const how = isWarm ? "instant" : "restart";
  return ok({ how, from: serving, to: target.value, prove, lacks, ongoing: null });
}

/** Why a release that served can't be given traffic as it is. */
function whatLacks({ version, spec }: ReleaseFacts, own: readonly InstanceFacts[], now: number): string {
  const warm = own.filter(isUp);
  if (warm.length === 0) return `${version} is not warm any more`;
  const crashing = warm.filter((instance) => isCrashing(instance, now)).length;
  if (crashing > 0)
    return `${crashing} of ${warm.length} warm instances of ${version} ended again and again in the last five minutes`;
  return `${answering(warm, now).length} of ${spec.replicas} instances of ${version} are warm and answer`;
}

const isOnItsWay = (state: ReleaseFacts["state"]): boolean => state === "queued" || isActive(state);

/** A rollback's release is the image of the one it brings back, under its label and `-again`. */
const isAgain = (rollback: ReleaseFacts, release: ReleaseFacts): boolean =>
  release.id !== rollback.id &&
  rollback.image === (release.pinnedImage ?? release.image) &&
  rollback.version.startsWith(`${release.version}-again`);

const isOf = (rollback: ReleaseFacts, to: string, { releases }: RollbackFacts): boolean =>
  releases.some((release) => (release.id === to || release.version === to) && isAgain(rollback, release));

interface Serving {
  readonly serving: ReleaseFacts;
  readonly onItsWay: ReleaseFacts | undefined;
  readonly stable: ReleaseFacts | undefined;
}

/** A double click must not go back twice: what its sender saw has to be what serves. */
function whatServes(facts: RollbackFacts, seen: string | null): Result<Serving, Refusal> {
  const { releases, stableReleaseId } = facts;
  const onItsWay = releases.find(({ state, kind }) => state === "shifting" && kind === "deploy");
  const stable = releases.find((release) => release.id === stableReleaseId);
  const [serving] = releases.filter(({ weightBp }) => weightBp > 0).sort((a, b) => b.weightBp - a.weightBp);
  if (!serving && !(onItsWay && stable)) {
    const detail = "no release has traffic, so there is nothing to roll back";
    return err({ code: "nothing_to_roll_back", detail });
  }
  const now = [serving, onItsWay].filter((release) => release !== undefined);
  if (seen !== null && !now.some(({ id, version }) => id === seen || version === seen)) {
    const words = now.map(({ version, weightBp }) => `${version} ${weightBp / 100} %`).join(", ");
    const name = releases.find(({ id }) => id === seen)?.version ?? seen;
    const detail = `you saw ${name} serving, and now it is ${words}: look again (\`sluice status\`), then decide`;
    return err({ code: "precondition_failed", detail });
  }
  return ok({ serving: serving ?? (onItsWay as ReleaseFacts), onItsWay, stable });
}

/** The release whose contract migration left the data to itself and what came after: nothing older can run on it. */
const contractedAfter = (releases: readonly ReleaseFacts[], older: ReleaseFacts) =>
  releases.find(
    ({ contractedAt, servingAt }) => contractedAt !== null && (servingAt ?? 0) > (older.servingAt ?? 0),
  );

function targetOf(
  facts: RollbackFacts,
  from: ReleaseFacts,
  to: string | null,
): Result<ReleaseFacts, Refusal> {
  const { releases } = facts;
  const target = to === null ? rollbackTarget(facts, from) : namedRelease(releases, to);
  const could = releases.filter(
    (release) => release.id !== from.id && release.servingAt !== null && !contractedAfter(releases, release),
  );
  const valid = could.map((release) => release.version).join(", ") || "none";
  if (!target) {
    if (to !== null)
      return err({ code: "not_found", detail: `no release ${to}; releases to go back to: ${valid}` });
    const [newest] = could.toSorted((a, b) => b.createdAt - a.createdAt);
    const what = newest ? "what served here beside it was taken back" : "no earlier release has served here";
    return err({
      code: "nothing_to_roll_back",
      detail: `${what}; releases to go back to: ${valid}`,
      ...(newest && {
        next: [{ command: `sluice rollback --to ${newest.version}`, when: "it is good after all" }],
      }),
    });
  }
  const impossible = (detail: string) => err({ code: "rollback_impossible" as const, detail });
  if (target.id === from.id)
    return impossible(`${target.version} serves already; releases to go back to: ${valid}`);
  if (target.servingAt === null)
    return impossible(
      `${target.version} is ${inWords(target.state)} and never held all traffic; releases to go back to: ${valid}`,
    );
  const contracted = contractedAfter(releases, target);
  if (contracted)
    return impossible(
      `the contract migration of ${contracted.version} was run, ${target.version} can't run on its data any more: mend it forward`,
    );
  return ok(target);
}

/** Whether so many of those that were asked just now are enough for a weight flip. */
export const isProven = ({ how, from, to, prove }: RollbackPlan, silent: readonly string[]): boolean =>
  how === "instant" &&
  (from.state === "shifting" || (prove.length - silent.length) * 2 >= Math.max(1, to.spec.replicas));

/** A weight flip to warm instances. `silent`: ids of those that did not answer just now: they get no visitor. */
export function rollbackInstantly(
  facts: EnvironmentFacts,
  plan: RollbackPlan,
  input: { readonly actor: string; readonly reason: string; readonly silent?: readonly string[] },
  now: number,
): Outcome<object> {
  const draft = new Draft(facts, now, input.actor);
  const message = `${plan.from.version} rolls back to ${plan.to.version}: ${input.reason}`;
  const failure = { code: "rolled_back", message, logs: [] };
  for (const instance of facts.instances) {
    if (!input.silent?.includes(instance.id)) continue;
    draft.changeInstance(instance, { unreachableSince: now, verifyCause: "it did not answer the rollback" });
  }
  superseded(draft, plan);
  if (plan.from.state === "shifting") {
    if (!giveBack(draft, plan.from, message, failure)) return err(nobodyElse(draft, plan.from));
    return ok({ decision: draft.decision });
  }
  if (plan.from.state === "live" || plan.from.state === "settling") {
    const deadlineAt = now + plan.from.spec.deadlines.releaseMs;
    draft.moveRelease(plan.from, "rolling_back", message, { failure, endedAt: null, deadlineAt });
  }
  shiftWeights(draft, new Map([[plan.to.id, FULL_WEIGHT]]));
  draft.changeEnvironment({ stableReleaseId: plan.to.id });
  return ok({ decision: draft.decision });
}

/** An emergency waits for nobody who has no traffic yet, and is not undone by them half a minute later. */
function superseded(draft: Draft, { from, to }: Pick<RollbackPlan, "from" | "to">, by = to.version): void {
  for (const other of draft.facts.releases) {
    if (other.id === from.id || other.id === to.id) continue;
    if (other.state !== "shifting" && isOnItsWay(other.state))
      supersede(draft, other, `the rollback to ${by}`);
  }
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
  superseded(draft, plan, version);
  draft.addRelease({
    id: input.id,
    version,
    kind: "rollback",
    image: plan.to.pinnedImage ?? plan.to.image,
    spec: plan.to.spec,
    by: input.actor,
    git: plan.to.git ?? null,
    requestKey: null,
    hold: false,
    override: false,
    deadlineAt: now + plan.to.spec.deadlines.releaseMs,
    secretsOf: plan.to.id,
  });
  const message = `${version}: rolling back from ${plan.from.version}, ${plan.to.version} is started again`;
  draft.event("release.state", input.id, message, { state: "queued", from: null, version });
  return ok({ version, decision: draft.decision });
}
