import { type Approval, isGiven, isSameApprover, isSamePerson } from "../approval/approval.ts";
import { awaited } from "../approval/gate.ts";
import { err, ok, type Result } from "../result.ts";
import { Draft } from "../rollout/draft.ts";
import { endWithoutTraffic, giveBack } from "../rollout/ending.ts";
import type { EnvironmentFacts } from "../rollout/facts.ts";
import type { ReleaseFacts } from "../rollout/release.ts";
import { holdAtNothing, nextStep } from "../rollout/states/shifting.ts";
import { inWords } from "../state-words.ts";
import type { Outcome, Refusal } from "./refusal.ts";
import { nobodyElse } from "./releases.ts";

export interface Approve {
  readonly release: string;
  readonly actor: string;
  /** All by which it can be told who the approver is. */
  readonly identities: readonly string[];
  /** Those of whoever made the approver's token: nobody makes an approver of their own. */
  readonly madeBy: readonly string[];
  /** What else is known by now of who started it, beside what the release says. */
  readonly starter: readonly string[];
  /** The digest that the approver saw. Null: whatever it is. */
  readonly subject: string | null;
  /** The step at which the approver saw it wait. Absent or null: at whichever. */
  readonly step?: number | null;
}

/** Says yes to a release that waits for it. Who started it can't; said twice by one person it counts once. */
export function approve(facts: EnvironmentFacts, input: Approve, now: number): Outcome<object> {
  const found = waiting(facts, input.release, now);
  if (!found.ok) return found;
  const { release, approval } = found.value;
  const refusal =
    ownRelease(release, input) ??
    otherSubject(release, approval, input) ??
    otherStep(release, approval, input);
  if (refusal) return err(refusal);
  const draft = new Draft(facts, now, input.actor);
  if (approval.given.some((one) => isSameApprover(one, input))) return ok({ decision: draft.decision });
  const { actor, identities, madeBy } = input;
  const next = { ...approval, given: [...approval.given, { actor, identities, madeBy, at: now }] };
  draft.changeRelease(release.id, { approval: next });
  const left = next.needed - next.given.length;
  const more = left > 0 ? `, ${left} more needed` : "";
  draft.event("release.approval", release.id, `${release.version}: approved by ${actor}${more}`, {
    approved: { gate: approval.gate, step: approval.step, subject: approval.subject, by: actor, left },
    version: release.version,
  });
  if (isGiven(next)) goOn(draft, release, approval);
  return ok({ decision: draft.decision });
}

/** Says no: the release ends, and whoever served before has the traffic. */
export function reject(
  facts: EnvironmentFacts,
  input: { readonly release: string; readonly actor: string; readonly reason: string | null },
  now: number,
): Outcome<object> {
  const found = waiting(facts, input.release, now);
  if (!found.ok) return found;
  const { release } = found.value;
  const draft = new Draft(facts, now, input.actor);
  const message = `${release.version} rejected by ${input.actor}${input.reason ? `: ${input.reason}` : ""}`;
  const failure = { code: "rejected", message, logs: [] };
  if (release.state !== "shifting") endWithoutTraffic(draft, release, "aborted", message, failure);
  else if (!giveBack(draft, release, message, failure)) return err(nobodyElse(draft, release));
  return ok({ decision: draft.decision });
}

/** What was asked for is over: its time begins anew. */
function goOn(draft: Draft, release: ReleaseFacts, { gate }: Approval): void {
  const { deadlines } = release.spec;
  if (gate === "release")
    return draft.changeRelease(release.id, { deadlineAt: draft.now + deadlines.prepareMs });
  if (gate === "traffic" && release.hold) return holdAtNothing(draft, release);
  nextStep(draft, release);
}

function waiting(
  { releases }: EnvironmentFacts,
  id: string,
  now: number,
): Result<{ release: ReleaseFacts; approval: Approval }, Refusal> {
  const release = releases.find((one) => one.id === id);
  if (!release) return err({ code: "not_found", detail: `no release ${id} in this environment` });
  const approval = awaited(release);
  if (!approval) {
    const detail = `${release.version} is ${inWords(release.state)} and waits for nobody's approval`;
    return err({ code: "stale_step", detail });
  }
  if (approval.deadlineAt > now) return ok({ release, approval });
  const detail = `the time in which ${release.version} could be approved is over: deploy it again`;
  return err({ code: "stale_step", detail });
}

/** Who started it is told apart by all that is known of both; undefined: it was somebody else. */
export function ownRelease(
  release: Pick<ReleaseFacts, "version" | "startedAs">,
  input: Pick<Approve, "actor" | "identities" | "madeBy" | "starter">,
): Refusal | undefined {
  const starter = [...(release.startedAs ?? []), ...input.starter];
  const isOwn = isSamePerson(starter, input.identities);
  if (!isOwn && !isSamePerson(starter, input.madeBy)) return undefined;
  const why = isOwn ? "is who started it" : "holds a token that was made by who started it";
  const detail = `${input.actor} ${why}: ${release.version} needs the approval of somebody else`;
  return { code: "own_release", detail };
}

function otherSubject(release: ReleaseFacts, { subject }: Approval, seen: Approve): Refusal | undefined {
  if (seen.subject === null || seen.subject === subject) return undefined;
  const detail = `${release.version} is ${subject}, not ${seen.subject}: look again before you approve`;
  return { code: "precondition_failed", detail };
}

/** Pressed twice, or late: what was seen is over, and nobody has looked at what waits now. */
function otherStep({ version }: ReleaseFacts, { step }: Approval, seen: Approve): Refusal | undefined {
  if (seen.step == null || seen.step === step) return undefined;
  const now = step === null ? "before its first step" : `in step ${step + 1}`;
  const detail = `${version} waited in step ${seen.step + 1} when you looked, and waits ${now} by now: look again (\`sluice status\`), then decide`;
  return { code: "stale_step", detail };
}
