/** Somebody else's word that a release may go on. The rule stands in the manifest, what was said on the release. Pure. */

/** `release`: nothing of it runs before. `traffic`: no visitor is sent to it before. `step`: none of its pauses for a person ends before. */
export const GATES = ["release", "traffic", "step"] as const;
export type Gate = (typeof GATES)[number];

export interface ApprovalRule {
  readonly before: Gate;
  /** People other than the one who started it. */
  readonly by: number;
  /** Who was not approved by then is ended. */
  readonly deadlineMs: number;
}

/** What a release waits for at a gate, or was given there. Times are epoch ms. */
export interface Approval {
  readonly gate: Gate;
  /** Of the gate `step`, from 0; null: of another gate. */
  readonly step: number | null;
  /** What is approved: the image as it runs, by its digest. The plan is frozen in the release itself. */
  readonly subject: string;
  readonly needed: number;
  readonly askedAt: number;
  readonly deadlineAt: number;
  readonly given: readonly Given[];
}

export interface Given {
  readonly actor: string;
  /** All by which it can be told who that is. */
  readonly identities: readonly string[];
  /** Those of whoever made the token that it was said with. Absent in what was given before this was kept. */
  readonly madeBy?: readonly string[];
  readonly at: number;
}

export const isGiven = ({ given, needed }: Approval): boolean => given.length >= needed;

/** Whether two are one person, as far as can be told: they have an identity in common. */
export const isSamePerson = (one: readonly string[], other: readonly string[]): boolean =>
  one.some((identity) => other.includes(identity));

/** Whether two are one approver: a token counts as who made it. */
export const isSameApprover = (
  one: Omit<Given, "at" | "actor">,
  other: Omit<Given, "at" | "actor">,
): boolean =>
  isSamePerson(one.identities, other.identities) ||
  isSamePerson(one.identities, other.madeBy ?? []) ||
  isSamePerson(one.madeBy ?? [], other.identities);
