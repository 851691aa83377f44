/**
 * Does the canary's judge keep its promises? A seeded simulation of every line of its bar. `--quick` runs few
 * good canaries and lets one per cell be rolled back, since so few can't bound anything at 1 %. `--cells <regular expression>` runs
 * those whose names it matches, each with the seed that it has in a whole run; a whole one takes hours.
 */
import { parseArgs } from "node:util";

import { CELLS, type Cell, type Rate } from "./canary/cells.ts";
import { HOST_CELLS } from "./canary/host-cells.ts";
import { HostsWorld } from "./canary/hosts.ts";
import { VisitedWorld } from "./canary/load.ts";
import { LOAD_CELLS } from "./canary/load-cells.ts";
import { ROUTE_CELLS, type RouteCell } from "./canary/route-cells.ts";
import { type RouteOutcome, simulateRoutes } from "./canary/routes.ts";
import { type Outcome, type Scenario, simulate, World } from "./canary/simulation.ts";
import { type BenchResult, type Budget, isMet, resultOf } from "./result.ts";

const RATES: readonly Rate[] = [200, 20, 2, 0.2];
/** Fixed before the first run, and not a seed the defaults were ever tuned on. */
const SEED = 20_261_123;

interface Sheet {
  readonly quick: boolean;
  readonly figures: Record<string, number | string>;
  readonly budgets: Record<string, Budget>;
}

/** Times in seconds, shares in percent; "never": half (or 5 %) of the bad canaries were not rolled back. */
export async function run(quick = process.argv.includes("--quick")): Promise<BenchResult> {
  const sheet: Sheet = { quick, figures: {}, budgets: {} };
  for (const [index, cell] of asked(CELLS))
    await runCell(cell, SEED + 1000 * index, sheet, (scenario, seed, i) => simulate(scenario, seed, i));
  for (const [index, cell] of asked(HOST_CELLS))
    await runCell(cell, SEED + 1000 * (500 + index), sheet, (scenario, seed, i) =>
      simulate(scenario, seed, i, (chance) => new HostsWorld(scenario, cell.hosts, chance)),
    );
  for (const [index, cell] of asked(LOAD_CELLS))
    await runCell(cell, SEED + 1000 * (700 + index), sheet, (scenario, seed, i) =>
      simulate(scenario, seed, i, (chance) => new (cell.isVisited ? VisitedWorld : World)(scenario, chance)),
    );
  for (const [index, cell] of asked(ROUTE_CELLS)) {
    const seed = SEED + 1_000_000 + 1000 * index;
    const runs = quick && cell.namedPct === undefined ? Math.max(12, Math.ceil(cell.runs / 25)) : cell.runs;
    const outcomes = Array.from({ length: runs }, (_, i) => simulateRoutes(cell.scenario, seed, i));
    measureRoutes(cell, outcomes, sheet);
    await new Promise(setImmediate);
  }
  return resultOf("canary", sheet.figures, sheet.budgets);
}

/** With their places among all: a cell's seed is its place. */
function asked<T extends { readonly name: string }>(cells: readonly T[]): (readonly [number, T])[] {
  const { cells: pattern = "" } = parseArgs({ options: { cells: { type: "string" } }, strict: false }).values;
  const isAsked = new RegExp(String(pattern));
  return [...cells.entries()].filter(([, { name }]) => isAsked.test(name));
}

async function runCell(
  cell: Cell,
  seed: number,
  sheet: Sheet,
  once: (scenario: Scenario, seed: number, run: number) => Outcome,
): Promise<void> {
  for (const rate of RATES) {
    const planned = cell.runs[rate];
    if (!planned) continue;
    const runs = sheet.quick && !endsEarly(cell) ? Math.max(12, Math.ceil(planned / 25)) : planned;
    const outcomes = Array.from({ length: runs }, (_, i) => once({ ...cell.scenario, rate }, seed + rate, i));
    measure(cell, rate, outcomes, sheet);
    await new Promise(setImmediate); // let a signal in
  }
}

const isTimed = (cell: Cell): boolean => !!(cell.medianS || cell.p95S || cell.showTimes);
/** Canaries bad from the start are soon gone: cheap enough for a quick run too. */
const endsEarly = (cell: Cell): boolean => isTimed(cell) && cell.scenario.changeAtMin === undefined;

