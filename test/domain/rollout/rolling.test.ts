import { describe, expect, it } from "vitest";
import { firstPlaces } from "../../../src/domain/rollout/placing/first-places.ts";
import { breaks, dead, MINUTE, rolling, SECOND, type Shape, strategyOf, untilServing } from "./rolls.ts";
import { aSpec } from "./spec.ts";
import { World } from "./world.ts";

const ofRelease = (id: string) => breaks((job) => job.releaseId === id);

describe("a rolling release", () => {
  const shapes: readonly [string, Shape, { atLeast: number; atMost: number }][] = [
    ["one more at a time", {}, { atLeast: 4, atMost: 5 }],
    ["one less at a time", { surge: { count: 0 }, unavailable: { count: 1 } }, { atLeast: 3, atMost: 4 }],
    ["two more, one less", { surge: { count: 2 }, unavailable: { count: 1 } }, { atLeast: 3, atMost: 6 }],
    [
      "by percentages: surge rounds up, unavailable down",
      { replicas: 3, surge: { percent: 25 }, unavailable: { percent: 25 } },
      { atLeast: 3, atMost: 4 },
    ],
    [
      "neither: one more, or it would never move",
      { surge: { count: 0 }, unavailable: { percent: 0 } },
      { atLeast: 4, atMost: 5 },
    ],
    ["all at once", { surge: { percent: 100 } }, { atLeast: 4, atMost: 8 }],
    ["a single replica", { replicas: 1 }, { atLeast: 1, atMost: 2 }],
    [
      "on a full host, as slots become free",
      { replicas: 3, hosts: { anna: 3 }, surge: { count: 1 }, unavailable: { count: 1 } },
      { atLeast: 2, atMost: 3 },
    ],
    ["on a host with one slot to spare", { replicas: 3, hosts: { anna: 4 } }, { atLeast: 3, atMost: 4 }],
  ];
  it.each(shapes)("replaces every instance, %s", (_, shape, { atLeast, atMost }) => {
    const world = rolling(shape);
    world.deploy();
    world.run();
    expect([world.state("v1"), world.state("v2")]).toEqual(["superseded", "live"]);
    const replicas = shape.replicas ?? 4;
    expect(world.statesOf("v2").filter((state) => state === "serving")).toHaveLength(replicas);
    expect(world.instancesOf("v2")).toHaveLength(replicas);
    expect(Math.min(...world.seen.map(({ serving }) => serving))).toBe(atLeast);
    expect(Math.max(...world.seen.map(({ existing }) => existing))).toBeLessThanOrEqual(atMost);
    expect(world.weights()).toEqual({ v2: 10_000 });
  });

  it("gives each release its share of the serving instances", () => {
    const world = rolling();
    world.deploy();
    world.run();
    const shares = world.tables.slice(1).map(({ v2 = 0 }) => v2);
    expect(shares).toEqual(
      [0, 2_000, 2_500, 4_000, 5_000, 6_000, 7_500, 8_000, 10_000].filter((s) => shares.includes(s)),
    );
    expect(shares).toEqual([...shares].sort((a, b) => a - b));
    expect(shares.length).toBeGreaterThan(4);
  });

  it("begins with nothing before it, a few at a time all the same", () => {
    const world = new World();
    world.spec = aSpec({ replicas: 3, strategy: strategyOf({}) });
    world.deploy();
    world.run();
    expect(world.state("v1")).toBe("live");
    expect(world.statesOf("v1")).toEqual(["serving", "serving", "serving"]);
  });

  it.each([
    [2, 5],
    [5, 2],
  ])("changes %i replicas to %i on its way", (before, after) => {
    const world = rolling({ replicas: before });
    world.spec = { ...world.spec, replicas: after };
    world.deploy();
    world.run();
    expect(world.state("v2")).toBe("live");
    expect(world.statesOf("v2").filter((state) => state === "serving")).toHaveLength(after);
    expect(Math.min(...world.seen.map(({ serving }) => serving))).toBeGreaterThanOrEqual(
      Math.min(before, after),
    );
  });

  it("is kept warm only where its last instances left, and the rollback window is not longer than that", () => {
    const world = rolling();
    world.deploy();
    world.run();
    expect(world.instancesOf("v1").every(({ state }) => state === "stopped")).toBe(true);
  });

  it("lets go of instances that don't answer before those that do", () => {
    const world = rolling({ replicas: 2 });
    const [first, second] = world.instancesOf("v1");
    if (second) Object.assign(second, { reportState: "unready" });
    world.create();
    untilServing(world, "v2", 1);
    world.settleNow();
    expect(second?.state).not.toBe("serving");
    expect(first?.state === "serving" || world.state("v2") === "settling").toBe(true);
  });

  it("refuses weights by hand, which would drain what it moves", () => {
    const world = rolling();
    world.create();
    untilServing(world, "v2", 1);
    expect(world.weigh({ v1: 10_000 })).toMatchObject({ ok: false, error: { code: "release_in_progress" } });
  });
});

