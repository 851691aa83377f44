/**
 * `npm run simulate`: thousands of stories of an environment, in virtual time, on all cores. What it plays and how to read
 * it: docs/simulation.md.
 */
import { spawnSync } from "node:child_process";
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { FAULTS, type FaultKind } from "./faults.ts";
import { type Ran, run } from "./run.ts";
import { scenarioOf } from "./scenario.ts";
import { partOf, replayOf, shrink } from "./shrink.ts";
import { type Figures, simulate } from "./spread.ts";
import { faultsOf, storyOf } from "./story.ts";

const { values } = parseArgs({
  options: {
    seeds: { type: "string", default: "10000" },
    real: { type: "string" },
    from: { type: "string", default: "1" },
    seed: { type: "string" },
    only: { type: "string" },
    calm: { type: "boolean", default: false },
    workers: { type: "string", default: String(availableParallelism()) },
    json: { type: "boolean", default: false },
  },
});

/** One seed, exactly as always, told in order. */
async function one(seed: number): Promise<void> {
  const whole = scenarioOf(seed);
  const all = whole.acts.map((_, place) => place);
  const kept = values.only === undefined ? all : values.only.split(",").map(Number);
  const scenario = partOf(whole, kept, values.calm);
  const ran = await run(scenario, true);
  const { strategy, replicas, keepMs } = scenario.spec;
  console.log(
    `seed ${seed}: ${strategy.kind}, ${replicas} replicas, keep ${keepMs / 1_000} s, slots ${scenario.hosts.join(" + ")}`,
  );
  for (const place of kept) console.log(`  act ${place}: ${JSON.stringify(whole.acts[place])}`);
  console.log(storyOf(ran.story));
  for (const line of faultsOf(ran)) console.log(`FAULT ${line}`);
  if (values.only === undefined) await smaller(ran);
  process.exitCode = ran.faults.length > 0 ? 1 : 0;
}

async function smaller(ran: Ran): Promise<void> {
  const [fault] = ran.faults;
  if (!fault) return;
  const shrunk = await shrink(scenarioOf(ran.seed), fault.kind);
  console.log(`\nA smaller story with the same fault (${fault.kind}):\n  ${replayOf(ran.seed, shrunk)}`);
}

async function many(): Promise<void> {
  const range = { from: Number(values.from), count: Number(values.seeds) };
  const began = performance.now();
  const { failed, figures } = await simulate(range, Number(values.workers));
  const tookMs = performance.now() - began;
  const kinds = byKind(failed);
  for (const [kind, seeds] of kinds) await report(kind, seeds);
  const answer = {
    seeds: range.count,
    failed: failed.length,
    ...figures,
    seconds: Math.round(tookMs / 1_000),
    faults: Object.fromEntries(kinds.map(([kind, seeds]) => [kind, seeds.map(({ seed }) => seed)])),
  };
  console.log(values.json ? JSON.stringify(answer) : `\n${words(answer)}\n\n${actsOf(answer.byAct)}`);
  process.exitCode = failed.length > 0 ? 1 : 0;
}

/** The fault's first seed, shrunk. */
async function report(kind: FaultKind, seeds: readonly Ran[]): Promise<void> {
  const [first] = seeds;
  if (!first || values.json) return;
  const shrunk = await shrink(scenarioOf(first.seed), kind);
  const text = first.faults.find((fault) => fault.kind === kind)?.text;
  const named = seeds.slice(0, 12).map(({ seed }) => seed);
  console.log(`${FAULTS[kind]}. ${kind}: ${seeds.length} seeds (${named.join(", ")}), first: ${text}`);
  console.log(`   ${replayOf(first.seed, shrunk)}`);
}

function byKind(failed: readonly Ran[]): [FaultKind, Ran[]][] {
  const kinds = new Map<FaultKind, Ran[]>();
  for (const ran of failed)
    for (const { kind } of ran.faults) kinds.set(kind, [...(kinds.get(kind) ?? []), ran]);
  return [...kinds].sort(([a], [b]) => FAULTS[a] - FAULTS[b]);
}

const words = (a: Figures & { seeds: number; failed: number; seconds: number }) =>
  `${a.seeds} seeds, ${a.failed} failed; ${a.events} events, ${a.acts} acts, ${a.lostMessages} messages lost and ${a.doubledMessages} doubled, ${a.visits} visits of which ${a.lost} got no answer; ${a.seconds} s`;

/** How often each was done; and how often it was refused, or had nothing to be done to. */
const actsOf = (acts: Figures["byAct"]): string =>
  Object.entries(acts)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(
      ([name, { done, refused }]) =>
        `${name.padEnd(20)} ${String(done).padStart(7)} ${String(refused).padStart(7)}`,
    )
    .join("\n");

/** The plain stories through the real control, held against the double. */
function throughControl(count: string): void {
  const args = ["vitest", "run", "--project", "control", "test/control/simulate"];
  const env = { ...process.env, SIMULATE_SEEDS: count, SIMULATE_FROM: values.from };
  process.exitCode = spawnSync("npx", args, { stdio: "inherit", env }).status ?? 1;
}

if (values.real !== undefined) throughControl(values.real);
else if (values.seed === undefined) await many();
else await one(Number(values.seed));
