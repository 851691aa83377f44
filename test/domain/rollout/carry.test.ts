import { describe, expect, it } from "vitest";
import { answers, isDown } from "../../../src/domain/rollout/carry.ts";
import { alerts, die, later, lose, slots } from "./losses.ts";
import { aCanary, aSpec, weightStep } from "./spec.ts";
import { World } from "./world.ts";

const SECOND = 1_000;
const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

describe("a canary whose stable is dead", () => {
  it("takes all traffic at once: deployed on a new host, as recovery goes", () => {
    const world = new World({ anna: 9 });
    const strategy = aCanary({ steps: [weightStep(1_000, 15 * MINUTE), weightStep(10_000)] });
    world.spec = aSpec({ replicas: 1, strategy });
    world.deploy();
    later(world, 40 * SECOND);
    lose(world, "anna");
    later(world, 200 * SECOND);
    world.addHost("bert", 9);
    world.deploy();
    world.judge("v2", "hold");
    later(world, SECOND);
    expect(world.weights()).toEqual({ v2: 10_000 });
    expect(alerts(world).join()).toMatch(/v2 takes all traffic at once: 0 of 1 instances of v1/);
    later(world, MINUTE);
    const told = world.events.map(({ message }) => message);
    expect(told).toContain("v1 gave its traffic away: none of its instances answers");
    expect(told).toContain("v1 on anna has drained, and does not answer");
    expect(told.join("\n")).not.toMatch(/kept warm/);
  });

  it("is not said to be kept warm where nothing is", () => {
    const world = new World(slots);
    world.spec = aSpec({ keepMs: 0 });
    world.deploy();
    later(world, MINUTE);
    world.deploy();
    later(world, MINUTE);
    expect(world.events.map(({ message }) => message)).toContain("v1 gave its traffic away");
  });

  it.each(["in a bake", "in a pause", "held at 0 %"])("takes over within seconds %s too", (where) => {
    const world = new World(slots);
    world.deploy();
    later(world, 20 * MINUTE);
    const steps = [
      weightStep(1_000, where === "in a bake" ? HOUR : 0),
      { kind: "pause", forMs: null } as const,
    ];
    world.spec = aSpec({ strategy: aCanary({ steps: [...steps, weightStep(10_000)] }) });
    world.deploy({ hold: where === "held at 0 %" });
    later(world, MINUTE);
    die(world, "v1");
    later(world, 25 * SECOND);
    expect(world.weights()).toEqual({ v2: 10_000 });
  });

  it("keeps its traffic where an abort, a failed analysis or a deadline would give it to the dead", () => {
    const world = new World(slots);
    world.deploy();
    later(world, 20 * MINUTE);
    world.spec = aSpec({ strategy: aCanary({ steps: [weightStep(5_000, HOUR), weightStep(10_000)] }) });
    world.deploy();
    die(world, "v1");
    expect(world.abort("v2")).toMatchObject({
      ok: false,
      error: { code: "rollback_impossible", detail: expect.stringMatching(/0 of 2 instances of v1 answer/) },
    });
    world.judge("v2", "rollback");
    later(world, 5 * SECOND);
    expect(world.weights().v2).toBeGreaterThan(0);
    later(world, 30 * SECOND);
    expect(world.weights()).toEqual({ v2: 10_000 });
  });

  it("keeps its traffic where fewer than half of stable answer, though those are as many as its own", () => {
    const world = new World(slots);
    world.spec = aSpec({ replicas: 6 });
    world.deploy();
    later(world, 20 * MINUTE);
    const strategy = aCanary({ steps: [weightStep(5_000, HOUR), weightStep(10_000)] });
    world.spec = aSpec({ replicas: 2, strategy });
    world.deploy();
    die(world, "v1", 4);
    world.judge("v2", "rollback");
    later(world, 30 * SECOND);
    expect(world.weights()).toEqual({ v2: 10_000 });
  });

  it("is not mistaken for one whose only instance was unready for a moment", () => {
    const world = new World(slots);
    world.spec = aSpec({ replicas: 1 });
    world.deploy();
    later(world, 20 * MINUTE);
    const steps = [weightStep(1_000, HOUR), weightStep(10_000)];
    world.spec = aSpec({ replicas: 1, strategy: aCanary({ steps }) });
    world.deploy();
    const [only] = world.instancesOf("v1");
    Object.assign(only ?? {}, { reportState: "unready", reportAt: world.now });
    later(world, 10 * SECOND);
    Object.assign(only ?? {}, { reportState: "ready", reportAt: world.now });
    later(world, MINUTE);
    expect(world.weights()).toEqual({ v2: 1_000, v1: 9_000 });
  });

  it("waits at its step while it can't carry more itself", () => {
    const world = new World(slots);
    world.deploy();
    later(world, 20 * MINUTE);
    world.spec = aSpec({ strategy: aCanary({ analysis: { enabled: false } }) });
    world.deploy();
    later(world, 59 * SECOND);
    for (const instance of world.instancesOf("v2"))
      Object.assign(instance, { reportState: "unready", reportAt: world.now });
    later(world, 5 * SECOND);
    expect(world.weights()).toEqual({ v2: 1_000, v1: 9_000 });
    for (const instance of world.instancesOf("v2"))
      Object.assign(instance, { reportState: "ready", reportAt: world.now });
    later(world, 5 * SECOND);
    expect(world.weights()).toEqual({ v2: 5_000, v1: 5_000 });
  });

  it("that was held and died is not given traffic by a promote", () => {
    const world = new World(slots);
    world.deploy();
    later(world, 20 * MINUTE);
    world.deploy({ hold: true });
    die(world, "v2");
    later(world, HOUR);
    expect(world.promote("v2")).toMatchObject({ ok: false, error: { code: "release_not_serving" } });
    expect(world.weights()).toEqual({ v1: 10_000 });
  });
});

