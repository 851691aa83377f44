import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { bucketOf, dealBuckets, seedOf, shareOf } from "../../../src/domain/routing/buckets.ts";

const VISITORS = 250_000;

/** Pearson's statistic of observed counts against expected shares. */
function chiSquared(observed: readonly number[], expected: readonly number[]): number {
  return observed.reduce((sum, count, i) => sum + (count - (expected[i] ?? 0)) ** 2 / (expected[i] ?? 1), 0);
}

/** Visitor ids as the edge makes them, from a fixed generator (mulberry32), so that a failure repeats. */
function* visitorIds(count: number): Generator<string> {
  let state = 20_261_123;
  const next = () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0).toString(16).padStart(8, "0");
  };
  for (let i = 0; i < count; i += 1) yield `${next()}-${next()}`;
}

describe("dealing buckets", () => {
  it("splits 250,000 visitors as the weights say, to a basis point", () => {
    const weights = [1, 99, 2_400, 7_500];
    const ends = dealBuckets(weights);
    const seed = seedOf("rollout_7f3a");
    const counts = weights.map(() => 0);
    for (const id of visitorIds(VISITORS)) {
      const share = shareOf(ends, bucketOf(seed, id));
      counts[share] = (counts[share] ?? 0) + 1;
    }
    const expected = weights.map((weight) => (VISITORS * weight) / 10_000);
    // One more or less in 10,000 would be seen. 16.27: the 0.1 % point of chi-squared with 3 degrees of freedom.
    expect(chiSquared(counts, expected)).toBeLessThan(16.27);
  });

  it("fills all 10,000 buckets evenly, for numbered ids and addresses too", () => {
    for (const keyOf of [
      (i: number) => `user-${i}`,
      (i: number) => `10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`,
    ]) {
      const seed = seedOf("rollout_7f3a");
      const counts = new Array<number>(10_000).fill(0);
      for (let i = 0; i < VISITORS; i += 1) {
        const bucket = bucketOf(seed, keyOf(i));
        counts[bucket] = (counts[bucket] ?? 0) + 1;
      }
      const expected = counts.map(() => VISITORS / 10_000);
      // Mean 9,999, deviation 141: five deviations.
      expect(chiSquared(counts, expected)).toBeLessThan(9_999 + 5 * 141);
    }
  });

  it("gives the unlucky first percent of one rollout an ordinary chance in the next", () => {
    const [first, second] = [seedOf("rollout_a"), seedOf("rollout_b")];
    let both = 0;
    let unlucky = 0;
    for (const id of visitorIds(VISITORS)) {
      if (bucketOf(first, id) >= 100) continue;
      unlucky += 1;
      if (bucketOf(second, id) < 100) both += 1;
    }
    // 1 % of about 2,500, with five deviations of room.
    expect(both / unlucky).toBeLessThan(0.01 + 5 * Math.sqrt((0.01 * 0.99) / unlucky));
  });

  it("moves nobody back when a weight rises", () => {
    const raise = fc.tuple(fc.integer({ min: 0, max: 10_000 }), fc.integer({ min: 0, max: 10_000 }));
    fc.assert(
      fc.property(raise, fc.string(), fc.string({ minLength: 1 }), ([a, b], salt, id) => {
        const [before, after] = a < b ? [a, b] : [b, a];
        const bucket = bucketOf(seedOf(salt), id);
        const had = shareOf(dealBuckets([before, 10_000 - before]), bucket) === 0;
        const has = shareOf(dealBuckets([after, 10_000 - after]), bucket) === 0;
        expect(had && !has).toBe(false);
      }),
    );
  });

  it("deals every bucket to exactly the share that owns it", () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.integer({ min: 1, max: 9_999 }), { maxLength: 6 }), (cuts) => {
        const sorted = [0, ...cuts.sort((a, b) => a - b), 10_000];
        const weights = sorted.slice(1).map((end, i) => end - (sorted[i] ?? 0));
        const counts = weights.map(() => 0);
        for (let bucket = 0; bucket < 10_000; bucket += 1) {
          const share = shareOf(dealBuckets(weights), bucket);
          counts[share] = (counts[share] ?? 0) + 1;
        }
        expect(counts).toEqual(weights);
      }),
      { numRuns: 20 },
    );
  });
});
