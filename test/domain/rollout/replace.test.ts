import { beforeEach, describe, expect, it } from "vitest";
import { movingFrom } from "../../../src/domain/rollout/upkeep/stranded.ts";
import type { Instance } from "../../simulate/control/store.ts";
import { aCanary, aSpec, DIGEST, weightStep } from "./spec.ts";
import { World } from "./world.ts";

const MINUTE = 60_000;
let world: World;
/** v1 is live with an instance on each of two hosts; a third has nothing. */
beforeEach(() => {
  world = new World({ anna: 3, bert: 3, carl: 3 });
  world.spec = { ...world.spec, replicas: 2 };
  world.deploy();
  world.run(world.now + 10 * MINUTE);
  expect(world.state("v1")).toBe("live");
  // Its hosts were heard from until now.
  world.settleNow();
});

const live = () => world.instances.filter(({ stoppedAt }) => stoppedAt === null);
const on = (state: string) =>
  live()
    .filter((instance) => instance.state === state)
    .map(({ hostId }) => hostId)
    .sort();
const host = (name: string) => {
  const found = world.hosts.find((one) => one.name === name);
  if (!found) throw new Error(`no host ${name}`);
  return found;
};
const isTaken = (slot: string) => live().some(({ slotId }) => slotId === slot);
const move = (instance: Pick<Instance, "hostId" | "hostName" | "slotId">, to: string) => {
  const slotId = host(to).slots.find(({ id }) => !isTaken(id))?.id ?? "";
  Object.assign(instance, { hostId: `host-${to}`, hostName: to, slotId });
};
const instanceOn = (name: string) => {
  const found = live().find(({ hostId, state }) => hostId === `host-${name}` && state === "serving");
  if (!found) throw new Error(`nothing serves on ${name}`);
  return found;
};

describe("an instance that is gone from its host", () => {
  it("is replaced on another slot, and its row ends", () => {
    instanceOn("anna").reportState = "gone";
    world.run(world.now + MINUTE);
    expect(on("serving")).toHaveLength(2);
    expect(live()).toHaveLength(2);
    expect(live().every(({ reportState }) => reportState === "ready")).toBe(true);
  });

  it("is replaced though it was all that served, and nothing warm is left", () => {
    for (const instance of live()) Object.assign(instance, { reportState: "gone", reportAt: world.now });
    world.run(world.now + MINUTE);
    expect(on("serving")).toHaveLength(2);
    expect(live().every(({ reportState }) => reportState === "ready")).toBe(true);
  });

  it("is replaced beside a canary, which may take days", () => {
    world.spec = {
      ...world.spec,
      strategy: {
        kind: "canary",
        steps: [
          { kind: "weight", weightBp: 1_000, bakeMs: 0, match: null, mirrorBp: 0 },
          { kind: "pause", forMs: null },
        ],
        analysis: { enabled: false },
      } as never,
    };
    world.deploy();
    world.run(world.now + MINUTE);
    instanceOn("anna").reportState = "gone";
    world.run(world.now + MINUTE);
    expect(world.state("v2")).toBe("shifting");
    const serving = live().filter(({ state }) => state === "serving");
    expect(serving.filter(({ releaseId }) => releaseId === world.release("v1").id)).toHaveLength(2);
    expect(serving.every(({ reportState }) => reportState === "ready")).toBe(true);
  });

  it.each(["a canary", "one by hand"] as const)(
    "is replaced beside another release where its own was rolled and all slots are taken: %s",
    (what) => {
      world = new World({ anna: 2, bert: 2, carl: 2 });
      const rolling = { kind: "rolling", maxSurge: { count: 1 }, maxUnavailable: { count: 0 } } as const;
      world.spec = { ...world.spec, replicas: 3, strategy: rolling };
      world.deploy();
      world.run(world.now + 10 * MINUTE);
      const steps = [weightStep(500), { kind: "pause", forMs: null } as const];
      const canary = aCanary({ steps, analysis: { enabled: false } });
      if (what === "a canary") {
        world.spec = { ...world.spec, strategy: canary };
        world.deploy();
      } else {
        world.deploy();
        world.run(world.now + MINUTE);
        world.weigh({ v1: 500, v2: 9_500 });
      }
      world.run(world.now + MINUTE);
      const [stable, beside] = what === "a canary" ? ["v1", "v2"] : ["v2", "v1"];
      expect(world.weights()).toEqual({ [stable]: 9_500, [beside]: 500 });
      const [gone] = world.instancesOf(stable);
      if (gone) gone.reportState = "gone";
      world.run(world.now + 3 * MINUTE);
      const serving = world.instancesOf(stable).filter(({ state }) => state === "serving");
      expect(serving.map(({ reportState }) => reportState)).toEqual(["ready", "ready", "ready"]);
    },
  );

  it.each(["a paused canary", "a lock"])("is replaced while a release waits behind %s", (what) => {
    const steps = [weightStep(500), { kind: "pause", forMs: null } as const];
    const strategy = aCanary({ steps, analysis: { enabled: false } });
    if (what === "a lock") {
      const expiresAt = world.now + 60 * MINUTE;
      world.held = { holder: "ann", reason: "a look at the data", since: world.now, expiresAt };
    } else {
      world.spec = { ...world.spec, strategy };
      world.deploy();
      world.run(world.now + MINUTE);
    }
    const { version } = world.deploy();
    instanceOn("anna").reportState = "gone";
    world.run(world.now + MINUTE);
    expect(world.state(version)).toBe("queued");
    expect(world.instancesOf("v1").filter(({ state }) => state === "serving")).toHaveLength(2);
  });

  it("leaves no replacement behind when another release takes over while it starts", () => {
    instanceOn("anna").reportState = "gone";
    world.agents = {
      ...world.agents,
      job: (job) => (job.id === "start-rel-1-3" ? null : { digest: DIGEST }),
    };
    world.settleNow();
    expect(on("starting")).toHaveLength(1);
    world.deploy();
    world.agents = { ...world.agents, job: () => ({ digest: DIGEST }) };
    world.run(world.now + 20 * MINUTE);
    expect(new Set(live().map(({ releaseId }) => releaseId))).toEqual(new Set([world.release("v2").id]));
  });

  it("is not replaced while a release is on its way", () => {
    world.agents = { ...world.agents, job: (job) => (job.kind === "pull" ? null : { digest: DIGEST }) };
    world.deploy();
    instanceOn("anna").reportState = "gone";
    const before = world.instances.length;
    world.run(world.now + 10_000);
    expect(world.instances.filter(({ releaseId }) => releaseId === world.release("v1").id)).toHaveLength(2);
    expect(world.instances.length).toBe(before);
  });
});

