import { expect, it } from "vitest";
import { FORTY, RARE, simulateRoutes } from "../../../bench/canary/routes.ts";
import { type Scenario, simulate } from "../../../bench/canary/simulation.ts";

// A glance at what bench/canary measures properly. Seeded, so it answers the same on every run.
const rolledBack = (scenario: Scenario, runs: number) =>
  Array.from({ length: runs }, (_, run) => simulate(scenario, 7_001, run))
    .map((outcome) => outcome.rolledBackS ?? Infinity)
    .sort((a, b) => a - b);

const share = (times: readonly number[]): number => times.filter(Number.isFinite).length / times.length;
const median = (times: readonly number[]): number => times[times.length >> 1] ?? Infinity;

it.each([200, 20, 2] as const)("leaves a good canary alone for an hour at %i requests a second", (rate) => {
  expect(share(rolledBack({ rate }, 10))).toBe(0);
});

it("leaves a good canary alone while both sides fail and recover", () => {
  const outage = () => ({ fromS: 303, toS: 904, errorRate: 0.4 });
  expect(share(rolledBack({ rate: 20, minutes: 20, outage, tickS: 1 }, 12))).toBe(0);
});

it("leaves a good canary alone when unlucky visitors try again and again", () => {
  expect(share(rolledBack({ rate: 200, burst: 12 }, 8))).toBe(0);
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
  const times = rolledBack(scenario, 20);
  expect(share(times)).toBe(1);
  expect(median(times)).toBeLessThanOrEqual(medianS);
});

it("names the one route that fails, of forty, within 60 s at 20 requests a second: 48 of 50", () => {
  const fault = { errorRate: 1, among: FORTY.map((_, index) => index) };
  const scenario = { rate: 20, weight: 0.25, minutes: 1, baseError: 0.002, shares: FORTY, fault };
  const outcomes = Array.from({ length: 50 }, (_, run) => simulateRoutes(scenario, 7_002, run));
  expect(outcomes.filter(({ named, atFault }) => named === atFault).length).toBeGreaterThanOrEqual(48);
});

it("finds a fault in a route with 2 % of traffic, though the whole stays within its margin", () => {
  // 2 % · 25 % + 98 % · 2 % = 2.5 %; the margin is 1.25 · 2 % + 0.05 %.
  const fault = { errorRate: 0.25, among: [0] };
  const scenario = { rate: 200, weight: 0.1, minutes: 15, baseError: 0.02, shares: RARE, fault };
  const outcomes = Array.from({ length: 10 }, (_, run) => simulateRoutes(scenario, 7_003, run));
  expect(outcomes.map(({ reason }) => reason)).toEqual(outcomes.map(() => "route"));
});

it("leaves a good canary of forty routes alone", () => {
  const scenario = { rate: 20, weight: 0.1, minutes: 60, baseError: 0.002, shares: FORTY, fault: null };
  const outcomes = Array.from({ length: 6 }, (_, run) => simulateRoutes(scenario, 7_004, run));
  expect(outcomes.filter(({ rolledBackS }) => rolledBackS !== null)).toEqual([]);
});
