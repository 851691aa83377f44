import { describe, expect, it } from "vitest";
import { firstPlaces } from "../../../src/domain/rollout/placing/first-places.ts";
import { aCanary, aSpec } from "./spec.ts";
import { World } from "./world.ts";

const where = (world: World, version: string) => world.instancesOf(version).map(({ slotId }) => slotId);
const only = (world: World, name: string) => {
  for (const host of world.hosts) host.alive = host.name === name;
  world.now += 2 * 60_000;
};

describe("placing instances", () => {
  it("spreads a release over the hosts", () => {
    const world = new World({ anna: 8, bert: 8, carl: 8 });
    world.spec = aSpec({ replicas: 5 });
    world.deploy();
    expect(where(world, "v1")).toEqual(["anna/0", "bert/0", "carl/0", "anna/1", "bert/1"]);
  });

  it("spreads it also where the one before stands on one host only", () => {
    const world = new World({ anna: 8 });
    world.deploy();
    world.addHost("bert", 8);
    world.deploy();
    expect(where(world, "v2")).toEqual(["bert/0", "anna/2"]);
  });

  it("is where the plan said, also where what is warm has to make room first", () => {
    const world = new World({ anna: 4, bert: 3 });
    world.spec = aSpec({ replicas: 3, keepMs: 60 * 60_000 });
    for (let n = 0; n < 2; n++) {
      world.deploy();
      world.run(world.now + 60_000);
    }
    const plan = firstPlaces(world.facts(), world.now);
    world.deploy();
    expect(where(world, "v3")).toEqual(plan.slots.map(({ slotId }) => slotId));
    expect(where(world, "v3")).toHaveLength(3);
  });

  it("goes back into slots the environment holds already", () => {
    const world = new World();
    world.deploy();
    world.deploy();
    world.run();
    world.deploy();
    expect(where(world, "v3").sort()).toEqual(where(world, "v1").sort());
    world.run();
    expect(world.hosts.flatMap((host) => host.slots).filter((slot) => slot.environmentId).length).toBe(4);
  });

  it("never takes another environment's slot, nor one that is set aside", () => {
    const world = new World({ anna: 4 });
    world.spec = aSpec({ replicas: 1 });
    Object.assign(world.slot("anna/0"), { environmentId: "env-2" });
    Object.assign(world.slot("anna/1"), { asideUntil: world.now + 1 });
    world.deploy();
    expect(where(world, "v1")).toEqual(["anna/2"]);
    world.now += 1;
    world.deploy();
    expect(where(world, "v2")).toEqual(["anna/1"]);
  });

  it("puts nothing on a host that is offline", () => {
    const world = new World();
    only(world, "bert");
    world.deploy();
    expect(where(world, "v1")).toEqual(["bert/0", "bert/1"]);
  });

  it("says when there is no slot, and where they went", () => {
    const world = new World({ anna: 3 });
    Object.assign(world.slot("anna/2"), { environmentId: "env-2" });
    world.deploy();
    world.deploy();
    expect(world.release("v2").failure).toMatchObject({
      code: "no_slots",
      message: expect.stringMatching(
        /^2 instances are wanted, and none found a free slot \(anna: 3 slots, 2 in use, 1 reserved for others\): add a host, lower `replicas` or `keep`, or wait: what is reserved is free 15 m after its last instance$/,
      ),
    });
    expect(world.weights()).toEqual({ v1: 10_000 });
  });

  it("waits for slots that are being freed, rather than failing", () => {
    const world = new World({ anna: 4 });
    let stopping = true;
    world.agents = { ...world.agents, job: (job) => (job.kind === "stop" && stopping ? null : {}) };
    world.deploy();
    world.create();
    world.until("v2", "verifying");
    world.abort("v2");
    world.deploy();
    expect(world.state("v3")).toBe("queued");
    stopping = false;
    world.settleNow();
    expect(world.state("v3")).toBe("settling");
  });

  it("waits for slots whose instances still drain, as its plan says, rather than failing", () => {
    const world = new World({ anna: 4 });
    world.deploy();
    world.run(world.now + 20 * 60_000);
    world.deploy();
    expect([world.state("v2"), world.statesOf("v1")]).toEqual(["settling", ["draining", "draining"]]);
    const plan = firstPlaces(world.facts(), world.now);
    expect([plan.problems, plan.slots.map(({ slotId }) => slotId)]).toEqual([[], ["anna/0", "anna/1"]]);
    world.deploy();
    expect([world.state("v3"), world.release("v3").failure]).toEqual(["queued", null]);
    world.run(world.now + 2 * 60_000);
    expect([world.state("v3"), where(world, "v3")]).toEqual(["live", ["anna/0", "anna/1"]]);
  });

  it("gives up waiting for a slot at the release's deadline, and names the host", () => {
    const world = new World({ anna: 4 });
    world.agents = { ...world.agents, job: (job) => (job.kind === "stop" ? null : {}) };
    world.deploy();
    world.create();
    world.until("v2", "verifying");
    world.abort("v2");
    world.deploy();
    world.run(world.now + 3 * 3_600_000);
    expect(world.release("v3").failure?.message).toMatch(
      /^queued took longer than 7200 s: no slot is free before anna stops old containers/,
    );
  });

  it.each([
    ["none is enrolled", {}, {}, /^no host is enrolled: add one with `sluice hosts enroll`$/],
    ["none carries the labels", {}, { tier: "web" }, /^no host with tier=web is enrolled/],
    ["all are offline", { anna: 2, bert: 2 }, {}, /^every host is offline \(anna, bert\).* for 90 s$/],
  ])("says when %s", (_, hosts, labels, message) => {
    const world = new World(hosts);
    world.spec = aSpec({ hosts: labels });
    only(world, "nobody");
    world.deploy();
    expect(world.release("v1").failure).toMatchObject({
      code: "no_hosts",
      message: expect.stringMatching(message),
    });
  });

  it("puts a canary on the hosts that stable is on, so that no host's troubles look like the release's", () => {
    const world = new World({ anna: 4, bert: 4 });
    world.spec = aSpec({ replicas: 1 });
    world.deploy();
    world.spec = aSpec({ replicas: 1, strategy: aCanary() });
    world.deploy();
    expect(where(world, "v2")).toEqual(["anna/1"]);
  });

  it("stops warm instances, the oldest first, before it finds no slot", () => {
    const world = new World({ anna: 4 });
    world.deploy();
    world.run(world.now + 60_000);
    world.deploy();
    world.run(world.now + 60_000);
    world.deploy();
    world.run(world.now + 60_000);
    expect([world.state("v3"), world.weights()]).toEqual(["live", { v3: 10_000 }]);
    expect(world.statesOf("v1")).toEqual(["stopped", "stopped"]);
    expect(world.statesOf("v2")).toEqual(["warm", "warm"]);
  });
});
