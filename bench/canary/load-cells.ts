/** What control's own visits (`load: { rate: 2/s, judge: true }`) buy where visitors make 0.2 requests a second. */
import type { Cell } from "./cells.ts";

export interface LoadCell extends Cell {
  /** Visited, or by its visitors alone: what it is compared with. */
  readonly isVisited: boolean;
}

const WEIGHTS = [0.1, 0.5];
const FAULTS: readonly (readonly [string, Cell["scenario"]])[] = [
  ["100 % failing", { canaryError: 1 }],
  ["20 % failing", { canaryError: 0.2 }],
  ["5 % failing", { canaryError: 0.05 }],
];
const named = (what: string, weight: number, isVisited: boolean): string =>
  `load, weight ${100 * weight} %, ${what}${isVisited ? "" : ", visitors alone"}`;

const found: LoadCell[] = WEIGHTS.flatMap((weight) =>
  FAULTS.flatMap(([what, fault]) =>
    [true, false].map((isVisited) => ({
      name: named(what, weight, isVisited),
      scenario: { ...fault, weight },
      isVisited,
      runs: { 0.2: 100 },
      showFalse: true as const,
      showTimes: true as const,
    })),
  ),
);

export const LOAD_CELLS: readonly LoadCell[] = [
  ...found,
  ...WEIGHTS.map((weight) => ({
    name: named("A/A", weight, true),
    scenario: { weight },
    isVisited: true,
    runs: { 0.2: 1000 },
    falseUpperPct: 1,
  })),
];
