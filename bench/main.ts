/**
 * Runs benchmarks: `npm run bench -- [name …] [--quick] [--json]`, all without a name. With --json the last line is one object
 * per run (a list when several ran). Exits 1 when a budget is missed.
 */
import { readdirSync } from "node:fs";
import { parseArgs } from "node:util";
import { type BenchResult, isMet } from "./result.ts";

const { values, positionals } = parseArgs({
  // A benchmark that knows a short form looks for --quick itself.
  options: {
    json: { type: "boolean", default: false },
    quick: { type: "boolean", default: false },
    // Of those that know it: so many ms to D1.
    "d1-latency": { type: "string" },
    // Of the canary's: those of its cells alone.
    cells: { type: "string" },
  },
  allowPositionals: true,
});
/** Files beside this one that are no benchmark: what the benchmarks share. */
const SHARED = new Set([
  "main",
  "result",
  "proxies",
  "stand",
  "visitors",
  "heaps",
  "far-database",
  "counting",
]);
const available = readdirSync(import.meta.dirname)
  .filter((file) => file.endsWith(".ts"))
  .map((file) => file.slice(0, -3))
  .filter((name) => !SHARED.has(name));

const unknown = positionals.filter((name) => !available.includes(name));
if (unknown.length > 0) {
  console.error(`no benchmark ${unknown.join(", ")}: there are ${available.join(", ")}`);
  process.exit(2);
}

const results: BenchResult[] = [];
for (const name of positionals.length > 0 ? positionals : available) {
  // A module in this folder, listed above: each exports `run`.
  const { run } = (await import(`./${name}.ts`)) as { run(): Promise<BenchResult> };
  const result = await run();
  results.push(result);
  print(result);
}
if (values.json) console.log(JSON.stringify(results.length === 1 ? results[0] : results));
process.exit(results.every((result) => result.met) ? 0 : 1);

function print({ name, figures, budgets }: BenchResult): void {
  console.error(`\n${name}`);
  for (const [figure, value] of Object.entries(figures)) {
    const budget = budgets[figure];
    const bound =
      budget === undefined ? "" : "atLeast" in budget ? `≥ ${budget.atLeast}` : `≤ ${budget.atMost}`;
    const mark = budget === undefined ? "" : isMet(value, budget) ? "met" : "MISSED";
    console.error(`  ${figure.padEnd(34)} ${String(value).padStart(12)}  ${bound.padEnd(8)} ${mark}`);
  }
}
