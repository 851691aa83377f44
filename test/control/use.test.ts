import { describe, expect, it, vi } from "vitest";
import { Use } from "../../src/control/use.ts";
import type { Used } from "../../src/domain/allowances.ts";

const NOW = 1_790_000_000_000;
const NOTHING: Used = { visitors: 0, objectCalls: 0, objectRows: 0, tableCopies: 0 };

/** The same numbers in each run, spread evenly. */
function evenly(): () => number {
  let n = 0;
  return () => (n++ * 0.618_033_988_75) % 1;
}

function day() {
  const sum = { ...NOTHING };
  let tells = 0;
  const tell = async (used: Used) => {
    tells += 1;
    for (const kind of ["visitors", "objectCalls", "objectRows", "tableCopies"] as const)
      sum[kind] += used[kind];
  };
  return { sum, tell, tells: () => tells };
}

describe("what an object used", () => {
  it("is told in whole pieces, a query for a few hundred calls", () => {
    const { sum, tell, tells } = day();
    const use = new Use({ tell, random: () => 0 });
    for (let call = 0; call < 1_199; call += 1) {
      use.add("visitors", 2);
      use.call(NOW);
    }
    expect(sum).toEqual({ ...NOTHING, visitors: 2_200, objectCalls: 1_000 });
    expect(tells()).toBe(11);
  });

  it("is right of many objects that each leave memory after a few calls", () => {
    const { sum, tell, tells } = day();
    const random = evenly();
    for (let object = 0; object < 20_000; object += 1) {
      const use = new Use({ tell, random });
      use.call(NOW);
      use.add("visitors", 3);
      use.call(NOW);
    }
    expect(sum.objectCalls / 40_000).toBeCloseTo(1, 1);
    expect(sum.visitors / 60_000).toBeCloseTo(1, 1);
    expect(tells()).toBeLessThan(1_000);
  });

  it("costs D1 few rows however large a day is, and another day begins with small pieces", () => {
    const { sum, tell, tells } = day();
    const use = new Use({ tell, random: () => 0 });
    const FLUSHES = 86_400;
    const midnight = NOW - (NOW % 86_400_000);
    // A flush a second, each with a thousand visitors.
    for (let flush = 0; flush < FLUSHES; flush += 1) {
      use.add("visitors", 1_000);
      use.add("objectRows", 2);
      use.call(midnight + flush * 1_000);
    }
    expect(tells()).toBeLessThan(1_500);
    expect(sum.visitors / (FLUSHES * 1_000)).toBeGreaterThan(0.99);
    const before = tells();
    for (let flush = 0; flush < 10; flush += 1) {
      use.add("visitors", 1_000);
      use.call(midnight + 86_400_000 + flush * 1_000);
    }
    expect(tells() - before).toBeGreaterThan(0);
  });

  it("that could not be told is told later, and D1 is not asked at each call meanwhile", async () => {
    const { sum, tell } = day();
    let refused = 0;
    const away = async () => {
      refused += 1;
      throw new Error("D1 is away");
    };
    let tellNow: (used: Used) => Promise<void> = away;
    const use = new Use({ tell: (used) => tellNow(used), random: () => 0 });
    for (let call = 0; call < 500; call += 1) {
      use.call(NOW);
      await Promise.resolve();
    }
    await vi.waitFor(() => expect(refused).toBe(1));
    tellNow = tell;
    use.call(NOW + 60_000);
    expect(sum.objectCalls).toBe(400);
  });
});
