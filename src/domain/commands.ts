import { endWithoutTraffic, giveBack } from "./advance.ts";
import { type Decision, Draft, type NewRelease } from "./decision.ts";
import type { EnvironmentFacts, InstanceFacts } from "./facts.ts";
import { rollbackTarget } from "./plan.ts";
import { hasServed, isActive, type ReleaseFacts } from "./release.ts";
import { err, ok, type Result } from "./result.ts";
import { FULL_WEIGHT } from "./routing.ts";
import { shiftWeights } from "./shift.ts";

/** What people and CI ask for. Each answers what to change, or why not: a code and a sentence with the next step in it. */
export interface Refused {
  readonly code:
    | "conflict"
    | "release_in_progress"
    | "not_found"
    | "stale_step"
    | "weights_invalid"
    | "release_not_serving"
    | "rollback_impossible"
    | "nothing_to_roll_back";
  readonly detail: string;
}
type Outcome<T> = Result<T & { readonly decision: Decision }, Refused>;

export interface CreateRelease {
  readonly id: string;
  /** Full reference, or `:tag` / `@digest` of the manifest's repository; null: as the manifest says. */
  readonly image: string | null;
  readonly version: string | null;
  readonly git: NewRelease["git"];
  readonly whenBusy: "queue" | "reject" | "supersede";
  readonly actor: string;
  readonly requestKey: string | null;
}

/** Queues a release. A newer queued one takes an older queued one's place; `supersede` also ends the one on its way. */
export function createRelease(
  facts: EnvironmentFacts,
  input: CreateRelease,
  now: number,
): Outcome<{ version: string }> {
  const draft = new Draft(facts, now, input.actor);
  const active = facts.releases.find((release) => isActive(release.state));
  const queued = facts.releases.filter((release) => release.state === "queued");
  const busy = active ?? queued[0];
  if (busy && input.whenBusy === "reject") {
    const detail = `release ${busy.version} is ${busy.state}: wait for it (--when-busy queue), replace it (--when-busy supersede), or abort it`;
    return err({ code: "release_in_progress", detail });
  }
  const label = nextLabel(facts, input.version);
  if (!label.ok) return label;
  const { version, nextVersion } = label.value;
  for (const old of queued) supersede(draft, old, version);
  if (active && input.whenBusy === "supersede") {
    if (active.state === "shifting") return err(shiftingAlready(active));
    supersede(draft, active, version);
  }
  draft.decision.environment.nextVersion = nextVersion;
  draft.decision.newReleases.push({
    id: input.id,
    version,
    kind: "deploy",
    image: fullImage(facts.spec.image, input.image),
    spec: facts.spec,
    by: input.actor,
    git: input.git,
    requestKey: input.requestKey,
    deadlineAt: now + facts.spec.deadlines.releaseMs,
  });
  const waits = active && input.whenBusy === "queue" ? `, behind ${active.version}` : "";
  draft.event("release.state", input.id, `${version}: queued${waits}`, {
    state: "queued",
    from: null,
    version,
  });
  return ok({ version, decision: draft.decision });
}

const supersede = (draft: Draft, release: ReleaseFacts, by: string): void =>
  endWithoutTraffic(draft, release, "superseded", `${release.version} gave way to ${by}`);

const shiftingAlready = (release: ReleaseFacts): Refused => ({
  code: "release_in_progress",
  detail: `${release.version} is taking traffic already: abort it first (\`sluice abort ${release.id}\`), or wait`,
});

function nextLabel(
  facts: EnvironmentFacts,
  asked: string | null,
): Result<{ version: string; nextVersion: number }, Refused> {
  const taken = (label: string) => facts.releases.some((release) => release.version === label);
  if (asked !== null) {
    if (!taken(asked)) return ok({ version: asked, nextVersion: facts.nextVersion });
    return err({
      code: "conflict",
      detail: `a release named ${asked} exists already: pick another --version`,
    });
  }
  let n = facts.nextVersion;
  while (taken(`v${n}`)) n += 1;
  return ok({ version: `v${n}`, nextVersion: n + 1 });
}

/** `:v2` and `@sha256:…` alone name a tag or digest of the manifest's repository. */
function fullImage(repository: string, asked: string | null): string {
  if (asked === null) return repository;
  const bare = repository.replace(/@.*$/, "").replace(/:[^/:]+$/, "");
  return asked.startsWith(":") || asked.startsWith("@") ? bare + asked : asked;
}

