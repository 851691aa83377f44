import { describe, expect, it } from "vitest";
import { firstPlaces } from "../../../src/domain/rollout/placing/first-places.ts";
import { compileTable } from "../../../src/domain/rollout/table/compile-table.ts";
import { breaks, dead, MINUTE, rolling, SECOND, strategyOf, untilServing, watched } from "./rolls.ts";
import { aCanary, aSpec } from "./spec.ts";
import { type Job, World } from "./world.ts";

const routable = (world: World) =>
  ({ facts: world.facts(), salt: "s", previewKey: "00", mode: { kind: "open" } }) as const;

describe("a rolling release counts those that answer", () => {
  /** Starts of v2 take this long; each of its instances ends for good so long after it began to serve. */
  function mortal(world: World, { startMs, liveMs }: { startMs: number; liveMs: number }): () => void {
    const dead = new Set<string>();
    const isSlow = (job: Job) => job.id.startsWith("start-rel-2") && world.now - job.createdAt < startMs;
    world.agents = {
      job: (job) => (isSlow(job) ? null : {}),
      probe: ({ id }) => (dead.has(id) ? "answered 530" : null),
    };
    return () => {
      for (const instance of world.instancesOf("v2")) {
        if (instance.state !== "serving" || world.now - instance.stateSince < liveMs) continue;
        dead.add(instance.id);
        Object.assign(instance, { reportState: "exited", reportAt: world.now });
      }
    };
  }

  it("and rolls back when one that was admitted is down, never below its floor", () => {
    const world = rolling();
    const mortals = mortal(world, { startMs: 20 * SECOND, liveMs: 25 * SECOND });
    world.deploy();
    let least = 4;
    for (let n = 0; n < 120 && world.state("v2") !== "rolled_back"; n++) {
      world.run(world.now + 5 * SECOND);
      mortals();
      const up = world.instances.filter((i) => i.state === "serving" && i.reportState === "ready");
      least = Math.min(least, up.length);
    }
    expect(world.state("v2")).toBe("rolled_back");
    expect(world.weights()).toEqual({ v1: 10_000 });
    expect(least).toBeGreaterThanOrEqual(3);
  });

  it("and asks an app that takes long to boot before it gives it up", () => {
    const world = rolling();
    world.spec = { ...world.spec, deadlines: { ...world.spec.deadlines, verifyMs: 5 * SECOND } };
    const slow = (job: Job) =>
      job.id.startsWith("start-rel-2") && world.now - job.createdAt < 33 * SECOND ? null : {};
    world.agents = { ...world.agents, job: slow };
    world.create();
    for (let n = 0; n < 200 && world.state("v2") !== "live"; n++) world.run(world.now + SECOND);
    expect(world.state("v2")).toBe("live");
  });

  it("and starts a failed old one again elsewhere on its way back: one of six never carries all", () => {
    const world = rolling({ replicas: 6 });
    world.spec = { ...world.spec, drainMs: 0 };
    world.agents = { ...world.agents, job: (job) => (job.id === "start-rel-2-6" ? null : {}) };
    world.create();
    untilServing(world, "v2", 5);
    world.run(world.now + MINUTE);
    let failures = 1;
    world.agents = {
      ...world.agents,
      job: (job) => (job.kind === "start" && failures-- > 0 ? { error: dead } : {}),
    };
    world.seen.length = 0;
    world.abort("v2");
    world.run();
    expect([world.state("v1"), world.state("v2"), world.weights()]).toEqual([
      "live",
      "rolled_back",
      { v1: 10_000 },
    ]);
    expect(world.statesOf("v1").filter((state) => state === "serving")).toHaveLength(6);
    expect(Math.min(...world.seen.map(({ serving }) => serving))).toBeGreaterThanOrEqual(5);
  });

  it("and leaves old and new that answer together where no old one starts any more", () => {
    const world = rolling({ replicas: 6 });
    world.spec = { ...world.spec, drainMs: 0 };
    world.agents = { ...world.agents, job: (job) => (job.id === "start-rel-2-6" ? null : {}) };
    world.create();
    untilServing(world, "v2", 5);
    world.run(world.now + MINUTE);
    world.agents = { ...world.agents, job: (job) => (job.kind === "start" ? { error: dead } : {}) };
    world.abort("v2");
    world.run(world.now + 10 * MINUTE);
    expect([world.state("v1"), world.state("v2")]).toEqual(["live", "live"]);
    expect(world.weights()).toEqual({ v1: 1_667, v2: 8_333 });
    expect(world.stable).toBe("rel-2");
    expect(
      world.events.some(({ type, message }) => type === "traffic.alert" && /v2 stays/.test(message)),
    ).toBe(true);
  });

  it("and leaves those that shared the traffic before it came together, where neither can carry all", () => {
    const world = rolling({ replicas: 3 });
    world.spec = { ...world.spec, keepMs: 60 * MINUTE };
    world.releases[0] && Object.assign(world.releases[0], { spec: world.spec });
    world.deploy();
    world.run(world.now + 5 * MINUTE);
    expect(world.weigh({ v1: 5_000, v2: 5_000 }).ok).toBe(true);
    const down = [...world.instancesOf("v1"), ...world.instancesOf("v2")].filter(
      (one) => !/-1$/.test(one.id),
    );
    for (const one of down) Object.assign(one, { reportState: "exited", reportAt: world.now });
    const ids = new Set(down.map(({ id }) => id));
    const start = (job: Job) => (job.kind === "start" ? { error: dead } : {});
    world.agents = { job: start, probe: ({ id }) => (ids.has(id) ? "answered 530" : null) };
    world.run(world.now + MINUTE);
    world.deploy();
    world.run(world.now + 10 * MINUTE);
    expect([world.state("v3"), world.weights()]).toEqual(["rolled_back", { v1: 5_000, v2: 5_000 }]);
  });

  it("and keeps what serves of a first release whose second batch does not start, until more do", () => {
    const world = new World();
    world.spec = aSpec({ replicas: 3, strategy: strategyOf({}) });
    const late = (job: Job) =>
      job.id === "start-rel-1-2" && world.now - job.createdAt < 20 * SECOND ? null : undefined;
    world.agents = {
      ...world.agents,
      job: (job) =>
        late(job) === null || job.id.endsWith("-3") ? null : breaks((j) => j.id === "start-rel-1-2")(job),
    };
    world.deploy();
    const serving = () => world.statesOf("v1").filter((state) => state === "serving");
    for (let n = 0; n < 60 && world.state("v1") !== "settling"; n++) world.run(world.now + SECOND);
    expect([world.state("v1"), world.weights()]).toEqual(["settling", { v1: 10_000 }]);
    expect(serving()).toHaveLength(1);
    expect(world.events.some(({ type }) => type === "traffic.alert")).toBe(true);
    world.run(world.now + MINUTE);
    expect([world.state("v1"), serving().length]).toEqual(["live", 3]);
  });

  it("and makes the old release live again when its traffic comes back after it had given all away", () => {
    const world = new World({ anna: 9, bert: 9 });
    world.spec = aSpec({ strategy: strategyOf({ surge: { count: 0 }, unavailable: { count: 1 } }) });
    world.deploy();
    world.run();
    world.agents = {
      ...world.agents,
      job: (job) => (job.kind === "start" && job.id.endsWith("-2") ? null : {}),
    };
    world.deploy();
    world.run(world.now + 40 * SECOND);
    world.abort("v2");
    world.agents = { ...world.agents, job: () => ({}) };
    world.run();
    expect([world.state("v1"), world.state("v2")]).toEqual(["live", "rolled_back"]);
    expect(world.release("v1").warmUntil).toBeNull();
  });

  it.each([10 * MINUTE, 3 * 60 * MINUTE])(
    "and waits for no `keep` (%i ms) where it needs the slots",
    (keepMs) => {
      const world = new World({ anna: 2 });
      world.spec = aSpec({
        keepMs,
        strategy: strategyOf({ surge: { count: 0 }, unavailable: { count: 1 } }),
      });
      world.deploy();
      world.run();
      world.deploy();
      world.run(world.now + 2 * MINUTE);
      expect(world.state("v2")).toBe("live");
      expect(world.statesOf("v2").filter((state) => state === "serving")).toHaveLength(2);
    },
  );

  it("and ends with the release it was replacing, when that one is lost while it settles", () => {
    for (const slots of [9, 4]) {
      const world = new World({ anna: slots, bert: slots });
      world.spec = aSpec({ replicas: 3, strategy: strategyOf({}) });
      let holds = ["start-rel-2-3", "start-rel-3"];
      world.agents = {
        ...world.agents,
        job: (job) => (holds.some((id) => job.id.startsWith(id)) ? null : {}),
      };
      world.deploy();
      world.run(world.now + 40 * SECOND);
      world.deploy();
      world.run(world.now + 40 * SECOND);
      holds = ["start-rel-3"];
      world.settleNow();
      world.deploy();
      world.agents = { ...world.agents, probe: ({ releaseId }) => (releaseId === "rel-2" ? "530" : null) };
      world.run(world.now + 21 * SECOND);
      holds = [];
      world.run(world.now + 15 * MINUTE);
      expect([world.state("v1"), world.state("v2"), world.state("v3")], `${slots}`).toEqual([
        "live",
        "rolled_back",
        "rolled_back",
      ]);
      expect(world.weights()).toEqual({ v1: 10_000 });
      expect(world.statesOf("v1").filter((state) => state === "serving")).toHaveLength(3);
    }
  });

  it("and lets go of nobody before another answers, though all may be missing, while there is a slot", () => {
    const shape = { replicas: 1, surge: { count: 0 }, unavailable: { count: 1 } };
    const world = rolling(shape);
    world.deploy();
    world.run();
    expect(world.state("v2")).toBe("live");
    expect(Math.min(...world.seen.map(({ serving }) => serving))).toBe(1);
    const tight = rolling({ ...shape, hosts: { anna: 1 } });
    expect(firstPlaces(tight.facts(), tight.now).problems).toEqual([]);
    tight.deploy();
    expect(tight.statesOf("v1")).toEqual(["draining"]);
    const { releases } = compileTable(routable(tight), { version: 1, now: tight.now });
    expect(releases.flatMap(({ instances }) => instances)).toMatchObject([{ id: "rel-1-1", ready: true }]);
    tight.run();
    expect([tight.state("v2"), tight.weights()]).toEqual(["live", { v2: 10_000 }]);
  });

  it("and a first release goes on until it is whole, though its first instance has all traffic meanwhile", () => {
    const world = new World();
    world.spec = aSpec({ replicas: 4, strategy: strategyOf({}) });
    const slow = (job: Job) => job.kind === "start" && job.instanceId !== "rel-1-1";
    world.agents = { ...world.agents, job: (job) => (slow(job) ? null : {}) };
    world.deploy();
    expect([world.state("v1"), world.weights()]).toEqual(["shifting", { v1: 10_000 }]);
    world.agents = { ...world.agents, job: () => ({}) };
    world.run();
    expect([world.state("v1"), world.release("v1").failure]).toEqual(["live", null]);
    expect(world.statesOf("v1")).toEqual(["serving", "serving", "serving", "serving"]);
  });

  it("and leaves a third release that shares the traffic its part until its instances are replaced, too", () => {
    const world = new World({ anna: 8, bert: 8 });
    world.spec = aSpec({ replicas: 2 });
    for (let n = 0; n < 2; n++) {
      world.deploy();
      world.run(world.now + MINUTE);
    }
    world.weigh({ v1: 5_000, v2: 5_000 });
    world.spec = aSpec({ replicas: 4, strategy: strategyOf({}), keepMs: 0 });
    const { seen } = watched(world);
    world.create();
    untilServing(world, "v3", 1);
    expect(world.weights()).toEqual({ v1: 5_000, v2: 2_500, v3: 2_500 });
    world.run();
    expect(world.weights()).toEqual({ v3: 10_000 });
    expect(Math.min(...seen.map(({ serving }) => serving))).toBe(4);
  });

  it("and serves with what it has where a first one finds no slot for the rest", () => {
    const world = new World({ anna: 3 });
    world.spec = aSpec({ replicas: 4, strategy: strategyOf({}), keepMs: 0 });
    world.deploy();
    world.run(world.now + 10 * MINUTE);
    expect(world.weights()).toEqual({ v1: 10_000 });
    expect([world.state("v1"), world.release("v1").failure?.code]).toEqual(["live", "no_slots"]);
    expect(world.statesOf("v1")).toEqual(["serving", "serving", "serving"]);
  });

  it("and leaves a canary its share, when it goes back while that is on its way", () => {
    const world = new World({ anna: 8, bert: 8 });
    world.spec = aSpec({ replicas: 4 });
    world.deploy();
    world.run(world.now + MINUTE);
    world.spec = aSpec({ replicas: 2, strategy: strategyOf({}) });
    world.deploy();
    world.run(world.now + MINUTE);
    // Half of what is warm is gone: it can carry, and a way back would start more of it.
    for (const one of world.instancesOf("v1").slice(0, 2))
      Object.assign(one, { state: "stopped", stoppedAt: world.now });
    world.spec = aSpec({ replicas: 2, strategy: aCanary({ analysis: { enabled: false } }) });
    world.agents = { ...world.agents, job: ({ kind }) => (kind === "start" ? null : {}) };
    world.deploy();
    const lost = new Set(world.instancesOf("v2").map(({ id }) => id));
    for (const one of world.instancesOf("v2"))
      Object.assign(one, { reportState: "exited", reportAt: world.now });
    const probe = ({ id }: { readonly id: string }) => (lost.has(id) ? "answered 530" : null);
    world.agents = { ...world.agents, probe };
    world.run(world.now + 20 * SECOND);
    expect(world.weights()).toEqual({ v1: 10_000 });
    world.agents = { job: () => ({}), probe };
    world.run(world.now + 10 * SECOND);
    expect([world.state("v2"), world.weights()]).toEqual(["rolling_back", { v1: 9_000, v3: 1_000 }]);
    world.run(world.now + 10 * MINUTE);
    expect(world.weights()).toEqual({ v3: 10_000 });
    expect(world.state("v2")).toBe("rolled_back");
  });

  it("and comes to rest where the next one begins to roll while a lost one goes back", () => {
    const world = new World({ anna: 8 });
    const strategy = strategyOf({ surge: { count: 0 }, unavailable: { count: 1 } });
    world.spec = aSpec({ replicas: 2, strategy, keepMs: 10 * MINUTE });
    for (let n = 0; n < 2; n++) {
      world.deploy();
      world.run(world.now + MINUTE);
    }
    const probe = ({ releaseId }: { readonly releaseId: string }) => (releaseId === "rel-2" ? "530" : null);
    world.agents = { job: ({ kind }) => (kind === "pull" ? null : {}), probe };
    world.deploy();
    world.run(world.now + 25 * SECOND);
    expect([world.state("v2"), world.state("v3"), world.weights()]).toEqual([
      "rolling_back",
      "preparing",
      { v1: 10_000 },
    ]);
    world.agents = { job: () => ({}), probe };
    world.run(world.now + 5 * MINUTE);
    expect([world.state("v2"), world.state("v3"), world.weights()]).toEqual([
      "rolled_back",
      "live",
      { v3: 10_000 },
    ]);
  });

  it("and keeps no instance that was to take the place of one that is back", () => {
    const world = new World();
    world.spec = aSpec({ replicas: 2, strategy: strategyOf({}), keepMs: 10 * MINUTE });
    const silent = new Set<string>();
    world.agents = {
      job: ({ id }) => (id === "start-rel-1-3" ? null : {}),
      probe: ({ id }) => (silent.has(id) ? "answered 530" : null),
    };
    for (let n = 0; n < 2; n++) {
      world.deploy();
      world.run(world.now + MINUTE);
    }
    const [first] = world.instancesOf("v1");
    const down = { reportState: "exited", reportAt: world.now } as const;
    for (const one of [first, ...world.instancesOf("v2")]) {
      Object.assign(one ?? {}, down);
      silent.add(one?.id ?? "");
    }
    world.run(world.now + 20 * SECOND);
    expect(world.instancesOf("v1").at(-1)).toMatchObject({ id: "rel-1-3", state: "starting" });
    silent.delete(first?.id ?? "");
    Object.assign(first ?? {}, { reportState: "ready", reportAt: world.now });
    world.agents = { ...world.agents, job: () => ({}) };
    world.run(world.now + 30 * MINUTE);
    expect([world.state("v2"), world.statesOf("v1")]).toEqual([
      "rolled_back",
      ["serving", "serving", "stopped"],
    ]);
  });

  it("and stops a replacement that still starts when its release is lost and gives all away", () => {
    const world = new World();
    world.spec = aSpec({ replicas: 1, strategy: strategyOf({}), keepMs: 10 * MINUTE });
    const probe = ({ id }: { readonly id: string }) => (id === "rel-2-1" ? "530" : null);
    for (let n = 0; n < 2; n++) {
      world.deploy();
      world.run(world.now + MINUTE);
    }
    world.agents = { job: ({ id }) => (id === "start-rel-2-2" ? null : {}), probe };
    for (const one of world.instancesOf("v2"))
      Object.assign(one, { reportState: "gone", reportAt: world.now });
    world.run(world.now + 25 * SECOND);
    expect(world.weights()).toEqual({ v1: 10_000 });
    world.run(world.now + 5 * MINUTE);
    expect([world.state("v2"), world.statesOf("v2")]).toEqual(["rolled_back", ["stopped", "stopped"]]);
  });

  it("and keeps one that comes and goes for as long as it answers: it counts towards the floor", () => {
    const world = rolling({ replicas: 3 });
    const [, , weak] = world.instancesOf("v1");
    Object.assign(weak ?? {}, { exits: [world.now - 20 * SECOND, world.now - 5 * SECOND] });
    world.seen.length = 0;
    world.deploy();
    world.run();
    expect(world.state("v2")).toBe("live");
    expect(Math.min(...world.seen.map(({ serving }) => serving))).toBeGreaterThanOrEqual(3);
  });
});
