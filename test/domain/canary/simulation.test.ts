import { expect, it } from "vitest";
import { type Scenario, simulate } from "../../../bench/canary/simulation.ts";

// A glance at what bench/canary measures properly. Seeded, so it answers the same on every run.
const rolledBack = (scenario: Scenario, runs: number) =>
  Array.from({ length: runs }, (_, run) => simulate(scenario, 7_001, run))
    .map((outcome) => outcome.rolledBackS ?? Infinity)
    .sort((a, b) => a - b);

const share = (times: readonly number[]): number => times.filter(Number.isFinite).length / times.length;
const median = (times: readonly number[]): number => times[times.length >> 1] ?? Infinity;

it.each([200, 20, 2] as const)("leaves a good canary alone for an hour at %i requests a second", (rate) => {
  expect(share(rolledBack({ rate }, 25))).toBe(0);
});

it("leaves a good canary alone while both sides fail and recover", () => {
  const outage = () => ({ fromS: 303, toS: 904, errorRate: 0.4 });
  expect(share(rolledBack({ rate: 20, minutes: 20, outage, tickS: 1 }, 30))).toBe(0);
});

it("leaves a good canary alone when unlucky visitors try again and again", () => {
  expect(share(rolledBack({ rate: 200, burst: 12 }, 15))).toBe(0);
});

it.each([
  { what: "fails always", scenario: { rate: 20, canaryError: 1 }, medianS: 20 },
  { what: "fails always, with the fast tick", scenario: { rate: 20, canaryError: 1, tickS: 1 }, medianS: 6 },
  { what: "fails 5 % of requests", scenario: { rate: 20, canaryError: 0.05 }, medianS: 90 },
  { what: "is twice as slow", scenario: { rate: 20, canaryLatency: 2 }, medianS: 40 },
  {
    what: "dies after 10 good minutes",
    scenario: { rate: 20, canaryError: 1, changeAtMin: 10 },
    medianS: 660,
  },
])("rolls back a canary that $what", ({ scenario, medianS }) => {
  const times = rolledBack(scenario, 40);
  expect(share(times)).toBe(1);
  expect(median(times)).toBeLessThanOrEqual(medianS);
});
