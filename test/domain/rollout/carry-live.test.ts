import { describe, expect, it } from "vitest";
import { alerts, die, exit, later, lose, slots } from "./losses.ts";
import { aCanary, aSpec, weightStep } from "./spec.ts";
import { World } from "./world.ts";

const SECOND = 1_000;
const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

describe("a crash loop", () => {
  const served = (keepMs = 5 * MINUTE, replicas = 2) => {
    const world = new World(slots);
    world.spec = aSpec({ keepMs, replicas });
    world.deploy();
    later(world, 20 * MINUTE);
    world.deploy();
    return world;
  };

  it("is a failed release at the second exit, though it was ready between", () => {
    const world = served();
    later(world, 10 * SECOND);
    for (const _ of [1, 2]) {
      for (const instance of world.instancesOf("v2")) exit(world, instance);
      later(world, 6 * SECOND);
    }
    expect(world.weights()).toEqual({ v1: 10_000 });
    expect(world.release("v2").failure).toMatchObject({
      code: "instances_lost",
      message: expect.stringContaining("ended 2 times"),
    });
  });

  it("ends a canary without analysis before its step is over", () => {
    const world = new World(slots);
    world.spec = aSpec({ replicas: 1 });
    world.deploy();
    later(world, 20 * MINUTE);
    const steps = [weightStep(5_000, 40 * SECOND), weightStep(10_000)];
    world.spec = aSpec({ replicas: 1, strategy: aCanary({ steps, analysis: { enabled: false } }) });
    world.deploy();
    for (const _ of [1, 2]) {
      later(world, 6 * SECOND);
      exit(world, world.instancesOf("v2")[0]);
    }
    later(world, SECOND);
    expect(world.weights()).toEqual({ v1: 10_000 });
    later(world, MINUTE);
    expect(world.state("v2")).toBe("rolled_back");
  });

  it("whose instances exit one after the other, never two at once, is one too", () => {
    const world = served(10 * MINUTE, 3);
    for (let n = 0; n < 6; n++) {
      later(world, 20 * SECOND);
      exit(world, world.instancesOf("v2").filter(({ stoppedAt }) => stoppedAt === null)[n % 3]);
    }
    later(world, SECOND);
    expect(world.weights()).toEqual({ v1: 10_000 });
  });

  it("is given no traffic, though it answers at this moment: a rollback to it starts it anew", () => {
    const world = served();
    for (const instance of world.instancesOf("v1")) for (const _ of [1, 2]) exit(world, instance);
    expect(world.rollback()).toMatchObject({ ok: true });
    later(world, MINUTE);
    expect(world.weights()).toEqual({ "v1-again": 10_000 });
  });

  it("is not promoted, though it answers at this moment", () => {
    const world = new World(slots);
    world.deploy();
    later(world, 20 * MINUTE);
    world.spec = aSpec({ strategy: aCanary({ steps: [weightStep(1_000, HOUR), weightStep(10_000)] }) });
    world.deploy();
    later(world, MINUTE);
    for (const instance of world.instancesOf("v2")) for (const _ of [1, 2]) exit(world, instance);
    expect(world.promote("v2")).toMatchObject({ ok: false, error: { code: "release_not_serving" } });
  });

  it("is no crash loop when every instance ended once, with its host", () => {
    const world = served();
    later(world, 10 * SECOND);
    for (const instance of world.instances) exit(world, instance);
    later(world, 4 * MINUTE);
    expect(world.weights()).toEqual({ v2: 10_000 });
  });

  it("is told by the share of a minute that it was out as well", () => {
    const world = served();
    for (let n = 0; n < 4; n++) {
      const report = (reportState: "ready" | "unready") => {
        for (const instance of world.instancesOf("v2"))
          Object.assign(instance, { reportState, reportAt: world.now });
      };
      report("unready");
      later(world, 12 * SECOND);
      report("ready");
      later(world, 4 * SECOND);
    }
    expect(world.weights()).toEqual({ v1: 10_000 });
  });
});