/** Ends a release that is on its way. Traffic it has already goes back to stable. */
export function abort(
  facts: EnvironmentFacts,
  input: { readonly release: string; readonly actor: string; readonly reason: string | null },
  now: number,
): Outcome<object> {
  const draft = new Draft(facts, now, input.actor);
  const release = facts.releases.find(({ id }) => id === input.release);
  if (!release) return err({ code: "not_found", detail: `no release ${input.release} in this environment` });
  if (release.state !== "queued" && !isActive(release.state)) {
    const hint = release.weightBp > 0 ? ": to take its traffic away, use `sluice rollback`" : "";
    return err({
      code: "stale_step",
      detail: `${release.version} is ${release.state}, there is nothing to abort${hint}`,
    });
  }
  const why = `${release.version} aborted by ${input.actor}${input.reason ? `: ${input.reason}` : ""}`;
  const failure = { code: "aborted", message: why, logs: [] };
  if (release.state === "shifting") giveBack(draft, release, why, failure);
  else endWithoutTraffic(draft, release, "aborted", why, failure);
  return ok({ decision: draft.decision });
}

/** Gives the traffic by hand. Weights in basis points by release id, summing to 10,000. */
export function setWeights(
  facts: EnvironmentFacts,
  input: { readonly weights: Readonly<Record<string, number>>; readonly actor: string },
  now: number,
): Outcome<object> {
  const draft = new Draft(facts, now, input.actor);
  const entries = Object.entries(input.weights);
  const total = entries.reduce((sum, [, weightBp]) => sum + weightBp, 0);
  const odd = entries.find(([, weightBp]) => !Number.isInteger(weightBp) || weightBp < 0);
  if (odd) {
    const detail = `the weight ${odd[1] / 100} % of ${odd[0]} is not one of 0 %, 0.01 %, … 100 %`;
    return err({ code: "weights_invalid", detail });
  }
  if (total !== FULL_WEIGHT) {
    return err({ code: "weights_invalid", detail: `the weights sum to ${total / 100} %, not to 100 %` });
  }
  const able = facts.releases.filter((release) => canServe(facts, release));
  for (const [id, weightBp] of entries) {
    if (weightBp === 0 || able.some((release) => release.id === id)) continue;
    const release = facts.releases.find((candidate) => candidate.id === id);
    const named = release ? `${release.version} (${release.state})` : id;
    const others = able.map((candidate) => candidate.version).join(", ") || "none";
    return err({
      code: "release_not_serving",
      detail: `${named} has no ready instance to take traffic; releases that could: ${others}`,
    });
  }
  const shifting = facts.releases.find(
    (release) => isActive(release.state) && (input.weights[release.id] ?? 0) > 0,
  );
  if (shifting) return err(shiftingAlready(shifting));
  shiftWeights(draft, new Map(entries));
  draft.decision.environment.stableReleaseId = stableAfter(facts, entries);
  return ok({ decision: draft.decision });
}

/** Stable stays stable while it has any traffic, unless another has all of it; else the heaviest takes its part. */
function stableAfter(
  facts: EnvironmentFacts,
  entries: readonly (readonly [string, number])[],
): string | null {
  const [heaviest] = [...entries].sort(([, a], [, b]) => b - a);
  const kept = entries.some(([id, weightBp]) => id === facts.stableReleaseId && weightBp > 0);
  return kept ? facts.stableReleaseId : (heaviest?.[0] ?? null);
}

const canServe = (facts: EnvironmentFacts, release: ReleaseFacts): boolean =>
  release.servingAt !== null && readyInstances(facts, release).length > 0;

/** Instances that could answer a request now: up, and ready by their agent's last word. */
function readyInstances(facts: EnvironmentFacts, release: ReleaseFacts): InstanceFacts[] {
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
export function planRollback(facts: EnvironmentFacts, to: string | null): Result<RollbackPlan, Refused> {
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
  const warm = readyInstances(facts, target);
  // Fewer than half of the wanted instances would be a second incident, not a rescue.
  const how = warm.length * 2 >= target.spec.replicas ? "instant" : "restart";
  return ok({ how, from, to: target, prove: how === "instant" ? warm : [] });
}

const serving = (facts: EnvironmentFacts): ReleaseFacts | undefined =>
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
  if (plan.from.state === "live" || plan.from.state === "settling" || plan.from.state === "shifting") {
    draft.moveRelease(plan.from, "rolling_back", message, { failure });
  }
  shiftWeights(draft, new Map([[plan.to.id, FULL_WEIGHT]]));
  draft.decision.environment.stableReleaseId = plan.to.id;
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
  for (const queued of facts.releases.filter((release) => release.state === "queued"))
    supersede(draft, queued, version);
  draft.decision.newReleases.push({
    id: input.id,
    version,
    kind: "rollback",
    image: plan.to.pinnedImage ?? plan.to.image,
    spec: plan.to.spec,
    by: input.actor,
    git: null,
    requestKey: null,
    deadlineAt: now + plan.to.spec.deadlines.releaseMs,
  });
  const message = `${version}: rolling back from ${plan.from.version}, ${plan.to.version} is started again`;
  draft.event("release.state", input.id, message, { state: "queued", from: null, version });
  return ok({ version, decision: draft.decision });
}
