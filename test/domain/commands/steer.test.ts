import { describe, expect, it } from "vitest";
import type { Step } from "../../../src/domain/spec.ts";
import { aCanary, aSpec, weightStep } from "../rollout/spec.ts";
import { World } from "../rollout/world.ts";

const SECOND = 1_000;
const MINUTE = 60_000;
const pauseStep = (forMs: number | null): Step => ({ kind: "pause", forMs });

function canary(steps?: readonly Step[], hold = false): World {
  const world = new World();
  world.deploy();
  world.run();
  world.spec = aSpec({ strategy: aCanary(steps ? { steps } : {}) });
  world.deploy({ hold });
  return world;
}
const later = (world: World, ms: number) => world.run(world.now + ms);

describe("a pause", () => {
  it("without a time waits until it is promoted, and only until its deadline", () => {
    const world = canary([weightStep(1_000), pauseStep(null), weightStep(10_000)]);
    later(world, 60 * MINUTE);
    expect(world.weights()).toEqual({ v2: 1_000, v1: 9_000 });
    world.promote("v2");
    expect(world.weights()).toEqual({ v2: 10_000 });
  });

  it("with a time ends by itself", () => {
    const world = canary([weightStep(1_000), pauseStep(5 * MINUTE), weightStep(10_000)]);
    later(world, 5 * MINUTE - 1);
    expect(world.weights()).toEqual({ v2: 1_000, v1: 9_000 });
    later(world, 1);
    expect(world.weights()).toEqual({ v2: 10_000 });
  });

  it("outlasts the release's own deadline, which is set anew when it ends", () => {
    const world = canary([
      weightStep(1_000),
      pauseStep(10 * 60 * MINUTE),
      weightStep(5_000, MINUTE),
      weightStep(10_000),
    ]);
    world.judge("v2", "pass");
    world.run();
    expect(world.state("v2")).toBe("live");
  });

  it("by a person holds the weight, and a resume goes on in the same step", () => {
    const world = canary();
    world.judge("v2", "pass");
    later(world, 30 * SECOND);
    world.pause("v2");
    later(world, 10 * MINUTE);
    expect(world.weights()).toEqual({ v2: 1_000, v1: 9_000 });
    world.resume("v2");
    expect(world.weights()).toEqual({ v2: 5_000, v1: 5_000 });
    expect(world.resume("v2")).toMatchObject({ ok: false, error: { code: "stale_step" } });
  });
});

describe("a release that is held", () => {
  it("is prepared, stays at 0 %, and begins its steps when it is promoted", () => {
    const world = canary(undefined, true);
    later(world, 3 * 60 * MINUTE);
    expect([world.state("v2"), world.weights()]).toEqual(["shifting", { v1: 10_000 }]);
    world.promote("v2", { step: -1 });
    expect(world.weights()).toEqual({ v2: 1_000, v1: 9_000 });
  });

  it("switches at once when it is blue-green", () => {
    const world = new World();
    world.deploy();
    world.deploy({ hold: true });
    later(world, MINUTE);
    expect(world.weights()).toEqual({ v1: 10_000 });
    world.promote("v2");
    expect(world.weights()).toEqual({ v2: 10_000 });
  });

  it("ends by itself when nobody promotes it", () => {
    const world = canary(undefined, true);
    world.run();
    expect(world.state("v2")).toBe("rolled_back");
    expect(world.statesOf("v2")).toEqual(["stopped", "stopped"]);
    expect(world.weights()).toEqual({ v1: 10_000 });
  });
});

describe("a promote", () => {
  it("skips the rest of a bake", () => {
    const world = canary();
    world.promote("v2", { step: 0 });
    expect(world.weights()).toEqual({ v2: 5_000, v1: 5_000 });
  });

  it("of a step that is over is refused, naming the step it is in", () => {
    const world = canary();
    world.promote("v2", { step: 0 });
    const again = world.promote("v2", { step: 0 });
    expect(again).toMatchObject({ ok: false, error: { code: "stale_step" } });
    expect(again.ok ? "" : again.error.detail).toContain("step 2 of 3, not in step 1");
    expect(world.weights()).toEqual({ v2: 5_000, v1: 5_000 });
  });

  it("of one that is held, pressed twice, begins its first step and does not end it", () => {
    const world = canary(undefined, true);
    later(world, MINUTE);
    expect(world.promote("v2", { step: -1 })).toMatchObject({ ok: true });
    const weights = world.weights();
    const again = world.promote("v2", { step: -1 });
    expect(again).toMatchObject({ ok: false, error: { code: "stale_step" } });
    expect(again.ok ? "" : again.error.detail).toContain("step 1 of 3, not before its first any more");
    expect(world.weights()).toEqual(weights);
  });

  it("of one that is held, by a step that has not begun, is refused: a second press would end it", () => {
    const world = canary(undefined, true);
    const weights = world.weights();
    const named = world.promote("v2", { step: 0 });
    expect(named).toMatchObject({ ok: false, error: { code: "stale_step" } });
    expect(named.ok ? "" : named.error.detail).toContain("v2 is before step 1 of 3, which has not begun");
    expect(world.weights()).toEqual(weights);
  });

  it("in full gives it everything", () => {
    const world = canary();
    world.promote("v2", { full: true });
    expect([world.weights(), world.state("v2")]).toEqual([{ v2: 10_000 }, "settling"]);
    expect(world.promote("v2")).toMatchObject({ ok: false, error: { code: "stale_step" } });
  });
});

