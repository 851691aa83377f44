import { describe, expect, it } from "vitest";
import { run } from "./run.ts";
import { scenarioOf } from "./scenario.ts";
import { simulate } from "./spread.ts";
import { faultsOf } from "./story.ts";
import type { FaultKind } from "./watch.ts";

const SEEDS = 1_000;

/** Invariants that the engine is known to break still. The list only ever gets shorter. */
const KNOWN: readonly FaultKind[] = [
  "never at rest",
  "lost beside siblings",
  "lost beside another release",
  "a move lost answers",
  "rolled below its floor",
  "instance never leaves",
  "two hooks at once",
  "another plan",
  "twice is not once",
];

describe("whatever goes wrong, in a thousand stories", () => {
  it("no invariant is broken that is not known to be", async () => {
    const { failed, figures } = await simulate({ from: 1, count: SEEDS }, 2);
    const news = failed.filter(({ faults }) => faults.some(({ kind }) => !KNOWN.includes(kind)));
    const told = news.map((ran) => `npm run simulate -- --seed ${ran.seed}: ${faultsOf(ran).join("; ")}`);
    expect(told).toEqual([]);
    expect(figures.visits).toBeGreaterThan(SEEDS * 50);
  }, 600_000);

  it("the same seed is the same story", async () => {
    const stories = [await run(scenarioOf(7), true), await run(scenarioOf(7), true)];
    expect(stories[1]).toEqual(stories[0]);
    expect(stories[0]?.story.length).toBeGreaterThan(20);
  });
});