function measure(cell: Cell, rate: Rate, outcomes: readonly Outcome[], sheet: Sheet): void {
  const { quick } = sheet;
  const note = (what: string, value: number | string, limit?: number): void => {
    const key = `${cell.name} @${rate}/s: ${what}`;
    sheet.figures[key] = value;
    if (limit !== undefined) sheet.budgets[key] = { atMost: limit };
  };
  const n = outcomes.length;
  const back = outcomes.filter((o) => o.rolledBackS !== null).length;
  if (cell.falseUpperPct !== undefined || cell.showFalse || cell.seenPct !== undefined) {
    const seenBar = quick && cell.falseUpperPct !== undefined ? round(100 / n) : cell.seenPct;
    note(`rolled back, % of ${n}`, round((100 * back) / n), seenBar);
  }
  if (!quick && (cell.falseUpperPct !== undefined || cell.showFalse)) {
    note("rolled back, 95 % upper bound", round(100 * upperBound(back, n)), cell.falseUpperPct);
  }
  const passed = outcomes.filter((o) => o.passedS !== null).length;
  if (cell.passedPct !== undefined || cell.name === "A/A")
    note("passed, %", (100 * passed) / n, cell.passedPct);
  if (!isTimed(cell)) return;
  const change = (cell.scenario.changeAtMin ?? 0) * 60;
  const times = outcomes.map((o) => (o.rolledBackS === null ? Infinity : o.rolledBackS - change));
  note(`median s of ${n}`, quantile(times, 0.5), cell.medianS?.[rate]);
  note("p95 s", quantile(times, 0.95), cell.p95S?.[rate]);
  const failed = outcomes.map((o) => o.canaryErrors);
  note("median failed requests", quantile(failed, 0.5), cell.failed?.[rate]);
  note(
    "median canary requests",
    quantile(
      outcomes.map((o) => o.canaryRequests),
      0.5,
    ),
  );
}

/** A fault's times and names, or how many good canaries were taken back. */
function measureRoutes(cell: RouteCell, outcomes: readonly RouteOutcome[], { quick, ...sheet }: Sheet): void {
  const n = outcomes.length;
  const back = outcomes.filter((o) => o.rolledBackS !== null).length;
  const note = (what: string, value: number | string, budget?: Budget): void => {
    sheet.figures[`${cell.name}: ${what}`] = value;
    if (budget) sheet.budgets[`${cell.name}: ${what}`] = budget;
  };
  note(`rolled back, % of ${n}`, round((100 * back) / n));
  if (cell.falseUpperPct !== undefined) {
    if (!quick)
      note("rolled back, 95 % upper bound", round(100 * upperBound(back, n)), { atMost: cell.falseUpperPct });
    return;
  }
  const named = outcomes.filter((o) => o.named === o.atFault).length;
  const budget = cell.namedPct === undefined ? undefined : { atLeast: cell.namedPct };
  note("right route first after 60 s, %", round((100 * named) / n), budget);
  const times = outcomes.map((o) => o.rolledBackS ?? Infinity);
  note("median s", quantile(times, 0.5));
  note("p95 s", quantile(times, 0.95));
}

const round = (value: number): number => Number(value.toPrecision(3));

function quantile(values: readonly number[], q: number): number | string {
  const sorted = [...values].sort((a, b) => a - b);
  const value = sorted[Math.ceil(q * sorted.length) - 1] ?? Infinity;
  return Number.isFinite(value) ? value : "never";
}

/** Clopper-Pearson, one-sided 95 %: the largest true share under which so few of n would still happen 1 time in 20. */
function upperBound(seen: number, n: number): number {
  let low = seen / n;
  let high = 1;
  for (let i = 0; i < 60; i++) {
    const middle = (low + high) / 2;
    if (atMost(seen, n, middle) > 0.05) low = middle;
    else high = middle;
  }
  return high;
}

function atMost(seen: number, n: number, p: number): number {
  let log = n * Math.log1p(-p);
  let sum = Math.exp(log);
  for (let i = 1; i <= seen; i++) {
    log += Math.log(((n - i + 1) * p) / (i * (1 - p)));
    sum += Math.exp(log);
  }
  return sum;
}

if (import.meta.main) {
  const started = performance.now();
  const result = await run();
  for (const [name, value] of Object.entries(result.figures)) {
    const budget = result.budgets[name];
    const bar = budget && ("atMost" in budget ? budget.atMost : `at least ${budget.atLeast}`);
    const missed = budget && !isMet(value, budget) ? " MISSED" : "";
    console.log(`${name}: ${value}${budget ? `  (bar ${bar}${missed})` : ""}`);
  }
  console.log(`${Math.round((performance.now() - started) / 1000)} s, ${result.met ? "met" : "NOT met"}`);
  if (process.argv.includes("--json")) console.log(JSON.stringify(result));
  process.exitCode = result.met ? 0 : 1;
}