describe("a weight by hand during a rollout", () => {
  it("holds until told, and a resume begins the step anew", () => {
    const world = canary();
    world.judge("v2", "pass");
    world.weigh({ v1: 7_500, v2: 2_500 });
    later(world, 60 * MINUTE);
    expect(world.weights()).toEqual({ v1: 7_500, v2: 2_500 });
    world.resume("v2");
    expect(world.weights()).toEqual({ v1: 9_000, v2: 1_000 });
    later(world, 59 * SECOND);
    expect(world.weights()).toEqual({ v1: 9_000, v2: 1_000 });
  });

  it("goes on to the next step with a promote, not back to the one it was in", () => {
    const world = canary();
    world.weigh({ v1: 7_500, v2: 2_500 });
    world.promote("v2");
    expect(world.weights()).toEqual({ v1: 5_000, v2: 5_000 });
  });

  it("above the steps to come goes on with a promote to the one that is more: never down", () => {
    const world = canary();
    world.weigh({ v1: 4_000, v2: 6_000 });
    world.promote("v2");
    expect(world.state("v2")).toBe("settling");
    expect(world.weights()).toEqual({ v2: 10_000 });
  });

  it("above the steps to come stays what it is through the pauses and analyses between them", () => {
    const world = new World();
    world.deploy();
    world.run();
    const analysis = { kind: "analysis", forMs: 5 * MINUTE } as const;
    const steps = [
      weightStep(1_000, MINUTE),
      weightStep(2_000),
      analysis,
      weightStep(5_000),
      weightStep(10_000),
    ];
    world.spec = aSpec({ strategy: aCanary({ steps }) });
    world.deploy();
    world.weigh({ v1: 7_000, v2: 3_000 });
    world.promote("v2");
    later(world, MINUTE);
    expect([world.weights(), world.release("v2").stepIndex]).toEqual([{ v1: 7_000, v2: 3_000 }, 2]);
    world.judge("v2", "pass");
    later(world, MINUTE);
    expect(world.weights()).toEqual({ v2: 10_000 });
  });

  it("of 0 % keeps its instances for the step to come", () => {
    const world = canary();
    world.weigh({ v1: 10_000 });
    later(world, 30 * MINUTE);
    expect(world.statesOf("v2")).toEqual(["warm", "warm"]);
    world.resume("v2");
    expect(world.weights()).toEqual({ v1: 9_000, v2: 1_000 });
    world.abort("v2");
    world.run();
    expect(world.statesOf("v2")).toEqual(["stopped", "stopped"]);
  });

  it("is refused to who can't carry it while who has the traffic can", () => {
    const world = new World({ anna: 9, bert: 9 });
    world.spec = aSpec({ replicas: 4 });
    for (let n = 0; n < 2; n++) {
      world.deploy();
      later(world, MINUTE);
    }
    for (const one of world.instancesOf("v1").slice(1))
      Object.assign(one, { reportState: "exited", reportAt: world.now });
    const refused = world.weigh({ v1: 10_000 });
    expect(refused).toMatchObject({ ok: false, error: { code: "release_not_serving" } });
    expect(JSON.stringify(refused)).toContain("v1 can't carry 100 %: 1 of its 4 instances answer");
    expect(world.weights()).toEqual({ v2: 10_000 });
  });

  it("of 100 % is the end of it", () => {
    const world = canary();
    world.weigh({ v2: 10_000 });
    expect(world.state("v2")).toBe("settling");
  });
});

describe("a rollback during a rollout", () => {
  it("to stable is at once; to anything older it is refused until the rollout is aborted", () => {
    const world = canary();
    world.promote("v2", { full: true });
    world.run(world.now + MINUTE);
    world.deploy();
    expect(world.rollback("v1")).toMatchObject({ ok: false, error: { code: "release_in_progress" } });
    expect(world.rollback()).toMatchObject({ ok: true, value: "instant" });
    expect(world.weights()).toEqual({ v2: 10_000 });
    expect(world.rollback("v1")).toMatchObject({ ok: true });
    expect(world.weights()).toEqual({ v1: 10_000 });
  });

  it("takes the place of a release that is only being prepared", () => {
    const world = new World();
    world.spec = aSpec({ keepMs: 0 });
    world.deploy();
    world.run();
    world.deploy();
    world.run();
    world.create();
    world.until("v3", "starting");
    expect(world.rollback()).toMatchObject({ ok: true, value: "restart" });
    expect(world.state("v3")).toBe("superseded");
    world.run();
    expect(world.weights()).toEqual({ "v1-again": 10_000 });
  });

  it("by a new release skips steps and analysis", () => {
    const world = new World();
    world.spec = aSpec({ keepMs: 0, strategy: aCanary() });
    world.deploy();
    world.run();
    world.deploy();
    world.promote("v2", { full: true });
    world.run();
    world.rollback();
    expect(world.weights()).toEqual({ "v1-again": 10_000 });
  });
});
