/** The bar of the canary analysis, line by line: what is simulated, how often, and what it must stay within. */
import { canaryConfig, watchConfig } from "../../src/domain/canary/index.ts";
import type { Random } from "./random.ts";
import type { Outage, Scenario } from "./simulation.ts";

export type Rate = 200 | 20 | 2 | 0.2;
type PerRate = Partial<Record<Rate, number>>;

export interface Cell {
  readonly name: string;
  readonly scenario: Omit<Scenario, "rate">;
  readonly runs: PerRate;
  /** Rolled back, % of runs: the 95 % upper bound may be at most this. */
  readonly falseUpperPct?: number;
  /** The same without a bar: only shown. */
  readonly showFalse?: true;
  /** Rolled back, % of runs as seen. */
  readonly seenPct?: number;
  /** Seconds to rollback (after the change). */
  readonly medianS?: PerRate;
  readonly p95S?: PerRate;
  /** Median of the canary's failed requests. */
  readonly failed?: PerRate;
  /** Times are shown without a bar. */
  readonly showTimes?: true;
  /** `pass` ever said, % of runs as seen. */
  readonly passedPct?: number;
}

const all = (runs: number): PerRate => ({ 200: runs, 20: runs, 2: runs });
const everywhere = (runs: number): PerRate => ({ ...all(runs), 0.2: runs });

const somewhen = (chance: Random, rest: Omit<Outage, "fromS" | "toS">): Outage => {
  const fromS = 300 + Math.floor(chance.uniform() * 1500);
  return { fromS, toS: fromS + 180 + Math.floor(chance.uniform() * 1020), ...rest };
};
/** 4–60 % of requests fail on both sides, 3–20 min. */
const sharedErrors = (chance: Random): Outage =>
  somewhen(chance, { errorRate: 0.04 * 15 ** chance.uniform() });
const sharedLatency = (chance: Random): Outage => somewhen(chance, { latency: 4 });
/** Where some canaries are rolled back (about 1 in 300), 480 runs would miss a bar of 1 % by bad luck alone. */
const MANY: PerRate = { 200: 480, 20: 1000, 2: 2000, 0.2: 1000 };
const BURSTS: PerRate = { 200: 480, 20: 480, 2: 1000, 0.2: 480 };
const p95Max = { latShift: 20, ...canaryConfig({ p95MaxMs: 300 }) };
const errorMax = canaryConfig({ errorRateMax: 0.01 });
const raw = { perVisitor: false };
/** Kept warm for ten minutes, as is usual. */
const after = { weight: 0.5, minutes: 10, config: watchConfig({ plannedWindows: 60 }) };

/** A fault where traffic is thin, by the plan and by the mixture alone; at 20 requests a second there is no plan. */
const thin = (name: string, fault: Cell["scenario"]): Cell[] =>
  [60, 15].flatMap((minutes) =>
    [true, false].map((isPlanned) => ({
      name: `thin, ${minutes} min, ${name}, ${isPlanned ? "by plan" : "mixture alone"}`,
      scenario: { ...fault, minutes, ...(isPlanned ? {} : { config: { plannedShare: 0 } }) },
      runs: { 0.2: 200, 2: 200, ...(isPlanned && { 20: 100 }) },
      showFalse: true,
      showTimes: true,
    })),
  );

