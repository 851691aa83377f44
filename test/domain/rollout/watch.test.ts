import { describe, expect, it } from "vitest";
import { judgedIn } from "../../../src/domain/rollout/analysis/judged.ts";
import { compileTable } from "../../../src/domain/rollout/table/compile-table.ts";
import type { EnvironmentSpec } from "../../../src/domain/spec.ts";
import { aCanary, aSpec, weightStep } from "./spec.ts";
import { World } from "./world.ts";

const SECOND = 1_000;
const ROLLING = { kind: "rolling", maxSurge: { count: 1 }, maxUnavailable: { count: 0 } } as const;

/** v1 has served, and v2 has just taken its place. */
function switched(change: Partial<EnvironmentSpec> = {}): World {
  const world = new World();
  world.spec = aSpec({ keepMs: change.keepMs ?? 600 * SECOND });
  world.deploy();
  world.run();
  world.spec = aSpec({ watch: "on", ...change });
  world.deploy();
  world.run(world.now + 60 * SECOND);
  return world;
}
const told = (world: World) =>
  world.events.filter(({ type }) => type === "traffic.alert").map(({ message }) => message);
const tableOf = (world: World) => {
  const loaded = { facts: world.facts(), salt: "s", previewKey: "00", mode: { kind: "open" } } as const;
  return compileTable(loaded, { version: 1, now: world.now });
};

describe("a release that has switched, and turns out worse than the one before", () => {
  it.each([
    ["blue-green", { strategy: { kind: "blue-green" } }],
    ["a canary", { strategy: aCanary({ steps: [weightStep(10_000)], analysis: { enabled: false } }) }],
  ] as const)("is taken back while that one is warm: %s", (_name, change) => {
    const world = switched(change);
    expect(world.state("v2")).toMatch(/settling|live/);
    world.judge("v2", "rollback", "before");
    world.run(world.now + 10 * SECOND);
    expect(world.weights()).toEqual({ v1: 10_000 });
    expect(world.release("v2").failure).toMatchObject({ code: "analysis_failed" });
    expect(world.release("v2").failure?.message).toContain("before the switch");
  });

  it("is only told of where `watch: alert` says so, and once", () => {
    const world = switched({ watch: "alert" });
    world.judge("v2", "rollback", "before");
    world.run(world.now + 60 * SECOND);
    expect(world.weights()).toEqual({ v2: 10_000 });
    expect(told(world)).toEqual([expect.stringMatching(/^v2 is worse than what served before: errors/)]);
    expect(tableOf(world).watched).toBeUndefined();
  });

  it("keeps its traffic where nothing that is warm can carry it, and that is told", () => {
    const world = switched();
    for (const instance of world.instancesOf("v1"))
      Object.assign(instance, { reportState: "unready", reportAt: world.now });
    world.judge("v2", "rollback", "before");
    world.run(world.now + 10 * SECOND);
    expect(world.weights()).toEqual({ v2: 10_000 });
    expect(told(world).join()).toContain("nothing warm can take over");
    expect(told(world).join()).not.toContain("rolled back");
  });

  it("is told of by what it lost alone, once, where it can't carry its traffic either", () => {
    const world = switched({ replicas: 3 });
    world.agents = { ...world.agents, job: () => null };
    for (const instance of [...world.instancesOf("v1"), ...world.instancesOf("v2").slice(1)])
      Object.assign(instance, { reportState: "unready", reportAt: world.now });
    world.judge("v2", "rollback", "before");
    world.run(world.now + 60 * SECOND);
    expect(world.weights()).toEqual({ v2: 10_000 });
    expect(told(world).length).toBeLessThanOrEqual(2);
    expect(told(world).at(-1)).toContain("v2 can't carry its traffic");
  });

  it("is left alone by what was said of it while it was a canary", () => {
    const world = switched();
    world.judge("v2", "rollback", "beside");
    world.run(world.now + 30 * SECOND);
    expect(world.weights()).toEqual({ v2: 10_000 });
  });
});