describe("when no host is heard from, as after an outage of control", () => {
  it("a canary is left where it is, and goes on when they are", () => {
    const world = new World(slots);
    world.deploy();
    later(world, 20 * MINUTE);
    world.spec = aSpec({ strategy: aCanary({ analysis: { enabled: false } }) });
    world.deploy();
    for (const host of world.hosts) host.alive = false;
    later(world, 5 * MINUTE);
    expect([world.state("v2"), Object.keys(world.weights())]).toEqual(["shifting", ["v1", "v2"]]);
    for (const host of world.hosts) host.alive = true;
    later(world, 5 * MINUTE);
    expect(world.weights()).toEqual({ v2: 10_000 });
  });
});

describe("a canary that is lost beside a stable that is, too", () => {
  it("goes on with those that answer, and ends when stable can carry all again", () => {
    const world = new World(slots);
    world.spec = aSpec({ replicas: 3 });
    world.deploy();
    later(world, 20 * MINUTE);
    const steps = [weightStep(1_000), { kind: "pause", forMs: null } as const, weightStep(10_000)];
    world.spec = aSpec({ replicas: 3, strategy: aCanary({ steps, analysis: { enabled: false } }) });
    world.deploy();
    die(world, "v1", 2);
    die(world, "v2", 2);
    later(world, MINUTE);
    expect(world.weights()).toEqual({ v1: 9_000, v2: 1_000 });
    expect(alerts(world)).toContainEqual(expect.stringContaining("v2 keeps its traffic, for nobody else"));
    for (const one of world.instancesOf("v1"))
      Object.assign(one, { reportState: "ready", reportAt: world.now });
    world.agents = { ...world.agents, probe: ({ id }) => (id.startsWith("rel-2") ? "answered 530" : null) };
    later(world, 2 * MINUTE);
    expect(world.weights()).toEqual({ v1: 10_000 });
  });
});

describe("a canary past its deadline that nobody can take over from", () => {
  it("says so once, however long it lasts", () => {
    const world = new World(slots);
    world.spec = aSpec({ replicas: 3 });
    world.deploy();
    later(world, 20 * MINUTE);
    const steps = [weightStep(1_000), { kind: "pause", forMs: null } as const, weightStep(10_000)];
    const strategy = aCanary({ steps, analysis: { enabled: false } });
    world.spec = aSpec({ replicas: 3, strategy, deadlines: { ...world.spec.deadlines, pauseMs: MINUTE } });
    world.deploy();
    // With a host that was removed; no other one takes anything new.
    for (const one of world.instancesOf("v1").slice(0, 2))
      Object.assign(one, { state: "stopped", stoppedAt: world.now });
    for (const host of world.hosts) host.draining = true;
    later(world, 5 * MINUTE);
    expect(alerts(world).filter((message) => /v2 keeps its traffic/.test(message))).toHaveLength(1);
  });
});

describe("an instance", () => {
  it("whose host was removed answers nobody and is down, however lately that host was heard", () => {
    const world = new World(slots);
    world.deploy();
    later(world, MINUTE);
    const [one] = world.facts().instances;
    if (!one) throw new Error("v1 has no instance");
    const both = (instance: typeof one) => [answers(instance, world.now), isDown(instance, world.now)];
    expect(both(one)).toEqual([true, false]);
    expect(both({ ...one, hostRemoved: true })).toEqual([false, true]);
  });
});