describe("an app whose instances exit one after the other", () => {
  it("keeps the rest serving, never two down at once, and nothing is replaced that comes back", () => {
    let least = 2;
    for (let n = 0; n < 12; n++) {
      const [instance] = live()
        .filter(({ state }) => state === "serving")
        .slice(n % 2);
      if (!instance) throw new Error("nothing serves");
      Object.assign(instance, { reportState: "exited", reportAt: world.now });
      instance.exits = [...instance.exits, world.now].slice(-5);
      world.run(world.now + 5_000);
      least = Math.min(least, live().filter(({ reportState }) => reportState === "ready").length);
      Object.assign(instance, { reportState: "ready", reportAt: world.now });
      world.run(world.now + 55_000);
    }
    expect(least).toBe(1);
    expect(on("serving")).toHaveLength(2);
    expect(world.weights()).toEqual({ v1: 10_000 });
    // Nothing warm is left to take over: it is told, once, though half of it answers at any moment.
    const alerts = world.events.filter(({ type }) => type === "traffic.alert");
    expect(alerts.map(({ message }) => message)).toEqual([expect.stringMatching(/can't carry/)]);
  });

  it("gives its traffic back to what is warm, though at each moment half of it answers", () => {
    world.deploy();
    world.run(world.now + 2 * MINUTE);
    expect(world.weights()).toEqual({ v2: 10_000 });
    for (let n = 0; n < 6 && world.weights().v2; n++) {
      const [instance] = world
        .instancesOf("v2")
        .filter(({ state }) => state === "serving")
        .slice(n % 2);
      if (!instance) break;
      Object.assign(instance, { reportState: "exited", reportAt: world.now });
      instance.exits = [...instance.exits, world.now];
      world.run(world.now + 3_000);
      Object.assign(instance, { reportState: "ready", reportAt: world.now });
      world.run(world.now + 12_000);
    }
    expect(world.weights()).toEqual({ v1: 10_000 });
    expect(world.release("v2").failure).toMatchObject({ code: "instances_lost" });
  });
});

describe("what serves and lost a host, where a canary holds the slots that it needs", () => {
  const steps = (share: number) => [weightStep(share), { kind: "pause", forMs: null } as const];
  /** v1 has one of three instances left, v2 two, and no slot is free. */
  const shortOf = (share: number, pauseMs = 24 * 60 * MINUTE) => {
    world = new World({ anna: 3, bert: 3 });
    world.spec = aSpec({ replicas: 3 });
    world.deploy();
    world.run(world.now + 20 * MINUTE);
    const strategy = aCanary({ steps: steps(share), analysis: { enabled: false } });
    world.spec = aSpec({ replicas: 3, strategy, deadlines: { ...world.spec.deadlines, pauseMs } });
    world.deploy();
    world.run(world.now + MINUTE);
    const lost = world.instancesOf("v1").filter(({ hostName }) => hostName === "anna");
    expect(lost).toHaveLength(2);
    for (const one of [...lost, ...world.instancesOf("v2").filter(({ hostName }) => hostName === "anna")])
      Object.assign(one, { state: "stopped", stoppedAt: world.now });
    world.hosts = world.hosts.filter(({ name }) => name !== "anna");
  };
  const servingOf = (version: string) =>
    world.instancesOf(version).filter(({ state }) => state === "serving").length;

  it("gets them: the canary keeps as many as its share needs, and goes back when what serves can carry it", () => {
    shortOf(500);
    world.settleNow();
    expect(world.weights()).toEqual({ v1: 9_500, v2: 500 });
    expect([servingOf("v1"), servingOf("v2")]).toEqual([1, 1]);
    const told = world.events.filter(({ type }) => type === "traffic.alert").map(({ message }) => message);
    expect(told.join()).toMatch(
      /v2 keeps .*1 of 3 instances of v1 answers.* v1 lost instances and needs its slots/,
    );
    world.run(world.now + 2 * MINUTE);
    expect(world.weights()).toEqual({ v1: 10_000 });
    expect([world.state("v2"), world.release("v2").failure?.code]).toEqual(["rolled_back", "slots_needed"]);
    world.run(world.now + 2 * MINUTE);
    expect(servingOf("v1")).toBe(3);
  });

  it("gets none of one that has more of the traffic, and that takes all where its deadline could give it to nobody", () => {
    shortOf(7_500, 5 * MINUTE);
    world.run(world.now + MINUTE);
    expect(world.weights()).toEqual({ v1: 2_500, v2: 7_500 });
    expect([servingOf("v1"), servingOf("v2")]).toEqual([1, 2]);
    world.run(world.now + 5 * MINUTE);
    expect(world.weights()).toEqual({ v2: 10_000 });
    world.run(world.now + 15 * MINUTE);
    expect([world.state("v2"), servingOf("v2")]).toEqual(["live", 3]);
  });

  it("gets what is warm first", () => {
    world = new World({ anna: 2, bert: 3 });
    world.spec = aSpec({ replicas: 1, keepMs: 24 * 60 * MINUTE });
    world.deploy();
    world.run(world.now + 20 * MINUTE);
    world.spec = aSpec({ replicas: 3 });
    world.deploy();
    world.run(world.now + MINUTE);
    const strategy = aCanary({ steps: steps(500), analysis: { enabled: false } });
    world.spec = aSpec({ replicas: 1, strategy });
    world.deploy();
    world.run(world.now + MINUTE);
    expect([world.statesOf("v1"), servingOf("v2"), servingOf("v3")]).toEqual([["warm"], 3, 1]);
    for (const one of world.instancesOf("v2").slice(0, 2))
      Object.assign(one, { state: "stopped", stoppedAt: world.now });
    for (const { slots } of world.hosts)
      for (const slot of slots)
        if (!isTaken(slot.id)) Object.assign(slot, { asideUntil: world.now + 60 * MINUTE });
    world.run(world.now + 2 * MINUTE);
    expect([world.statesOf("v1"), servingOf("v2"), servingOf("v3")]).toEqual([["stopped"], 2, 1]);
    expect(world.weights()).toEqual({ v2: 9_500, v3: 500 });
  });
});

describe("a host that is lost", () => {
  it("is waited for while it may be rebooting, then its instances go on elsewhere", () => {
    host("anna").alive = false;
    world.run(world.now + 2 * MINUTE);
    expect(on("serving")).toEqual(["host-anna", "host-bert"]);
    world.run(world.now + 3 * MINUTE);
    expect(on("serving")).not.toContain("host-anna");
    expect(on("serving")).toHaveLength(2);
    // Its container may still be there: the slot stays taken until the host says otherwise.
    expect(on("stopping")).toEqual(["host-anna"]);
  });

  it("takes nothing from what serves where there is no other", () => {
    world.hosts = [host("anna"), host("bert")];
    for (const one of world.hosts) one.alive = false;
    world.run(world.now + 20 * MINUTE);
    expect(on("serving")).toEqual(["host-anna", "host-bert"]);
  });

  it("is tried again with growing gaps when replacements don't come up, and never without end at once", () => {
    host("anna").alive = false;
    let starts = 0;
    const error = { code: "exited", message: "it exits", logs: [] };
    world.agents = {
      ...world.agents,
      job: (job) => {
        if (job.kind !== "start") return { digest: DIGEST };
        starts += 1;
        return { error };
      },
    };
    // The sweep looks when it falls silent.
    world.run(world.now + 2 * MINUTE);
    world.run(world.now + 60 * MINUTE);
    expect(starts).toBeGreaterThan(3);
    expect(starts).toBeLessThan(12);
    expect(on("serving")).toContain("host-bert");
  });
});

describe("a host that is to be emptied", () => {
  it("keeps serving until its replacements do, and is empty after", () => {
    host("anna").draining = true;
    let fewest = 2;
    for (let step = 0; step < 400 && live().some(({ hostId }) => hostId === "host-anna"); step++) {
      world.now += 500;
      world.run(world.now);
      fewest = Math.min(fewest, on("serving").length);
    }
    expect(fewest).toBe(2);
    expect(on("serving")).toEqual(["host-bert", "host-carl"]);
    expect(live()).toHaveLength(2);
  });

  it("gets nothing new", () => {
    host("anna").draining = true;
    host("carl").draining = true;
    world.run(world.now + 5 * MINUTE);
    expect(on("serving")).toEqual(["host-bert", "host-bert"]);
    world.deploy();
    world.run(world.now + 20 * MINUTE);
    expect(new Set(on("serving"))).toEqual(new Set(["host-bert"]));
  });

  it("says what would be stranded where nobody could take it", () => {
    const { stranded, takes } = movingFrom(world.facts(), "host-anna", world.now);
    expect([stranded, takes.length]).toEqual([[], 1]);
    world.hosts = [host("anna")];
    expect(movingFrom(world.facts(), "host-anna", world.now).stranded).toEqual([
      "shop/production has 1 of 2 instances of v1 there: no other host has the labels it asks for",
    ]);
  });

  it("promises one slot to one release only, and none that another environment is going to take", () => {
    world.hosts = [host("anna"), host("bert")];
    world.spec = { ...world.spec, strategy: aCanary({ analysis: { enabled: false } }) };
    world.deploy();
    world.run(world.now + MINUTE);
    expect(world.state("v2")).toBe("shifting");
    // The canary's instance and stable's are on anna, and bert has one slot left for both.
    for (const instance of live()) if (instance.releaseId === world.release("v2").id) move(instance, "anna");
    const [last] = host("bert").slots.filter(({ id }) => !live().some(({ slotId }) => slotId === id));
    if (last) host("bert").slots = host("bert").slots.filter(({ id }) => id === last.id || isTaken(id));
    const { stranded, takes } = movingFrom(world.facts(), "host-anna", world.now);
    expect([stranded.length, takes]).toEqual([1, [last?.id]]);
    expect(movingFrom(world.facts(), "host-anna", world.now, new Set(takes)).stranded).toHaveLength(2);
  });
});

describe("a port that somebody else has taken", () => {
  const taken = {
    code: "port_in_use",
    message: "port 20001 on this host is taken by something else",
    logs: [],
  };
  const refusing = (slots: readonly string[]) => {
    world.agents = {
      ...world.agents,
      job: (job) => {
        const row = world.instances.find(({ id }) => id === job.instanceId);
        return job.kind === "start" && row && slots.includes(row.slotId)
          ? { error: taken }
          : { digest: DIGEST };
      },
    };
  };

  it("sets the slot aside, and the release goes on in another one", () => {
    refusing(["anna/1", "bert/1"]);
    world.deploy();
    world.run(world.now + MINUTE);
    expect(["settling", "live"]).toContain(world.state("v2"));
    const slots = live().filter(
      ({ releaseId, state }) => releaseId === world.release("v2").id && state === "serving",
    );
    expect(slots.map(({ slotId }) => slotId)).not.toContain("anna/1");
    expect(world.events.some(({ message }) => message.includes("is set aside"))).toBe(true);
  });

  it("leaves nothing behind where one finds another slot, and the next one none", () => {
    world.hosts = [host("anna"), host("bert")].map((one) => ({ ...one, slots: one.slots.slice(0, 3) }));
    world.spec = { ...world.spec, replicas: 3 };
    refusing(["anna/1", "anna/2"]);
    world.deploy();
    world.run(world.now + 5 * MINUTE);
    expect(world.release("v2").failure).toMatchObject({ code: "port_in_use" });
    expect(live().filter(({ releaseId }) => releaseId === world.release("v2").id)).toEqual([]);
  });

  it("fails the release, saying so, where no other slot is free", () => {
    world.hosts = [{ ...host("anna"), slots: host("anna").slots.slice(0, 2) }];
    world.spec = { ...world.spec, replicas: 1 };
    refusing(["anna/0", "anna/1"]);
    world.deploy();
    world.run(world.now + MINUTE);
    expect(world.release("v2").failure).toMatchObject({ code: "port_in_use" });
  });
});