describe("who is watched", () => {
  it("is what has switched, for as long as the release before is warm", () => {
    const world = switched({ keepMs: 120 * SECOND });
    world.run(world.now + 20 * SECOND);
    expect(judgedIn(world.facts())).toMatchObject({ how: "before", against: world.release("v1").id });
    expect(tableOf(world).watched).toBe(true);
    world.run(world.now + 180 * SECOND);
    expect(judgedIn(world.facts())).toBeUndefined();
    expect(tableOf(world).watched).toBeUndefined();
  });

  it("is not what got its traffic back, though an older one is warm: in an outage each would hand it to the next", () => {
    const world = switched({ keepMs: 600 * SECOND });
    world.deploy();
    world.run(world.now + 60 * SECOND);
    expect(judgedIn(world.facts())?.release.version).toBe("v3");
    world.judge("v3", "rollback", "before");
    world.run(world.now + 60 * SECOND);
    expect(world.weights()).toEqual({ v2: 10_000 });
    expect(world.statesOf("v1")).toContain("warm");
    expect(judgedIn(world.facts())).toBeUndefined();
  });

  it.each(["off", undefined] as const)("is nobody where `watch` is %s", (watch) => {
    const world = switched();
    world.spec = aSpec(watch ? { watch } : {});
    world.deploy();
    world.run(world.now + 30 * SECOND);
    expect(judgedIn(world.facts())).toBeUndefined();
  });

  it("is a rolling release while it comes, beside what it replaces", () => {
    const world = new World();
    world.spec = aSpec({ strategy: ROLLING, watch: "on", replicas: 3 });
    world.deploy();
    world.run();
    world.create();
    for (let n = 0; n < 100 && (world.weights().v2 ?? 0) === 0; n++) world.step();
    expect(judgedIn(world.facts())).toMatchObject({ how: "beside" });
    world.judge("v2", "rollback");
    world.run(world.now + 120 * SECOND);
    expect(world.weights()).toEqual({ v1: 10_000 });
    expect(world.release("v2").failure).toMatchObject({ code: "analysis_failed" });
  });
});

describe("a canary that is bad and has lost instances, where nobody else can carry what it has", () => {
  it("says so once for each, and comes to rest", () => {
    const world = new World({ anna: 9, bert: 9 });
    world.spec = aSpec({ replicas: 3 });
    world.deploy();
    world.run();
    world.spec = aSpec({ replicas: 5, strategy: aCanary({ steps: [weightStep(5_000, 600 * SECOND)] }) });
    world.deploy();
    world.run(world.now + 60 * SECOND);
    world.agents = { ...world.agents, job: () => null };
    for (const instance of [...world.instancesOf("v1").slice(1), ...world.instancesOf("v2").slice(2)])
      Object.assign(instance, { reportState: "unready", reportAt: world.now });
    world.judge("v2", "rollback");
    world.run(world.now + 60 * SECOND);
    expect(world.weights()).toEqual({ v1: 5_000, v2: 5_000 });
    expect(told(world).filter((message) => message.startsWith("v2 keeps its traffic"))).toHaveLength(2);
  });
});

describe("an analysis that only reports", () => {
  it("goes on by its steps' time, and says once what it would have done", () => {
    const world = new World();
    world.deploy();
    world.run();
    world.spec = aSpec({ strategy: aCanary({ analysis: { mode: "report" } }) });
    world.deploy();
    world.judge("v2", "rollback");
    world.run(world.now + 180 * SECOND);
    expect(world.weights()).toEqual({ v2: 10_000 });
    const said = world.events.map(({ message }) => message).filter((text) => /report only/.test(text));
    expect(said[0]).toMatch(/^v2: report only, would have been rolled back: errors 30 %/);
    expect(said.filter((text) => /would have been rolled back: errors/.test(text))).toHaveLength(1);
    expect(world.release("v2").failure).toBeNull();
  });

  it("waits for nobody where the data prove nothing", () => {
    const world = new World();
    world.deploy();
    world.run();
    world.spec = aSpec({ strategy: aCanary({ analysis: { mode: "report" } }) });
    world.deploy();
    world.judge("v2", "continue");
    world.run(world.now + 180 * SECOND);
    expect(world.weights()).toEqual({ v2: 10_000 });
  });
});
