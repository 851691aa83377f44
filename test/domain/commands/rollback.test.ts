import { describe, expect, it } from "vitest";
import { planRollback } from "../../../src/domain/commands/rollback.ts";
import { aCanary, aSpec, weightStep } from "../rollout/spec.ts";
import { World } from "../rollout/world.ts";

const SECOND = 1_000;
const MINUTE = 60_000;
const later = (world: World, ms: number) => world.run(world.now + ms);

/** v1, v2, … each live after the one before, still within its warm time. */
function served(count: number, world = new World({ anna: 8, bert: 8 })): World {
  for (let n = 0; n < count; n++) {
    world.deploy();
    later(world, 40 * SECOND);
  }
  return world;
}
/** The same, with nothing warm any more. */
function cold(count: number): World {
  const world = new World({ anna: 9 });
  world.spec = aSpec({ replicas: 1, keepMs: 0, drainMs: 0 });
  return served(count, world);
}
const code = (made: { ok: boolean; error?: { code: string } }) => (made.ok ? "accepted" : made.error?.code);

describe("a rollback asked for twice", () => {
  it("goes back once: whoever saw another release serving is told what serves now", () => {
    const world = served(3);
    expect(world.rollback(null, "v3").ok).toBe(true);
    expect(world.rollback(null, "v3")).toMatchObject({
      ok: false,
      error: { code: "precondition_failed", detail: expect.stringMatching(/saw v3 .*now it is v2 100 %/) },
    });
    later(world, 5 * MINUTE);
    expect(code(world.rollback(null, "v3"))).toBe("precondition_failed");
    expect(world.weights()).toEqual({ v2: 10_000 });
  });

  it("is refused while one is rolling back, where its sender does not say what it saw", () => {
    const world = served(3);
    world.rollback();
    expect(code(world.rollback())).toBe("rollback_impossible");
    expect(world.weights()).toEqual({ v2: 10_000 });
    expect(world.rollback("v1")).toMatchObject({ ok: true });
  });

  it("is another one where a release has come since: that is taken back at once", () => {
    const world = served(2);
    world.spec = { ...world.spec, drainMs: 5 * MINUTE };
    world.deploy();
    later(world, 40 * SECOND);
    world.rollback();
    world.deploy();
    later(world, 40 * SECOND);
    expect(world.weights()).toEqual({ v4: 10_000 });
    expect(world.releases.find(({ version }) => version === "v3")?.state).toBe("rolling_back");
    expect(world.rollback()).toMatchObject({ ok: true, value: "instant" });
    expect(world.weights()).toEqual({ v2: 10_000 });
  });

  it("goes further back for whoever saw the release that the first one brought back", () => {
    const world = served(3);
    world.rollback(null, "v3");
    expect(world.rollback(null, "v2")).toMatchObject({ ok: true, value: "instant" });
    expect(world.weights()).toEqual({ v1: 10_000 });
  });

  it("by way of a restart makes one release, not one each", () => {
    const world = cold(2);
    world.release("v1").git = { sha: "0a1b2c" };
    world.agents = { ...world.agents, job: () => null };
    expect(world.rollback()).toMatchObject({ ok: true, value: "restart" });
    for (const to of [null, "v1", null])
      expect(world.rollback(to)).toMatchObject({ ok: true, value: "ongoing" });
    const [made, ...more] = world.releases.filter(({ kind }) => kind === "rollback");
    expect(more).toEqual([]);
    // It is of the commit it goes back to: programs read it, and so do those who are told.
    expect(made?.git).toEqual({ sha: "0a1b2c" });
    world.agents = { ...world.agents, job: () => ({}) };
    world.run();
    expect(world.weights()).toEqual({ "v1-again": 10_000 });
  });
});

