import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  afterFailure,
  afterSuccess,
  HEALTHY,
  type InstanceHealth,
  isEjected,
  mayTake,
} from "../../../src/domain/routing/ejection.ts";
import { fullBudget, spend } from "../../../src/domain/routing/retry-budget.ts";

const NOW = 1_790_000_000_000;
const failTimes = (times: number, others: readonly InstanceHealth[], start: InstanceHealth = HEALTHY) =>
  Array.from({ length: times }).reduce<InstanceHealth>((health) => afterFailure(health, others, NOW), start);

describe("ejecting an instance", () => {
  it("leaves it out after three failures in a row, not after two", () => {
    expect(isEjected(failTimes(2, [HEALTHY]), NOW)).toBe(false);
    expect(isEjected(failTimes(3, [HEALTHY]), NOW)).toBe(true);
  });

  it("starts counting again after a good answer", () => {
    expect(isEjected(failTimes(2, [HEALTHY], afterSuccess(failTimes(2, [HEALTHY]), NOW)), NOW)).toBe(false);
  });

  it("leaves it out longer each time it comes back failing, up to a minute", () => {
    let health = failTimes(3, [HEALTHY]);
    const lengths = [health.ejectedUntil - NOW];
    for (let i = 0; i < 7; i += 1) {
      const back = health.ejectedUntil;
      health = afterFailure(health, [HEALTHY], back);
      lengths.push(health.ejectedUntil - back);
    }
    expect(lengths).toEqual([1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]);
  });

  it("forgets past ejections with the first good answer after one", () => {
    const health = failTimes(3, [HEALTHY]);
    expect(afterSuccess(health, health.ejectedUntil - 1)).toBe(health);
    expect(afterSuccess(health, health.ejectedUntil)).toBe(HEALTHY);
  });

  it("is half-open after it: for what may be sent again, until that went well or a minute is over", () => {
    const health = failTimes(3, [HEALTHY]);
    const back = health.ejectedUntil;
    expect([mayTake(health, true, back - 1), mayTake(health, false, back - 1)]).toEqual([false, false]);
    expect([mayTake(health, true, back), mayTake(health, false, back)]).toEqual([true, false]);
    expect(mayTake(afterSuccess(health, back), false, back)).toBe(true);
    expect([mayTake(health, false, back + 59_999), mayTake(health, false, back + 60_000)]).toEqual([
      false,
      true,
    ]);
  });

  it("holds nothing against one that failed less than three times", () => {
    expect(mayTake(failTimes(2, [HEALTHY]), false, NOW)).toBe(true);
  });

  it("never leaves out more than half, and never the only one", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 20 }),
        fc.array(fc.nat({ max: 19 }), { maxLength: 200 }),
        (size, hits) => {
          const fleet: InstanceHealth[] = Array.from({ length: size }, () => HEALTHY);
          for (const hit of hits) {
            const at = hit % size;
            const others = fleet.filter((_, index) => index !== at);
            fleet[at] = afterFailure(fleet[at] ?? HEALTHY, others, NOW);
          }
          expect(fleet.filter((health) => isEjected(health, NOW)).length).toBeLessThanOrEqual(
            Math.floor(size / 2),
          );
        },
      ),
    );
  });
});

describe("the retry budget", () => {
  it("pays for a fifth of the requests once the reserve is gone", () => {
    let budget = fullBudget(NOW);
    let paid = 0;
    for (let i = 0; i < 10_000; i += 1) {
      const rest = spend(budget, 1, NOW);
      if (rest === null) continue;
      budget = rest;
      paid += 1;
    }
    // Requests that found nothing earn when next asked, so only those that were paid for are seen here: the reserve.
    expect(paid).toBeLessThanOrEqual(100 + 10_000 * 0.2);
    expect(spend({ credits: 0, at: NOW }, 5, NOW)).not.toBeNull();
    expect(spend({ credits: 0, at: NOW }, 4, NOW)).toBeNull();
  });

  it("gives a quiet service ten retries a second", () => {
    expect(spend({ credits: 0, at: NOW }, 0, NOW + 99)).toBeNull();
    expect(spend({ credits: 0, at: NOW }, 0, NOW + 100)).not.toBeNull();
  });

  it("saves no more than the reserve", () => {
    expect(spend(fullBudget(NOW), 1_000_000, NOW + 3_600_000)).toEqual({ credits: 99, at: NOW + 3_600_000 });
  });

  it("earns nothing from a clock that steps back", () => {
    expect(spend({ credits: 0.5, at: NOW }, 0, NOW - 60_000)).toBeNull();
  });
});
