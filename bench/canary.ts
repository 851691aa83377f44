/**
 * Does the canary's judge keep its promises? A seeded simulation of every line of its bar. `--quick` runs a small
 * part and lets one run per cell be wrong, since so few can't bound anything at 1 %.
 */
import { CELLS, type Cell, type Rate } from "./canary/cells.ts";
import { type Outcome, simulate } from "./canary/simulation.ts";

const RATES: readonly Rate[] = [200, 20, 2];
/** Fixed before the first run, and not a seed the defaults were ever tuned on. */
const SEED = 20_261_123;

interface Figures {
  readonly figures: Record<string, number | null>;
  readonly budgets: Record<string, number>;
}

export interface BenchResult extends Figures {
  readonly name: string;
  readonly met: boolean;
}

/** Times in seconds, shares in percent; null: more than half (or 5 %) of the bad canaries were never rolled back. */
export async function run(quick = process.argv.includes("--quick")): Promise<BenchResult> {
  const result: Figures = { figures: {}, budgets: {} };
  for (const [index, cell] of CELLS.entries()) {
    for (const rate of RATES) {
      const planned = cell.runs[rate];
      if (!planned) continue;
      const runs = quick ? Math.max(15, Math.ceil(planned / 25)) : planned;
      const seed = SEED + 1000 * index + rate;
      const outcomes = Array.from({ length: runs }, (_, i) => simulate({ ...cell.scenario, rate }, seed, i));
      measure(cell, rate, outcomes, { quick, result });
      await new Promise(setImmediate); // let a signal in
    }
  }
  const met = Object.entries(result.budgets).every(
    ([name, limit]) => (result.figures[name] ?? Infinity) <= limit,
  );
  return { name: "canary", ...result, met };
}

interface Sheet {
  readonly quick: boolean;
  readonly result: Figures;
}

function measure(cell: Cell, rate: Rate, outcomes: readonly Outcome[], { quick, result }: Sheet): void {
  const note = (what: string, value: number | null, limit?: number): void => {
    const key = `${cell.name} @${rate}/s: ${what}`;
    result.figures[key] = value;
    if (limit !== undefined) result.budgets[key] = limit;
  };
  const n = outcomes.length;
  const back = outcomes.filter((o) => o.rolledBackS !== null).length;
  if (cell.falseUpperPct !== undefined || cell.showFalse || cell.seenPct !== undefined) {
    const seenBar = quick && cell.falseUpperPct !== undefined ? round(100 / n) : cell.seenPct;
    note(`rolled back, % of ${n}`, round((100 * back) / n), seenBar);
  }
  if (!quick && cell.falseUpperPct !== undefined) {
    note("rolled back, 95 % upper bound", round(100 * upperBound(back, n)), cell.falseUpperPct);
  }
  const passed = outcomes.filter((o) => o.passedS !== null).length;
  if (cell.passedPct !== undefined || cell.name === "A/A")
    note("passed, %", (100 * passed) / n, cell.passedPct);
  if (!(cell.medianS || cell.p95S || cell.showTimes)) return;
  const change = (cell.scenario.changeAtMin ?? 0) * 60;
  const times = outcomes.map((o) => (o.rolledBackS === null ? Infinity : o.rolledBackS - change));
  note(`median s of ${n}`, quantile(times, 0.5), cell.medianS?.[rate]);
  note("p95 s", quantile(times, 0.95), quick ? undefined : cell.p95S?.[rate]);
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

const round = (value: number): number => Number(value.toPrecision(3));

function quantile(values: readonly number[], q: number): number | null {
  const sorted = [...values].sort((a, b) => a - b);
  const value = sorted[Math.ceil(q * sorted.length) - 1] ?? Infinity;
  return Number.isFinite(value) ? value : null;
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
    const limit = result.budgets[name];
    const bar = limit === undefined ? "" : `  (bar ${limit}${(value ?? Infinity) <= limit ? "" : " MISSED"})`;
    console.log(`${name}: ${value ?? "never"}${bar}`);
  }
  console.log(`${Math.round((performance.now() - started) / 1000)} s`);
  console.log(JSON.stringify(result));
}
