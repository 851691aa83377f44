/** What must never be, by the invariant it breaks (docs/simulation.md). */
export const FAULTS = {
  "weights do not sum": 1,
  "lost beside siblings": 2,
  "lost beside another release": 2,
  "lost beside a warm release": 2,
  "going back lost answers": 3,
  "a move lost answers": 3,
  "rolled below its floor": 3,
  "past its deadline": 4,
  "no deadline": 4,
  "never ends": 4,
  "instance never leaves": 4,
  "two in a slot": 5,
  "started twice": 6,
  "hook twice": 6,
  "command twice": 6,
  "two beside each other": 6,
  "two hooks at once": 6,
  "all traffic, never ready": 7,
  "another plan": 8,
  "twice is not once": 8,
  "taken back unasked": 9,
  "engine throws": 0,
  "edge throws": 0,
  "never at rest": 0,
} as const;
export type FaultKind = keyof typeof FAULTS;

export interface Fault {
  readonly kind: FaultKind;
  /** ms since the beginning. */
  readonly at: number;
  readonly text: string;
}