describe("a release that is live", () => {
  function live(replicas = 3): World {
    const world = new World(slots);
    world.spec = aSpec({ replicas });
    world.deploy();
    later(world, 20 * MINUTE);
    world.deploy();
    later(world, MINUTE);
    expect(world.state("v2")).toBe("live");
    return world;
  }

  it("and lost gives its traffic to what is warm", () => {
    const world = live();
    die(world, "v2");
    later(world, 25 * SECOND);
    expect([world.weights(), world.stable]).toEqual([{ v1: 10_000 }, "rel-1"]);
    later(world, MINUTE);
    expect([world.state("v1"), world.state("v2")]).toEqual(["live", "rolled_back"]);
  });

  it("and lost gives its traffic to what is still warm of before, where what gave way to it is dead", () => {
    const world = live();
    world.deploy();
    later(world, MINUTE);
    expect([world.state("v3"), world.statesOf("v1")[0]]).toEqual(["live", "warm"]);
    die(world, "v2");
    die(world, "v3");
    later(world, 40 * SECOND);
    expect([world.weights(), world.state("v1")]).toEqual([{ v1: 10_000 }, "live"]);
  });

  it("says how those that are lost ended, rather than that they are silent", () => {
    const world = live();
    die(world, "v2", 2);
    for (const instance of world.instances)
      if (instance.reportState === "exited")
        Object.assign(instance, {
          reportCause: "shop v2 was ended by SIGKILL",
          verifyCause: "connection lost",
        });
    later(world, 25 * SECOND);
    expect(JSON.stringify(world.releases.find(({ version }) => version === "v2")?.failure)).toContain(
      "shop v2 was ended by SIGKILL",
    );
  });

  it("does so when fewer than half of its instances are left, and not before", () => {
    const world = live();
    die(world, "v2", 1);
    later(world, 2 * MINUTE);
    expect(world.weights()).toEqual({ v2: 10_000 });
    die(world, "v2", 2);
    later(world, 25 * SECOND);
    expect(world.weights()).toEqual({ v1: 10_000 });
  });

  it("keeps its traffic when what is warm is dead too, and says so once", () => {
    const world = live();
    die(world, "v1");
    die(world, "v2", 2);
    later(world, 2 * MINUTE);
    expect(world.weights()).toEqual({ v2: 10_000 });
    expect(alerts(world)).toHaveLength(1);
    expect(world.release("v2").failure).toMatchObject({ code: "instances_lost" });
  });

  it("alerts when nothing is warm any more, and says when it answers again", () => {
    const world = live();
    later(world, HOUR);
    expect(world.settleNow()).toBeNull();
    const agents = world.agents;
    die(world, "v2");
    later(world, MINUTE);
    expect(alerts(world)).toEqual([expect.stringMatching(/v2 can't carry.*nothing warm can take over/)]);
    world.agents = agents;
    for (const instance of world.instancesOf("v2"))
      Object.assign(instance, { reportState: "ready", reportAt: world.now, unreachableSince: null });
    later(world, MINUTE);
    expect(alerts(world)).toHaveLength(2);
    expect(world.release("v2").failure).toBeNull();
  });

  it("is asked until it answers again, though nothing is warm any more: no canary takes all for what was once", () => {
    const world = new World(slots);
    world.spec = aSpec({ replicas: 1, keepMs: 2 * MINUTE });
    world.deploy();
    later(world, 5 * MINUTE);
    world.deploy();
    later(world, MINUTE);
    const { probe } = world.agents;
    world.agents = { ...world.agents, probe: () => "answered 530" };
    later(world, 90 * SECOND);
    world.agents = { ...world.agents, probe };
    later(world, MINUTE);
    expect(alerts(world)).toEqual([
      expect.stringMatching(/v2 can't carry/),
      "1 of 1 instances of v2 answers again",
    ]);
    const strategy = aCanary({ steps: [weightStep(1_000, HOUR), weightStep(10_000)] });
    world.spec = aSpec({ replicas: 1, strategy });
    world.deploy();
    later(world, MINUTE);
    expect(world.weights()).toEqual({ v3: 1_000, v2: 9_000 });
  });

  it("is lost with its hosts when they are silent or removed", () => {
    for (const way of ["silent", "removed"]) {
      const world = new World({ anna: 4 });
      world.deploy();
      later(world, 20 * MINUTE);
      world.settleNow();
      world.addHost("bert", 4);
      for (const host of world.hosts) if (host.name === "anna") host.alive = false;
      later(world, 2 * MINUTE);
      for (const host of world.hosts) if (host.name === "anna") host.alive = true;
      world.spec = aSpec({ hosts: {} });
      world.hosts.sort((a, b) => b.name.localeCompare(a.name));
      const anna = world.hosts.find(({ name }) => name === "anna");
      if (anna) anna.slots = anna.slots.slice(0, 2);
      world.deploy();
      later(world, MINUTE);
      expect(new Set(world.instancesOf("v2").map(({ hostName }) => hostName))).toEqual(new Set(["bert"]));
      if (way === "removed") world.hosts = world.hosts.filter(({ name }) => name !== "bert");
      else lose(world, "bert");
      later(world, 2 * MINUTE);
      expect(world.weights(), way).toEqual({ v1: 10_000 });
    }
  });

  it("and lost with its hosts while a roll is only starting goes back to what is warm, and waits for nobody", () => {
    const world = new World({ anna: 1, bert: 1, carl: 1 });
    world.spec = aSpec({ replicas: 1 });
    for (let n = 0; n < 2; n++) {
      world.deploy();
      later(world, MINUTE);
    }
    world.spec = aSpec({
      replicas: 1,
      strategy: { kind: "rolling", maxSurge: { count: 1 }, maxUnavailable: { count: 0 } },
    });
    world.agents = { ...world.agents, job: ({ kind }) => (kind === "start" ? null : {}) };
    world.deploy();
    expect([world.state("v3"), world.weights()]).toEqual(["shifting", { v2: 10_000 }]);
    const [lost] = world.instancesOf("v2");
    world.hosts = world.hosts.filter(({ id }) => id !== lost?.hostId);
    Object.assign(lost ?? {}, { state: "stopped", stoppedAt: world.now });
    later(world, SECOND);
    expect(world.weights()).toEqual({ v1: 10_000 });
  });

  it("and lost with its host just after a rollback goes to what was rolled back: nobody else answers", () => {
    const world = new World({ anna: 2, bert: 2 });
    world.spec = aSpec({ replicas: 1, drainMs: 60_000 });
    world.deploy();
    later(world, 20 * MINUTE);
    world.deploy();
    later(world, 30 * SECOND);
    world.settleNow();
    world.rollback();
    later(world, SECOND);
    const [mine] = world.instancesOf("v1");
    const [theirs] = world.instancesOf("v2");
    expect(mine?.hostId).not.toBe(theirs?.hostId);
    world.hosts = world.hosts.filter(({ id }) => id !== mine?.hostId);
    later(world, SECOND);
    expect(world.weights()).toEqual({ v2: 10_000 });
    expect(world.state("v2")).toBe("live");
    expect(world.statesOf("v2")).toEqual(["serving"]);
  });

  it("and lost while a canary is beside it leaves the canary its share, at its step", () => {
    const world = live(1);
    const steps = [weightStep(2_000, 5 * MINUTE), weightStep(10_000)];
    world.spec = aSpec({ replicas: 1, strategy: aCanary({ steps, analysis: { enabled: false } }) });
    world.deploy();
    expect(world.weights()).toEqual({ v3: 2_000, v2: 8_000 });
    die(world, "v2");
    later(world, 25 * SECOND);
    expect(world.weights()).toEqual({ v3: 2_000, v1: 8_000 });
    later(world, 10 * MINUTE);
    expect(world.weights()).toEqual({ v3: 10_000 });
  });
});
