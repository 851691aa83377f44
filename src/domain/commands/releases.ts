import { err, ok } from "../result.ts";
import type { NewRelease } from "../rollout/decision.ts";
import { Draft } from "../rollout/draft.ts";
import { endWithoutTraffic, giveBack } from "../rollout/ending.ts";
import type { EnvironmentFacts } from "../rollout/facts.ts";
import { isActive, type ReleaseFacts } from "../rollout/release.ts";
import { strengthOf } from "../rollout/watch.ts";
import { inWords } from "../state-words.ts";
import type { TraceContext } from "../tracing/context.ts";
import { openness } from "../windows.ts";
import { type Asked, obstacles } from "./obstacles.ts";
import type { Origin } from "./promotion.ts";
import type { Outcome, Refusal } from "./refusal.ts";

export interface CreateRelease extends Asked {
  readonly id: string;
  /** Full reference, or `:tag` / `@digest` of the manifest's repository; null: as the manifest says. */
  readonly image: string | null;
  readonly git: NewRelease["git"];
  /** The environment that it was promoted from. */
  readonly origin?: Origin | null;
  readonly actor: string;
  /** All by which it can be told who that is. */
  readonly startedAs?: readonly string[];
  /** Idempotency-Key: the same one again is the same release. Null: none was given. */
  readonly requestKey: string | null;
  /** The trace that it is to be part of. */
  readonly trace?: TraceContext | undefined;
  /** Prepare it, and keep it at 0 % until it is promoted. */
  readonly hold: boolean;
}

/** Queues a release. A newer queued one takes an older queued one's place; `supersede` also ends the one on its way. */
export function createRelease(
  facts: EnvironmentFacts,
  input: CreateRelease,
  now: number,
): Outcome<{ version: string }> {
  const draft = new Draft(facts, now, input.actor);
  const refused = obstacles(facts, input, now).find((obstacle) => obstacle.effect === "refuses");
  if (refused) {
    const { effect: _, ...refusal } = refused;
    return err(refusal);
  }
  const active = facts.releases.find((release) => isActive(release.state));
  const queued = facts.releases.filter(({ state, kind }) => state === "queued" && kind === "deploy");
  const { version, nextVersion } = nextLabel(facts, input.version);
  for (const old of queued) supersede(draft, old, version);
  const gives = active?.kind === "deploy" && input.whenBusy === "supersede";
  if (active && gives) supersede(draft, active, version);
  draft.changeEnvironment({ nextVersion });
  draft.addRelease({
    id: input.id,
    version,
    kind: "deploy",
    image: fullImage(facts.spec.image, input.image),
    spec: facts.spec,
    by: input.actor,
    startedAs: input.startedAs ?? [input.actor],
    git: input.git,
    requestKey: input.requestKey,
    trace: input.trace,
    hold: input.hold,
    override: Boolean(input.override),
    deadlineAt: now + facts.spec.deadlines.releaseMs,
  });
  if (input.override && !openness(facts.spec.rules, now).open) {
    const reason = typeof input.override === "string" ? input.override : null;
    const why = reason === null ? "" : `: ${reason}`;
    draft.event(
      "release.progress",
      input.id,
      `${version}: ${input.actor} overrides the deploy windows${why}`,
      {
        override: true,
        reason,
      },
    );
  }
  const waits = active && !gives ? `, behind ${active.version}` : "";
  const { origin } = input;
  const whence = origin ? `, promoted from ${origin.environment} (${origin.version}, ${origin.release})` : "";
  draft.event("release.state", input.id, `${version}: queued${whence}${waits}`, {
    state: "queued",
    from: null,
    version,
    ...(origin ? { promotedFrom: origin } : {}),
  });
  return ok({ version, decision: draft.decision });
}

export const supersede = (draft: Draft, release: ReleaseFacts, by: string): void =>
  endWithoutTraffic(draft, release, "superseded", `${release.version} gave way to ${by}`);

function nextLabel(
  facts: EnvironmentFacts,
  asked: string | null,
): { readonly version: string; readonly nextVersion: number } {
  if (asked !== null) return { version: asked, nextVersion: facts.nextVersion };
  let n = facts.nextVersion;
  while (facts.releases.some((release) => release.version === `v${n}`)) n += 1;
  return { version: `v${n}`, nextVersion: n + 1 };
}

/** Who would get its traffic can't carry it: then it is no way back. */
export function nobodyElse(draft: Draft, release: ReleaseFacts): Refusal {
  const stable = draft.stable();
  const other = stable && stable.id !== release.id ? strengthOf(draft, stable) : "there is no other release";
  const detail = `nobody else can carry the traffic of ${release.version} (${other}; ${strengthOf(draft, release)}): promote it, deploy another, or let no visitor in (\`sluice maintenance on\`)`;
  return { code: "rollback_impossible", detail };
}

/** `:v2` and `@sha256:…` alone name a tag or digest of the manifest's repository. */
export function fullImage(repository: string, asked: string | null): string {
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
      detail: `${release.version} is ${inWords(release.state)}, there is nothing to abort${hint}`,
    });
  }
  const why = `${release.version} aborted by ${input.actor}${input.reason ? `: ${input.reason}` : ""}`;
  const failure = { code: "aborted", message: why, logs: [] };
  if (release.state !== "shifting") endWithoutTraffic(draft, release, "aborted", why, failure);
  else if (!giveBack(draft, release, why, failure)) return err(nobodyElse(draft, release));
  return ok({ decision: draft.decision });
}