describe("a rollback's target", () => {
  it("is the other one that has traffic, after a split by hand", () => {
    const world = served(3);
    world.weigh({ v3: 7_500, v2: 2_500 });
    expect(world.rollback()).toMatchObject({ ok: true, value: "instant" });
    expect(world.weights()).toEqual({ v2: 10_000 });
  });

  it("is proven when at least half of it answers, and the silent one gets no visitor", () => {
    const world = new World({ anna: 2, bert: 2, carl: 2 });
    world.spec = aSpec({ replicas: 3 });
    served(2, world);
    const [silent] = world.instancesOf("v1");
    world.agents = { ...world.agents, probe: ({ id }) => (id === silent?.id ? "answered 530" : null) };
    expect(world.rollback()).toMatchObject({ ok: true, value: "instant" });
    expect(world.weights()).toEqual({ v1: 10_000 });
    expect(silent?.unreachableSince).not.toBeNull();
  });

  it("is told to be started again, before anybody presses, where fewer than half of it answers", () => {
    const world = new World({ anna: 2, bert: 2, carl: 2 });
    world.spec = aSpec({ replicas: 3 });
    served(2, world);
    const how = () => planRollback(world.facts(), { to: null }, world.now);
    expect(how()).toMatchObject({ value: { how: "instant" } });
    for (const one of world.instancesOf("v1").slice(0, 2)) one.unreachableSince = world.now;
    expect(how()).toMatchObject({ value: { how: "restart", prove: [] } });
  });

  it("that must be started again makes room among what is warm", () => {
    const world = new World({ anna: 2, bert: 2, carl: 2 });
    world.spec = aSpec({ replicas: 3 });
    served(2, world);
    const silent = new Set(
      world
        .instancesOf("v1")
        .slice(0, 2)
        .map(({ id }) => id),
    );
    world.agents = { ...world.agents, probe: ({ id }) => (silent.has(id) ? "answered 530" : null) };
    expect(world.rollback()).toMatchObject({ ok: true, value: "restart" });
    later(world, MINUTE);
    expect(world.weights()).toEqual({ "v1-again": 10_000 });
  });
});

describe("a rollback and a deploy", () => {
  it("that was being prepared does not undo the instant rollback half a minute later", () => {
    const world = served(2);
    world.agents = { ...world.agents, job: () => null };
    world.deploy();
    expect(world.rollback()).toMatchObject({ ok: true, value: "instant" });
    world.agents = { ...world.agents, job: () => ({}) };
    later(world, MINUTE);
    expect([world.weights(), world.state("v3")]).toEqual([{ v1: 10_000 }, "superseded"]);
  });

  it("that would supersede what is on its way waits behind an emergency", () => {
    const world = cold(2);
    world.agents = { ...world.agents, job: () => null };
    world.rollback();
    expect(world.create({ whenBusy: "supersede" }).ok).toBe(true);
    expect([world.state("v1-again"), world.state("v3")]).toEqual(["preparing", "queued"]);
    const queued = cold(2);
    queued.create();
    queued.until("v3", "verifying");
    queued.rollback();
    queued.create();
    expect(queued.state("v1-again")).not.toBe("superseded");
  });
});

describe("weights by hand while a canary is on its way", () => {
  function canary(): World {
    const world = served(2);
    const steps = [weightStep(1_000, 10 * MINUTE), weightStep(2_000, 10 * MINUTE), weightStep(10_000)];
    world.spec = aSpec({ strategy: aCanary({ analysis: { enabled: false }, steps }) });
    world.deploy();
    return world;
  }

  it("refuse a third release: the next promote would give the canary everything", () => {
    const world = canary();
    expect(world.weigh({ v1: 9_000, v3: 1_000 })).toMatchObject({
      ok: false,
      error: { code: "release_in_progress", detail: expect.stringContaining("only it and stable") },
    });
    world.promote("v3");
    expect(world.weights()).toEqual({ v3: 2_000, v2: 8_000 });
  });

  it("leave a promote and an abort to do what they say", () => {
    const world = canary();
    world.weigh({ v2: 10_000 });
    later(world, 15 * MINUTE);
    world.promote("v3");
    expect(world.weights()).toEqual({ v3: 2_000, v2: 8_000 });
    world.abort("v3");
    expect(world.weights()).toEqual({ v2: 10_000 });
  });
});

describe("a resume", () => {
  it("after an inconclusive end waits for proof anew", () => {
    const world = served(1);
    world.spec = aSpec({ strategy: aCanary({ analysis: { maxWaitMs: MINUTE } }) });
    world.deploy();
    world.judge("v2", "continue");
    later(world, 200 * SECOND);
    expect(world.release("v2").paused).toMatchObject({ by: "analysis" });
    world.resume("v2");
    expect(world.release("v2").paused).toBeNull();
    later(world, 59 * SECOND);
    expect(world.release("v2").paused).toBeNull();
    later(world, 2 * SECOND);
    expect(world.release("v2").paused).toMatchObject({ by: "analysis" });
  });
});