describe("a rolling release that can't go on", () => {
  it("goes back the way it came when a new instance does not start, all old ones serving", () => {
    const world = rolling();
    world.agents = { ...world.agents, job: breaks((job) => job.id.endsWith("rel-2-3")) };
    world.deploy();
    world.run();
    expect([world.state("v1"), world.state("v2")]).toEqual(["live", "rolled_back"]);
    expect(world.release("v2").failure).toMatchObject({ code: "exited" });
    expect(world.statesOf("v1").filter((state) => state === "serving")).toHaveLength(4);
    expect(world.statesOf("v2").every((state) => state === "stopped")).toBe(true);
    expect(Math.min(...world.seen.map(({ serving }) => serving))).toBe(4);
    expect(Math.max(...world.seen.map(({ existing }) => existing))).toBeLessThanOrEqual(5);
    expect(world.weights()).toEqual({ v1: 10_000 });
  });

  it.each([1, 2, 3])("has all old instances back after an abort with %i new ones serving", (count) => {
    const world = rolling();
    world.create();
    untilServing(world, "v2", count);
    expect(world.abort("v2").ok).toBe(true);
    world.run();
    expect([world.state("v1"), world.state("v2")]).toEqual(["live", "rolled_back"]);
    expect(world.statesOf("v1").filter((state) => state === "serving")).toHaveLength(4);
    expect(Math.min(...world.seen.map(({ serving }) => serving))).toBe(4);
  });

  it("gives the traffic to the old ones that are left where none can be started again", () => {
    const world = rolling();
    world.create();
    untilServing(world, "v2", 3);
    world.run(world.now + 40 * SECOND);
    world.agents = { ...world.agents, job: (job) => (job.kind === "start" ? { error: dead } : {}) };
    world.abort("v2");
    world.run();
    const served = world.statesOf("v1").filter((state) => state === "serving").length;
    expect(["rolled_back", "settling", "live"]).toContain(world.state("v2"));
    if (world.state("v2") === "rolled_back") expect(served).toBeGreaterThan(0);
    expect(Object.keys(world.weights())).toHaveLength(1);
  });

  it("stays where nothing of the old release can be started again", () => {
    const world = rolling({ replicas: 1, surge: { count: 0 }, unavailable: { count: 1 } });
    let after = false;
    world.agents = { ...world.agents, job: (job) => (after && job.kind === "start" ? { error: dead } : {}) };
    world.create();
    untilServing(world, "v2", 1);
    world.run(world.now + 2 * MINUTE);
    after = true;
    world.rollback();
    world.run();
    expect(world.weights()).toEqual({ v2: 10_000 });
    expect(world.state("v2")).toBe("live");
  });

  it("does not begin where no slot is free and none becomes free, as its plan says: nothing is pulled or migrated", () => {
    const world = rolling({ replicas: 3, hosts: { anna: 3 } });
    expect(firstPlaces(world.facts(), world.now).problems).toMatchObject([{ code: "no_slots" }]);
    world.deploy();
    world.run();
    expect(world.state("v2")).toBe("failed");
    expect(world.jobsOf("pull", "v2")).toEqual([]);
    expect(world.release("v2").failure).toMatchObject({ code: "no_slots" });
    expect(world.statesOf("v1")).toEqual(["serving", "serving", "serving"]);
  });

  it("goes back when a host is lost on the way, within the startup deadline", () => {
    const world = rolling();
    world.create();
    untilServing(world, "v2", 1);
    for (const host of world.hosts) if (host.name === "bert") host.alive = false;
    const start = world.now;
    world.run();
    expect(world.state("v2")).not.toBe("shifting");
    expect((world.release("v2").endedAt ?? 0) - start).toBeLessThan(30 * MINUTE);
    expect(Object.values(world.weights()).reduce((a, b) => a + b, 0)).toBe(10_000);
  });

  it("goes back when a new instance is ready but does not answer on its real path", () => {
    const world = rolling();
    world.agents = {
      ...world.agents,
      probe: ({ releaseId }) => (releaseId === "rel-2" ? "answered 530" : null),
    };
    world.deploy();
    world.run();
    expect(world.state("v2")).toBe("rolled_back");
    expect(world.release("v2").failure).toMatchObject({ code: "unreachable" });
  });

  it("goes back when the whole takes longer than its deadline", () => {
    const world = rolling();
    world.create();
    untilServing(world, "v2", 1);
    world.pause("v2");
    world.run();
    expect(world.state("v2")).toBe("rolled_back");
    expect(world.release("v2").failure?.message).toContain("paused by ann");
    expect(world.statesOf("v1").filter((state) => state === "serving")).toHaveLength(4);
  });

  it("is over, with nothing serving, where it was the first and its second batch does not start", () => {
    const world = new World();
    world.spec = aSpec({ replicas: 3, strategy: strategyOf({}) });
    world.agents = { ...world.agents, job: ofRelease("rel-1") };
    world.deploy();
    world.run();
    expect(world.state("v1")).toBe("rolled_back");
    expect(world.statesOf("v1").every((state) => state === "stopped")).toBe(true);
  });

  it("lets the next one wait until every old instance is back", () => {
    const world = rolling();
    world.create();
    untilServing(world, "v2", 2);
    world.abort("v2");
    world.create();
    expect([world.state("v2"), world.state("v3")]).toEqual(["rolling_back", "queued"]);
    world.run();
    expect([world.state("v2"), world.state("v3")]).toEqual(["rolled_back", "live"]);
  });

  it("goes on after a pause, which keeps what is ready", () => {
    const world = rolling();
    world.create();
    untilServing(world, "v2", 2);
    world.pause("v2");
    const before = world.weights();
    world.run(world.now + 10 * MINUTE);
    expect(world.weights()).toEqual(before);
    world.resume("v2");
    world.run();
    expect(world.state("v2")).toBe("live");
  });
});
