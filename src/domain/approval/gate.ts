import type { Draft } from "../rollout/draft.ts";
import type { ReleaseFacts, ReleaseFailure } from "../rollout/release.ts";
import { spell } from "../times.ts";
import { type Approval, type Gate, isGiven } from "./approval.ts";

/** Whether its environment asks for an approval there at all. What has served before needs none: a way back is always open. */
export const isGated = ({ spec, kind }: ReleaseFacts, gate: Gate): boolean =>
  kind === "deploy" && spec.approval?.before === gate;

/** What it waits for now; undefined: for nobody's approval. */
export const awaited = ({
  approval,
  state,
}: Pick<ReleaseFacts, "approval" | "state">): Approval | undefined =>
  approval && !isGiven(approval) && (state === "preparing" || state === "shifting") ? approval : undefined;

/** True: it may pass. Else it is asked for, once; who is not approved in time is ended by its deadline. */
export function passes(draft: Draft, release: ReleaseFacts, at: { gate: Gate; step?: number }): boolean {
  const { gate, step = null } = at;
  if (!isGated(release, gate)) return true;
  const { approval } = release;
  const isAsked =
    approval?.gate === gate && approval.step === step && approval.subject === subjectOf(release);
  if (approval && isAsked) return isGiven(approval);
  ask(draft, release, gate, step);
  return false;
}

function ask(draft: Draft, release: ReleaseFacts, gate: Gate, step: number | null): void {
  const { by: needed = 1, deadlineMs = 0 } = release.spec.approval ?? {};
  const deadlineAt = draft.now + deadlineMs;
  const subject = subjectOf(release);
  const approval = { gate, step, subject, needed, askedAt: draft.now, deadlineAt, given: [] };
  draft.changeRelease(release.id, { approval, deadlineAt });
  const message = `${release.version}: ${waitWords(approval)}, at most ${spell(deadlineMs)}`;
  draft.event("release.approval", release.id, message, {
    approval: { gate, step, needed, deadlineAt, subject },
    version: release.version,
  });
}

/** By its digest where there is one: images of the process runtime have none. */
const subjectOf = ({ digest, pinnedImage, image }: ReleaseFacts): string => digest ?? pinnedImage ?? image;

const BEFORE = {
  release: "before anything of it runs",
  traffic: "before its first visitor",
  step: "before it goes on",
} as const satisfies Record<Gate, string>;

/** `waits for approval before its first visitor (1 of 2 given)` */
export function waitWords(asked: {
  readonly gate: Gate;
  readonly needed: number;
  readonly given: readonly unknown[];
}): string {
  const { gate, needed, given } = asked;
  const left = needed === 1 ? "" : ` (${given.length} of ${needed} given)`;
  return `waits for approval ${BEFORE[gate]}${left}`;
}

/** Nobody, or too few, said yes in time. */
export function notApproved({ version, spec }: ReleaseFacts, { given, needed }: Approval): ReleaseFailure {
  const who = given.length === 0 ? "nobody approved" : `${given.length} of ${needed} approved`;
  const message = `${who} ${version} within ${spell(spec.approval?.deadlineMs ?? 0)}`;
  return { code: "not_approved", message, logs: [] };
}