export const CELLS: readonly Cell[] = [
  { name: "A/A", scenario: {}, runs: everywhere(1000), falseUpperPct: 1 },
  {
    name: "shared errors 4-60 %",
    scenario: { outage: sharedErrors },
    runs: everywhere(480),
    falseUpperPct: 1,
  },
  {
    name: "shared latency 4x",
    scenario: { outage: sharedLatency },
    runs: everywhere(480),
    falseUpperPct: 1,
  },
  {
    name: "inside the margin (0.28 %, 1.15x)",
    scenario: { canaryError: 0.0028, canaryLatency: 1.15 },
    runs: MANY,
    falseUpperPct: 1,
  },
  // Where the edge can't tell visitors apart: shown, and compared with the bar in docs/canary.md.
  { name: "bursts of 3, every error", scenario: { burst: 3, config: raw }, runs: MANY, showFalse: true },
  { name: "bursts of 6, every error", scenario: { burst: 6, config: raw }, runs: all(480), showFalse: true },
  {
    name: "bursts of 12, every error",
    scenario: { burst: 12, config: raw },
    runs: all(100),
    showFalse: true,
  },
  { name: "bursts of 3, once per visitor", scenario: { burst: 3 }, runs: BURSTS, falseUpperPct: 1 },
  { name: "bursts of 6, once per visitor", scenario: { burst: 6 }, runs: BURSTS, falseUpperPct: 1 },
  { name: "bursts of 12, once per visitor", scenario: { burst: 12 }, runs: BURSTS, falseUpperPct: 1 },
  { name: "latency jitter 10 %", scenario: { jitter: 0.1 }, runs: everywhere(480), falseUpperPct: 1 },
  { name: "latency jitter 20 %", scenario: { jitter: 0.2 }, runs: all(60), showFalse: true },
  {
    name: "100 % failing",
    scenario: { canaryError: 1 },
    runs: all(400),
    p95S: { 200: 20, 20: 20, 2: 60 },
    failed: { 2: 10 },
  },
  { name: "20 % failing", scenario: { canaryError: 0.2 }, runs: all(400), p95S: { 200: 30, 20: 50 } },
  {
    name: "5 % failing",
    scenario: { canaryError: 0.05 },
    runs: all(300),
    medianS: { 200: 30, 20: 90, 2: 720 },
    failed: { 200: 30, 20: 10, 2: 10 },
  },
  {
    name: "1 % failing",
    scenario: { canaryError: 0.01 },
    runs: { 200: 200, 20: 200 },
    medianS: { 200: 120, 20: 1200 },
  },
  { name: "0.5 % failing", scenario: { canaryError: 0.005 }, runs: { 200: 150 }, medianS: { 200: 960 } },
  {
    name: "latency 2x",
    scenario: { canaryLatency: 2 },
    runs: all(300),
    p95S: { 200: 40, 20: 60, 2: 420 },
  },
  {
    name: "latency 1.5x",
    scenario: { canaryLatency: 1.5 },
    runs: all(200),
    medianS: { 200: 40, 20: 120, 2: 1080 },
  },
  { name: "latency 1.2x", scenario: { canaryLatency: 1.2 }, runs: all(200), seenPct: 1 },
  {
    name: "good 30 min, then 100 % failing",
    scenario: { canaryError: 1, changeAtMin: 30, minutes: 45 },
    runs: all(200),
    medianS: { 200: 60, 20: 60, 2: 60 },
  },
  { name: "silence", scenario: { weight: 0 }, runs: { 20: 50 }, seenPct: 0, passedPct: 0 },
  { name: "under 300 requests", scenario: { minutes: 15 }, runs: { 2: 300 }, seenPct: 0, passedPct: 0 },
  // Beyond the bar: what counting per visitor costs when errors are independent and visitors send 5 requests a window.
  {
    name: "5 % failing, 5 requests per visitor",
    scenario: { canaryError: 0.05, perVisitor: 5 },
    runs: all(300),
    showTimes: true,
  },
  {
    name: "100 % failing, 5 requests per visitor",
    scenario: { canaryError: 1, perVisitor: 5 },
    runs: all(300),
    showTimes: true,
  },
  {
    name: "2 % in bursts of 3",
    scenario: { canaryError: 0.02, burst: 3, config: raw },
    runs: all(200),
    showTimes: true,
  },
  {
    name: "2 % in bursts of 3, once per visitor",
    scenario: { canaryError: 0.02, burst: 3 },
    runs: all(200),
    showTimes: true,
  },
  // The fast tick, every second. A canary exactly at the ceiling may be rolled back no oftener than alpha allows.
  { name: "tick, 100 % failing", scenario: { canaryError: 1, tickS: 1 }, runs: all(400), showTimes: true },
  {
    name: "tick, good 30 min, then 100 % failing",
    scenario: { canaryError: 1, changeAtMin: 30, minutes: 45, tickS: 1 },
    runs: all(200),
    showTimes: true,
  },
  { name: "tick, 20 % failing", scenario: { canaryError: 0.2, tickS: 1 }, runs: all(200), showTimes: true },
  { name: "tick, A/A", scenario: { tickS: 1, minutes: 30 }, runs: all(300), falseUpperPct: 1 },
  {
    name: "tick, bursts of 12",
    scenario: { burst: 12, tickS: 1, minutes: 30 },
    runs: all(300),
    falseUpperPct: 1,
  },
  {
    name: "tick, shared errors 4-60 %",
    scenario: { outage: sharedErrors, tickS: 1, minutes: 45 },
    runs: all(300),
    falseUpperPct: 1,
  },
  {
    name: "tick, error rate at the 10 % ceiling",
    scenario: { canaryError: 0.1, tickS: 1, minutes: 30, config: { rho0: 60 } },
    runs: { ...all(400), 2: 1000 },
    falseUpperPct: 1,
  },
  {
    name: "tick, canary dead for 4 s",
    scenario: { canaryError: 1, changeAtMin: 10, recoversS: 604, minutes: 15, tickS: 1 },
    runs: all(100),
    showFalse: true,
  },
  {
    name: "no tick, canary dead for 4 s",
    scenario: { canaryError: 1, changeAtMin: 10, recoversS: 604, minutes: 15, tickS: 10 },
    runs: all(100),
    showFalse: true,
  },
  // After a switch: a release against what was before it, half of the rate each.
  { name: "switch, A/A", scenario: after, runs: all(1000), falseUpperPct: 1 },
  {
    name: "switch, latency jitter 20 %",
    scenario: { ...after, jitter: 0.2 },
    runs: all(480),
    falseUpperPct: 1,
  },
  {
    name: "switch, 100 % failing from the first minute's end",
    scenario: { ...after, canaryError: 1, changeAtMin: 1, tickS: 1 },
    runs: all(100),
    p95S: { 200: 10, 20: 10, 2: 30 },
  },
  {
    name: "switch, 5 % failing from the first minute's end",
    scenario: { ...after, canaryError: 0.05, changeAtMin: 1, tickS: 1 },
    runs: all(100),
    showTimes: true,
  },
  { name: "switch, latency 3x", scenario: { ...after, canaryLatency: 3 }, runs: all(100), showTimes: true },
  // The user's own limits; a wide margin leaves the p95 limit alone with the canary.
  {
    name: "p95Max 300 ms, p95 at it",
    scenario: { canaryLatency: 1.418, config: p95Max },
    runs: all(100),
    showFalse: true,
  },
  {
    name: "p95Max 300 ms, p95 344 ms",
    scenario: { canaryLatency: 1.6, config: p95Max },
    runs: { 200: 100, 20: 100 },
    showTimes: true,
  },
  {
    name: "p95Max 300 ms, p95 430 ms",
    scenario: { canaryLatency: 2, config: p95Max },
    runs: all(100),
    showTimes: true,
  },
  {
    name: "errorRateMax 1 %, stable 0.8 %, canary 1 %",
    scenario: { baseError: 0.008, canaryError: 0.01, config: errorMax },
    runs: all(100),
    showFalse: true,
  },
  {
    name: "errorRateMax 1 %, stable 0.8 %, canary 3 %",
    scenario: { baseError: 0.008, canaryError: 0.03, config: errorMax },
    runs: all(100),
    showTimes: true,
  },
  {
    name: "no errorRateMax, stable 0.8 %, canary 3 %",
    scenario: { baseError: 0.008, canaryError: 0.03 },
    runs: all(100),
    showTimes: true,
  },
  // Last: a cell's seed is its place.
  ...thin("100 % failing", { canaryError: 1 }),
  ...thin("20 % failing", { canaryError: 0.2 }),
  ...thin("5 % failing", { canaryError: 0.05 }),
  ...thin("2 % failing", { canaryError: 0.02 }),
  ...thin("latency 2x", { canaryLatency: 2 }),
];
