import { describe, expect, it } from "vitest";
import type { Judgement } from "../../../src/domain/canary/index.ts";
import { keepLines } from "../../../src/domain/rollout/analysis/asked-request.ts";
import { Draft } from "../../../src/domain/rollout/draft.ts";
import { compileTable } from "../../../src/domain/rollout/table/compile-table.ts";
import type { AnalysisSpec, Step } from "../../../src/domain/spec.ts";
import { JUDGEMENTS } from "../canary/judgements.ts";
import { aCanary, aSpec, weightStep } from "./spec.ts";
import { World } from "./world.ts";

const SECOND = 1_000;
const MINUTE = 60_000;

/** v1 serves, and v2 has just begun its first step. */
function canary(steps?: readonly Step[], analysis?: Partial<AnalysisSpec>): World {
  const world = new World();
  world.deploy();
  world.run();
  world.spec = aSpec({
    strategy: aCanary({ ...(steps ? { steps } : {}), ...(analysis ? { analysis } : {}) }),
  });
  world.deploy();
  return world;
}
const later = (world: World, ms: number) => world.run(world.now + ms);
const step = (world: World) => world.release("v2").stepIndex;
const tableOf = (world: World) => {
  const loaded = { facts: world.facts(), salt: "s", previewKey: "00", mode: { kind: "open" } } as const;
  return compileTable(loaded, { version: 1, now: world.now });
};
const pauseStep = (forMs: number | null): Step => ({ kind: "pause", forMs });

describe("a canary that is good", () => {
  it("goes step by step to 100 % by itself, each step for its bake", () => {
    const world = canary();
    world.judge("v2", "pass");
    expect(world.weights()).toEqual({ v2: 1_000, v1: 9_000 });
    later(world, 59 * SECOND);
    expect(world.weights()).toEqual({ v2: 1_000, v1: 9_000 });
    later(world, SECOND);
    expect(world.weights()).toEqual({ v2: 5_000, v1: 5_000 });
    later(world, MINUTE);
    expect(world.weights()).toEqual({ v2: 10_000 });
    world.run();
    expect([world.state("v1"), world.state("v2")]).toEqual(["superseded", "live"]);
  });

  it("stays within a bake though it is proven early", () => {
    const world = canary();
    world.judge("v2", "pass");
    later(world, 30 * SECOND);
    expect(step(world)).toBe(0);
  });

  it("moves on at once where nothing is to be waited for", () => {
    const world = canary([weightStep(1_000), weightStep(10_000)]);
    expect(world.state("v2")).toBe("settling");
  });

  it("waits for proof in an analysis step, and goes on with it", () => {
    const world = canary([weightStep(1_000), { kind: "analysis", forMs: 5 * MINUTE }, weightStep(10_000)]);
    later(world, MINUTE);
    expect(step(world)).toBe(1);
    world.judge("v2", "pass");
    later(world, 10 * SECOND);
    expect(world.weights()).toEqual({ v2: 10_000 });
  });

  it("ends a step without visitors with its bake: nothing could be proven there", () => {
    const shadow = weightStep(0, MINUTE, { mirrorBp: 500, compare: "json" });
    const world = canary([shadow, weightStep(1_000, MINUTE), weightStep(10_000)]);
    later(world, 2 * MINUTE);
    expect([step(world), world.release("v2").paused]).toEqual([1, null]);
    expect(world.weights()).toEqual({ v2: 1_000, v1: 9_000 });
  });

  it("goes on without being judged where analysis is off", () => {
    const world = canary(undefined, { enabled: false });
    world.run();
    expect(world.state("v2")).toBe("live");
  });

  it("skips its steps when nothing serves before it", () => {
    const world = new World();
    world.spec = aSpec({ strategy: aCanary() });
    world.deploy();
    expect(world.weights()).toEqual({ v1: 10_000 });
  });
});

