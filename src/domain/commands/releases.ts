import { err, ok, type Result } from "../result.ts";
import type { NewRelease } from "../rollout/decision.ts";
import { Draft } from "../rollout/draft.ts";
import { endWithoutTraffic, giveBack } from "../rollout/ending.ts";
import type { EnvironmentFacts } from "../rollout/facts.ts";
import { heldNow } from "../rollout/lock.ts";
import { isActive, type ReleaseFacts } from "../rollout/release.ts";
import { closedWords, openness } from "../windows.ts";
import type { Outcome, Refusal } from "./refusal.ts";

export interface CreateRelease {
  readonly id: string;
  /** Full reference, or `:tag` / `@digest` of the manifest's repository; null: as the manifest says. */
  readonly image: string | null;
  readonly version: string | null;
  readonly git: NewRelease["git"];
  readonly whenBusy: "queue" | "reject" | "supersede";
  readonly actor: string;
  /** Idempotency-Key: the same one again is the same release. Null: none was given. */
  readonly requestKey: string | null;
  /** Prepare it, and keep it at 0 % until it is promoted. */
  readonly hold: boolean;
  /** Begin outside the deploy windows; goes into the audit log. */
  readonly override: boolean;
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
  const closed = whyNotNow(facts, input, now);
  if (closed) return err(closed);
  const label = nextLabel(facts, input.version);
  if (!label.ok) return label;
  const { version, nextVersion } = label.value;
  for (const old of queued) supersede(draft, old, version);
  if (active && input.whenBusy === "supersede") {
    if (active.state === "shifting") return err(shiftingAlready(active));
    supersede(draft, active, version);
  }
  draft.changeEnvironment({ nextVersion });
  draft.addRelease({
    id: input.id,
    version,
    kind: "deploy",
    image: fullImage(facts.spec.image, input.image),
    spec: facts.spec,
    by: input.actor,
    git: input.git,
    requestKey: input.requestKey,
    hold: input.hold,
    override: input.override,
    deadlineAt: now + facts.spec.deadlines.releaseMs,
  });
  if (input.override && !openness(facts.spec.rules, now).open) {
    draft.event("release.progress", input.id, `${version}: ${input.actor} overrides the deploy windows`, {
      override: true,
    });
  }
  const waits = active && input.whenBusy === "queue" ? `, behind ${active.version}` : "";
  draft.event("release.state", input.id, `${version}: queued${waits}`, {
    state: "queued",
    from: null,
    version,
  });
  return ok({ version, decision: draft.decision });
}

/** A lock makes a release wait, a closed window refuses it: nobody wants a deploy of Friday to begin on Monday by itself. */
function whyNotNow(facts: EnvironmentFacts, input: CreateRelease, now: number): Refusal | undefined {
  const held = heldNow(facts, now);
  if (held && input.whenBusy === "reject") {
    return {
      code: "locked",
      detail: `locked by ${held.holder}: ${held.reason}. Unlock with \`sluice unlock\``,
    };
  }
  const closed = input.override ? null : closedWords(facts.spec.rules, now);
  return closed === null ? undefined : { code: "window_closed", detail: closed };
}

export const supersede = (draft: Draft, release: ReleaseFacts, by: string): void =>
  endWithoutTraffic(draft, release, "superseded", `${release.version} gave way to ${by}`);

export const shiftingAlready = (release: ReleaseFacts): Refusal => ({
  code: "release_in_progress",
  detail: `${release.version} is taking traffic already: abort it first (\`sluice abort ${release.id}\`), or wait`,
});

function nextLabel(
  facts: EnvironmentFacts,
  asked: string | null,
): Result<{ version: string; nextVersion: number }, Refusal> {
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
