import { env } from "cloudflare:workers";
import { beforeEach, expect, it } from "vitest";
import { random } from "../../../bench/canary/random.ts";
import { type Scenario, World } from "../../../bench/canary/simulation.ts";
import { readCounts } from "../../../src/control/meter/meter-parts.ts";
import { Traffic } from "../../../src/control/meter/traffic.ts";
import { type ArmWindow, decide, init, update } from "../../../src/domain/canary/index.ts";
import { latencyBucket, type MeterEntry, windowOf } from "../../../src/domain/routing/meter.ts";
import { batchOf, counts, meterOf } from "../support/meter.ts";
import * as world from "../support/world.ts";

const WINDOW_S = 10;
const COLOS = ["AMS", "FRA", "LHR", "SIN", "IAD", "GRU"];
const FINEST = latencyBucket(5);
const FROM = windowOf(Date.now()) - 1_800_000;

beforeEach(() => world.emptyWorld());

/** One of `COLOS.length` equal shares; what is left over goes round. */
const share = (total: number, at: number) => Math.floor((total + at) / COLOS.length);

/** What one data centre counted of a side's window: its share of answers, and of errors with the visitors that met them. */
function counted(release: string, window: number, arm: ArmWindow, at: number): MeterEntry {
  const latency = (arm.hist ?? []).map((count, bucket) => [bucket, share(count, at)] as const);
  const met = Array.from({ length: arm.errors }, (_, n) => n).filter((n) => n % COLOS.length === at);
  const visitors = new Set(met.map((n) => n % (arm.distinctErrors ?? arm.errors)));
  const served = latency.reduce((sum, [, count]) => sum + count, 0);
  return counts(release, window, served + met.length, met.length, {
    latency: latency.filter(([, count]) => count > 0),
    erroredVisitors: [...visitors],
  });
}

/** As the meter's grain has it (meter/counted.ts). */
function grained(arm: ArmWindow): ArmWindow {
  const hist = [...(arm.hist ?? [])];
  for (let bucket = 0; bucket < FINEST; bucket++) {
    hist[FINEST] = (hist[FINEST] ?? 0) + (hist[bucket] ?? 0);
    hist[bucket] = 0;
  }
  return { ...arm, hist };
}

const CASES: readonly (readonly [string, Scenario, string])[] = [
  ["as good as stable", { rate: 200, minutes: 3 }, "pass"],
  ["failing one request in ten", { rate: 20, minutes: 10, canaryError: 0.1 }, "rollback"],
  [
    "slower by half, each visitor asking often",
    { rate: 200, minutes: 10, canaryLatency: 2, perVisitor: 5 },
    "rollback",
  ],
  ["dead", { rate: 20, minutes: 2, canaryError: 1 }, "rollback"],
];

/** bench/canary judges what the world counts; this, what is left of it after six data centres, four meters and their merge. */
it.each(CASES)(
  "a canary %s is judged by the meters' counts as by the world's own, window by window",
  async (_what, scenario, verdict) => {
    const world = new World(scenario, random(20_261_129, 1));
    const [reference, history] = [world.reference(), world.history()];
    let direct = init(reference, scenario.config, history);
    let metered = init(reference, scenario.config, history);
    for (let start = 0; start < (scenario.minutes ?? 1) * 60; start += WINDOW_S) {
      const window = FROM + start * 1_000;
      const { canary, baseline } = world.window(start);
      await Promise.all(
        COLOS.map((colo, at) => {
          const entries = [counted("canary", window, canary, at), counted("stable", window, baseline, at)];
          return meterOf("env_1", colo).absorb({ ...batchOf(entries), colo, judged: false });
        }),
      );
      const traffic = new Traffic(await readCounts(env.METER, "env_1", { from: window, to: window + 1 }));
      direct = update(direct, { canary: grained(canary), baseline: grained(baseline) });
      metered = update(metered, traffic.window(window, "canary", "stable"));
      expect(decide(metered)).toEqual(decide(direct));
      if (decide(direct).verdict === "rollback") break;
    }
    expect(decide(metered).verdict).toBe(verdict);
  },
);