describe("a canary that is bad", () => {
  it.each([
    ["in the middle of a bake", undefined, 20 * SECOND],
    ["in a pause", [weightStep(1_000, SECOND), pauseStep(null), weightStep(10_000)], 5 * MINUTE],
    ["in a timed pause", [weightStep(1_000), pauseStep(10 * MINUTE), weightStep(10_000)], 5 * MINUTE],
  ] as const)("is rolled back %s, at once, with the numbers", (_, steps, after) => {
    const world = canary(steps);
    world.judge("v2", "pass");
    later(world, after);
    world.judge("v2", "rollback");
    world.settleNow();
    expect(world.weights()).toEqual({ v1: 10_000 });
    expect(world.state("v2")).toBe("rolling_back");
    const { failure } = world.release("v2");
    expect(failure).toMatchObject({ code: "analysis_failed", check: { value: "errors 30.0 % of 300" } });
    expect(failure?.message).toContain("rolled back");
    world.run();
    expect(world.state("v2")).toBe("rolled_back");
    expect(world.statesOf("v2")).toEqual(["stopped", "stopped"]);
  });

  it("is rolled back after its weight was set by hand", () => {
    const world = canary();
    world.weigh({ v1: 7_500, v2: 2_500 });
    world.judge("v2", "rollback");
    later(world, 10 * SECOND);
    expect(world.weights()).toEqual({ v1: 10_000 });
  });

  it("is paused instead where onFailure says so, and a person may go on all the same", () => {
    const world = canary(undefined, { onFailure: "pause" });
    world.judge("v2", "rollback");
    later(world, 20 * SECOND);
    expect(world.weights()).toEqual({ v2: 1_000, v1: 9_000 });
    expect(world.release("v2").paused).toMatchObject({ by: "analysis", until: null });
    // The judge begins anew once a person goes on (control's part).
    world.analysis = null;
    world.promote("v2");
    expect(world.weights()).toEqual({ v2: 5_000, v1: 5_000 });
  });

  describe("on a route that the judge names", () => {
    const named = (world: World, change: Partial<Judgement> = {}) => {
      const instance = world.facts().instances.find(({ releaseId }) => releaseId === world.release("v2").id);
      const failed = { id: "8f2c1d3e4a5b6c7d", instance: instance?.id ?? "", since: world.now };
      const counts = { requests: 30, errors: 30 };
      const culprit = { route: "GET /pay", canary: counts, baseline: counts, logE: 9, host: null, failed };
      const decision = { ...JUDGEMENTS.rollback, culprits: [culprit], ...change } as Judgement;
      world.analysis = { release: world.release("v2").id, how: "beside", decision };
    };
    const keep = (world: World, request: string) =>
      world.command((facts, now) => {
        const draft = new Draft(facts, now);
        keepLines(draft, { release: world.release("v2").id, request }, { lines: ["boom"], note: null });
        return { ok: true, value: { decision: draft.decision } };
      });

    it.each([
      ["goes back", undefined],
      ["is paused", { onFailure: "pause" }],
      ["is only reported", { mode: "report" }],
    ] as const)(
      "has the lines of one failed request asked for, once, and kept, when it %s",
      (_, analysis) => {
        const world = canary(undefined, analysis);
        named(world);
        world.settleNow();
        const asked = world.release("v2").failedRequest;
        expect(asked).toMatchObject({ id: "8f2c1d3e4a5b6c7d", route: "GET /pay", found: null });
        expect(asked?.host).toMatch(/^(anna|bert|carl)$/);
        expect(asked?.until).toBe(world.now + 15 * SECOND);
        keep(world, "of another");
        expect(world.release("v2").failedRequest?.found).toBeNull();
        keep(world, "8f2c1d3e4a5b6c7d");
        world.settleNow();
        expect(world.release("v2").failedRequest?.found).toEqual({ lines: ["boom"], note: null });
        expect(world.events.filter(({ type }) => type === "release.request")).toHaveLength(1);
      },
    );

    it("has nothing asked for where it is slow, and says so where the instance is gone", () => {
      const slow = canary();
      named(slow, { reason: "latency" } as Partial<Judgement>);
      slow.settleNow();
      expect(slow.release("v2").failedRequest ?? null).toBeNull();
      const gone = canary();
      named(gone);
      for (const { failed } of gone.analysis?.decision?.culprits ?? [])
        Object.assign(failed ?? {}, { instance: "ins_gone" });
      gone.settleNow();
      expect(gone.release("v2").failedRequest).toMatchObject({
        host: null,
        found: { lines: [], note: "its instance is gone, and its log with it" },
      });
    });
  });

  it("is rolled back when all its instances are lost, whatever the judge says", () => {
    const world = canary();
    world.judge("v2", "pass");
    world.agents = { ...world.agents, probe: ({ releaseId }) => (releaseId === "rel-2" ? "530" : null) };
    later(world, 25 * SECOND);
    expect(world.weights()).toEqual({ v1: 10_000 });
    expect(world.release("v2").failure).toMatchObject({ code: "instances_lost" });
  });

  it("stays when one of two instances is lost: the edge goes round it", () => {
    const world = canary();
    const [lost] = world.instancesOf("v2");
    world.agents = { ...world.agents, probe: ({ id }) => (id === lost?.id ? "530" : null) };
    later(world, 50 * SECOND);
    expect(world.state("v2")).toBe("shifting");
  });

  it("gives everything back when it is aborted", () => {
    const world = canary();
    world.abort("v2");
    expect(world.weights()).toEqual({ v1: 10_000 });
    world.run();
    expect(world.state("v2")).toBe("rolled_back");
    expect(world.statesOf("v1")).toEqual(["serving", "serving"]);
  });
});

