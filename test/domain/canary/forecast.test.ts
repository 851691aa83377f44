import { describe, expect, it } from "vitest";
import { type Fault, forecast, proofMs } from "../../../src/domain/canary/forecast.ts";
import { canaryConfig } from "../../../src/domain/canary/index.ts";
import { priceOf } from "../../../src/domain/rollout/analysis/price.ts";
import { HISTOGRAM_BUCKETS } from "../../../src/domain/routing/meter.ts";
import { aCanary, aSpec, weightStep } from "../rollout/spec.ts";

const MINUTE = 60_000;
/** Answers of some 80 ms, as bench/canary has them. */
const latency = Array.from({ length: HISTOGRAM_BUCKETS }, (_, bucket) =>
  Math.round(1_000 * Math.exp(-(((bucket - 50) / 7) ** 2) / 2)),
);
const traffic = (rate: number) => ({ rate, errorRate: 0.002, latency });

describe("what a bad canary would cost", () => {
  /** Medians of bench/canary at 10 %, s; failed requests. */
  const MEASURED = [
    [200, 1, 1, 19],
    [200, 0.05, 20, 22],
    [200, 0.01, 90, 20],
    [20, 1, 5, 11],
    [20, 0.05, 70, 8],
    [20, 0.01, 940, 19],
    [2, 1, 26, 5],
    [2, 0.05, 580, 6],
    [2, 0.01, null, 7],
  ] as const;
  it.each(MEASURED)(
    "is told at %d/s for one that fails at a rate of %d, as measured",
    (rate, errorRate, s, failed) => {
      const steps = [{ weightBp: 1_000, bakeMs: 60 * MINUTE, waitMs: 0 }];
      const found = forecast(traffic(rate), {
        fault: { errorRate },
        steps,
        config: canaryConfig({ plannedWindows: 360 }),
      });
      if (s === null) expect(found.afterMs).toBeNull();
      else {
        expect((found.afterMs ?? 0) / 1_000).toBeGreaterThanOrEqual(0.75 * s);
        expect((found.afterMs ?? 0) / 1_000).toBeLessThanOrEqual(1.25 * s);
      }
      expect(found.failed).toBeGreaterThanOrEqual(Math.floor(0.75 * failed));
      expect(found.failed).toBeLessThanOrEqual(Math.ceil(1.25 * failed));
    },
  );

  it("is the same each time it is asked", () => {
    const fault: Fault = { errorRate: 0.05 };
    const ask = () =>
      forecast(traffic(20), { fault, steps: [{ weightBp: 1_000, bakeMs: MINUTE, waitMs: 0 }], config: {} });
    expect(ask()).toEqual(ask());
  });
});

describe("the price of a plan", () => {
  const strategy = aCanary({
    steps: [weightStep(1_000, 15 * MINUTE), weightStep(5_000, 5 * MINUTE), weightStep(10_000)],
    analysis: { maxWaitMs: 30 * MINUTE },
  });

  it.each([0, 0.001, 0.3, 50_000])("is reckoned for each of twenty steps at %d requests a second", (rate) => {
    const steps = Array.from({ length: 20 }, (_, n) => weightStep(100 + 100 * n, MINUTE));
    expect(priceOf(aSpec({ strategy: aCanary({ steps }) }), traffic(rate)).steps).toHaveLength(20);
  });

  it("says how long each step takes to be proven, and which weight would be quick enough", () => {
    const { steps } = priceOf(aSpec({ strategy }), traffic(2));
    expect(steps.map(({ weightBp }) => weightBp)).toEqual([1_000, 5_000]);
    expect(steps[0]?.proofMs).toBeGreaterThan(15 * MINUTE);
    expect(steps[0]?.betterBp).toBeGreaterThan(1_000);
    expect(proofMs(traffic(2), steps[0]?.betterBp ?? 0, {})).toBeLessThanOrEqual(15 * MINUTE);
  });

  it("says that traffic is too thin to judge", () => {
    const { steps } = priceOf(aSpec({ strategy }), traffic(0.1));
    expect(steps[0]).toMatchObject({ proofMs: null, requests: 27, needed: 300, betterBp: null });
  });

  it("reckons with synthetic visits where they are judged, and hurts no more visitors for them", () => {
    const load = { paths: ["/"], ratePerS: 2, judge: true };
    const alone = priceOf(aSpec({ strategy }), traffic(0.2));
    const filled = priceOf(aSpec({ strategy, load }), traffic(0.2));
    expect(filled.steps[0]?.requests).toBe((alone.steps[0]?.requests ?? 0) * 10);
    expect(filled.faults[0]?.afterMs ?? Infinity).toBeLessThan(alone.faults[0]?.afterMs ?? Infinity);
    expect(filled.faults[0]?.failed).toBeLessThan(alone.faults[0]?.failed ?? 0);
  });

  it("is that of the watch for one that switches at once", () => {
    const { faults, steps } = priceOf(aSpec({ watch: "on" }), traffic(20));
    expect(steps).toEqual([]);
    expect(faults[0]).toMatchObject({ what: "fails every request" });
    expect(faults[0]?.afterMs).toBeLessThanOrEqual(3_000);
  });

  it("is nobody's where nobody judges", () => {
    expect(priceOf(aSpec({ watch: "off" }), traffic(20))).toEqual({ faults: [], steps: [], unjudged: true });
  });
});
