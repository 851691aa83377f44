import { describe, expect, it } from "vitest";
import type { EnvironmentFacts } from "../../../src/domain/rollout/facts.ts";
import {
  dealVisits,
  loadIn,
  MOST_A_STEP,
  mostVisits,
  type Pace,
  type SyntheticVisit,
} from "../../../src/domain/rollout/load.ts";
import type { ReleaseFacts } from "../../../src/domain/rollout/release.ts";
import type { LoadSpec } from "../../../src/domain/spec.ts";
import { aCanary, aSpec, weightStep } from "./spec.ts";

const LOAD: LoadSpec = { paths: ["/", "/cart", "/search?q=a"], ratePerS: 2, judge: false };

/** All that is dealt in `seconds`, looked at every two. */
function dealt(seconds: number, weightBp: number, { load = LOAD, visitorsPerS = 0 } = {}): SyntheticVisit[] {
  let pace: Pace | null = null;
  const all: SyntheticVisit[] = [];
  for (let now = 0; now <= seconds * 1_000; now += 2_000) {
    const next = dealVisits(pace, { load, weightBp, visitorsPerS, now });
    pace = next.pace;
    all.push(...next.visits);
  }
  return all;
}

describe("the pace of synthetic visits", () => {
  it.each([
    [0, 1_200],
    [0.5, 900],
    [2, 0],
    [40, 0],
  ])(
    "with %d visitors a second, %d of 1,200 are made: what is missing, and no more",
    (visitorsPerS, made) => {
      expect(dealt(600, 1_000, { visitorsPerS })).toHaveLength(made);
    },
  );

  it.each([100, 1_000, 3_300, 5_000, 9_900])(
    "at weight %d each path goes to both sides as visitors do",
    (weightBp) => {
      const all = dealt(3_000, weightBp);
      for (const path of LOAD.paths) {
        const own = all.filter((visit) => visit.path === path);
        const canary = own.filter(({ side }) => side === "canary");
        expect(Math.abs(canary.length - (own.length * weightBp) / 10_000)).toBeLessThanOrEqual(1);
      }
    },
  );

  it("the paths do not all turn to the new release at once", () => {
    const canary = dealt(600, 1_000).filter(({ side }) => side === "canary");
    const rounds = canary.map(({ number }) => Math.floor(number / LOAD.paths.length));
    expect(new Set(rounds).size).toBe(rounds.length);
  });

  it.each([1, 2, 3])("with %d paths, each of them goes to all of a side's instances alike", (n) => {
    const load = { ...LOAD, paths: LOAD.paths.slice(0, n) };
    for (const weightBp of [1_000, 2_500, 5_000, 9_000])
      for (const instances of [2, 3, 4])
        for (const side of ["canary", "stable"] as const)
          for (const path of load.paths) {
            const own = dealt(2_400, weightBp, { load }).filter(
              (one) => one.path === path && one.side === side,
            );
            const on = (at: number) => own.filter(({ turn }) => turn % instances === at).length;
            const each = Array.from({ length: instances }, (_, at) => on(at));
            expect(Math.max(...each) - Math.min(...each)).toBeLessThanOrEqual(1);
          }
  });

  it("what a silence missed is not made up for, nor does a clock set back ask for any", () => {
    const begun = dealVisits(null, { load: LOAD, weightBp: 1_000, visitorsPerS: 0, now: 0 });
    expect(begun.visits).toEqual([]);
    const late = dealVisits(begun.pace, { load: LOAD, weightBp: 1_000, visitorsPerS: 0, now: 3_600_000 });
    expect(late.visits).toHaveLength(10);
    const back = dealVisits(late.pace, { load: LOAD, weightBp: 1_000, visitorsPerS: 0, now: 0 });
    expect(back.visits).toEqual([]);
  });
});

describe("who is visited", () => {
  const spec = aSpec({ strategy: aCanary(), load: LOAD });
  const factsOf = (change: Partial<ReleaseFacts>, ending = false) => {
    const canary = {
      ...{
        id: "rel_2",
        state: "shifting",
        kind: "deploy",
        weightBp: 1_000,
        stepSince: 0,
        paused: null,
        spec,
      },
      ...change,
    };
    const stable = { id: "rel_1", state: "live", kind: "deploy", weightBp: 9_000, spec };
    return {
      stableReleaseId: "rel_1",
      releases: [canary, stable],
      instances: [],
      ending,
    } as unknown as EnvironmentFacts;
  };
  const paused = { at: 0, by: "ann", reason: "look", until: null };

  it("a canary that shares the traffic, and stable", () => {
    expect(loadIn(factsOf({}), 1_000)).toMatchObject({ release: { id: "rel_2" }, against: "rel_1" });
  });

  it.each<[string, Partial<ReleaseFacts>]>([
    ["has no share yet", { weightBp: 0 }],
    ["has everything", { weightBp: 10_000 }],
    ["is paused", { paused }],
    ["is on its way back", { state: "rolling_back" }],
    ["is live", { state: "live" }],
    ["is a rollback", { kind: "rollback" }],
    ["asks for none", { spec: aSpec({ strategy: aCanary() }) }],
    ["is not judged", { spec: aSpec({ strategy: aCanary({ analysis: { enabled: false } }), load: LOAD }) }],
  ])("nobody, when it %s", (_why, change) => {
    expect(loadIn(factsOf(change), 1_000)).toBeUndefined();
  });

  it("nobody, when the environment ends", () => {
    expect(loadIn(factsOf({}, true), 1_000)).toBeUndefined();
  });

  it("nobody, when a step has had its visits", () => {
    const spent = (MOST_A_STEP / LOAD.ratePerS) * 1_000;
    expect(loadIn(factsOf({}), spent - 1)).toBeDefined();
    expect(loadIn(factsOf({}), spent)).toBeUndefined();
  });
});

describe("what a release asks at the most", () => {
  const steps = [weightStep(1_000, 60_000), weightStep(5_000, 7_200_000), weightStep(10_000)];
  it("is told by the time that its steps may take, each within its bound", () => {
    const canary = aCanary({ steps, analysis: { maxWaitMs: 600_000 } });
    expect(mostVisits(aSpec({ strategy: canary, load: LOAD }))).toBe(2 * 660 + MOST_A_STEP);
  });

  it("is nothing where no traffic is shared, or nobody compares", () => {
    expect(mostVisits(aSpec({ load: LOAD }))).toBeNull();
    expect(mostVisits(aSpec({ strategy: aCanary() }))).toBeNull();
    const rolling = { kind: "rolling", maxSurge: { count: 1 }, maxUnavailable: { count: 0 } } as const;
    expect(mostVisits(aSpec({ strategy: rolling, load: LOAD, watch: "on" }))).not.toBeNull();
    expect(mostVisits(aSpec({ strategy: rolling, load: LOAD, watch: "off" }))).toBeNull();
    const unjudged = aCanary({ analysis: { enabled: false } });
    expect(mostVisits(aSpec({ strategy: unjudged, load: LOAD }))).toBeNull();
  });
});