describe("a canary that nothing is known of", () => {
  it.each([
    ["with no traffic at all, onInconclusive: promote", "promote", null],
    ["with no canary request, onInconclusive: promote", "promote", "nothing"],
    ["with little traffic, onInconclusive: ask", "ask", "continue"],
    ["in an outage of stable too, onInconclusive: promote", "promote", "hold"],
  ] as const)("waits, then asks a person: %s", (_, onInconclusive, judgement) => {
    const world = canary(undefined, { onInconclusive });
    if (judgement) world.judge("v2", judgement);
    later(world, 10 * MINUTE);
    expect(world.release("v2").paused).toBe(null);
    expect(step(world)).toBe(0);
    later(world, 2 * MINUTE);
    expect(world.release("v2").paused).toMatchObject({ by: "analysis", until: null });
    expect(world.weights()).toEqual({ v2: 1_000, v1: 9_000 });
    world.promote("v2", { step: 0 });
    expect(world.weights()).toEqual({ v2: 5_000, v1: 5_000 });
  });

  it.each(["continue", "nothing"] as const)("goes back where onInconclusive is abort (%s)", (judgement) => {
    const world = canary(undefined, { onInconclusive: "abort" });
    world.judge("v2", judgement);
    later(world, 12 * MINUTE);
    expect(world.weights()).toEqual({ v1: 10_000 });
    expect(world.release("v2").failure).toMatchObject({ code: "analysis_inconclusive" });
  });

  it("goes back in the end when nobody answers, at the pause's deadline", () => {
    const world = canary();
    world.run();
    expect(world.state("v2")).toBe("rolled_back");
    expect(world.release("v2").failure).toMatchObject({ code: "deadline" });
    expect(world.release("v2").failure?.message).toContain("paused by analysis");
  });

  it("goes back when the release takes longer than it may", () => {
    const world = canary(undefined, { maxWaitMs: 86_400_000 });
    world.run();
    expect(world.release("v2").failure).toMatchObject({ code: "deadline" });
    expect(world.weights()).toEqual({ v1: 10_000 });
  });
});

describe("the table during a canary", () => {
  it("has a lease on a partial weight, and a wake-up well before it ends", () => {
    const world = canary();
    expect(tableOf(world).partialUntil).toBe(world.now + 60_000);
    const wakeAt = world.settleNow();
    expect((wakeAt ?? Number.POSITIVE_INFINITY) - world.now).toBeLessThanOrEqual(20_000);
  });

  it("matches and mirrors as the last weight step says, and not before a held release is promoted", () => {
    const match = [{ kind: "header", name: "x-beta", value: "1" }] as never;
    const steps = [
      weightStep(1_000, MINUTE, { match, mirrorBp: 2_000 }),
      pauseStep(null),
      weightStep(10_000),
    ];
    const world = new World();
    world.deploy();
    world.run();
    world.spec = aSpec({ strategy: aCanary({ steps }) });
    world.deploy({ hold: true });
    expect(tableOf(world)).toMatchObject({ match: null, mirror: null });
    world.promote("v2");
    const first = { match, mirror: { release: "rel-2", shareBp: 2_000 } };
    expect(tableOf(world)).toMatchObject(first);
    world.judge("v2", "pass");
    later(world, 2 * MINUTE);
    expect([step(world), tableOf(world)]).toMatchObject([1, first]);
  });
});
