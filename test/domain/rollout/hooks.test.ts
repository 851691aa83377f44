import { describe, expect, it } from "vitest";
import { aCanary, aSpec } from "./spec.ts";
import { type Job, World } from "./world.ts";

const MINUTE = 60_000;
const dead = { code: "hook_failed", message: "it exited with code 3", exitCode: 3, logs: ["no such table"] };
const answers = (kind: string, answer: ReturnType<World["agents"]["job"]>) => (job: Job) =>
  job.kind === kind ? answer : {};

function hooked(hooks: { expand?: string[]; contract?: string[] } = { expand: ["migrate", "up"] }): World {
  const world = new World();
  world.deploy();
  world.run();
  world.spec = aSpec({ hooks });
  return world;
}
const runs = (world: World) => world.jobs.filter(({ kind }) => kind === "run");

describe("the expand hook", () => {
  it("runs once, in the new image, before anything of the release starts", () => {
    const world = hooked();
    world.agents = { ...world.agents, job: answers("run", null) };
    world.deploy();
    expect(world.state("v2")).toBe("preparing");
    expect(world.jobsOf("start", "v2")).toEqual([]);
    const [job] = runs(world);
    expect(job?.payload).toMatchObject({ hook: "expand", command: ["migrate", "up"], version: "v2" });
    expect(job?.payload.image).toContain("@sha256:");
    world.agents = { ...world.agents, job: () => ({}) };
    world.run();
    expect([world.state("v2"), runs(world).length]).toEqual(["live", 1]);
  });

  it.each([
    ["fails", { error: dead }, "hook_failed"],
    ["hangs, or its host is lost", null, "deadline"],
  ] as const)("that %s ends the release with the old one untouched", (_, answer, code) => {
    const world = hooked();
    world.agents = { ...world.agents, job: answers("run", answer) };
    world.deploy();
    world.run();
    expect([world.state("v1"), world.state("v2")]).toEqual(["live", "failed"]);
    expect(world.release("v2").failure).toMatchObject({ code });
    expect(world.statesOf("v1")).toEqual(["serving", "serving"]);
    expect(runs(world)).toHaveLength(1);
  });

  it("has its own deadline, beyond the one for pulling", () => {
    const world = hooked();
    world.spec = {
      ...world.spec,
      deadlines: { ...world.spec.deadlines, prepareMs: MINUTE, hookMs: 20 * MINUTE },
    };
    world.agents = { ...world.agents, job: answers("run", null) };
    world.deploy();
    world.run(world.now + 19 * MINUTE);
    expect(world.state("v2")).toBe("preparing");
    world.agents = { ...world.agents, job: () => ({}) };
    world.run();
    expect(world.state("v2")).toBe("live");
  });

  it.each(["abort", "supersede"] as const)("is never run again after %s", (way) => {
    const world = hooked();
    world.agents = { ...world.agents, job: answers("run", null) };
    world.deploy();
    if (way === "abort") world.abort("v2");
    else world.create({ whenBusy: "supersede" });
    world.run();
    expect(runs(world).filter(({ releaseId }) => releaseId === "rel-2")).toHaveLength(1);
    expect(new Set(runs(world).map(({ id }) => id)).size).toBe(runs(world).length);
  });

  it("is not run for a rollback, and before a rolling release too", () => {
    const world = hooked();
    world.spec = aSpec({
      hooks: { expand: ["up"] },
      keepMs: 0,
      strategy: { kind: "rolling", maxSurge: { count: 1 }, maxUnavailable: { count: 0 } },
    });
    world.deploy();
    world.run();
    world.deploy();
    world.run();
    world.rollback();
    world.run();
    expect(world.state("v2-again")).toBe("live");
    expect(runs(world).map(({ id }) => id)).toEqual(["expand-rel-2", "expand-rel-3"]);
  });
});

describe("the contract hook", () => {
  it("runs once, after the rollback window, when the older instances are gone", () => {
    const world = hooked({ contract: ["migrate", "down"] });
    world.deploy();
    const served = world.now;
    world.run(served + 10 * MINUTE - 1);
    expect(runs(world)).toEqual([]);
    world.run();
    expect(runs(world)).toHaveLength(1);
    expect(runs(world)[0]?.createdAt).toBeGreaterThanOrEqual(served + 10 * MINUTE);
    expect(world.release("v2").contractedAt).not.toBeNull();
    world.run(world.now + 24 * 60 * MINUTE);
    expect(runs(world)).toHaveLength(1);
    expect(world.events.filter(({ message }) => message.includes("contract hook is done"))).toHaveLength(1);
  });

  it("waits for an old instance whose host does not answer", () => {
    const world = hooked({ contract: ["down"] });
    world.deploy();
    for (const host of world.hosts) if (host.name === "bert") host.alive = false;
    world.run(world.now + 60 * MINUTE);
    expect(runs(world)).toEqual([]);
    for (const host of world.hosts) host.alive = true;
    world.run();
    expect(runs(world)).toHaveLength(1);
  });

  it.each([
    { silent: ["anna"], at: ["host-bert"] },
    { silent: ["anna", "bert"], at: [] },
  ])("runs on a host that is heard from, and waits for one where $silent is silent", ({ silent, at }) => {
    const world = new World();
    world.spec = aSpec({ hooks: { contract: ["down"] } });
    world.deploy();
    const first = world.instancesOf("v1").map(({ hostName }) => hostName);
    expect(first).toEqual(["anna", "bert"]);
    world.run(world.now + 8 * MINUTE);
    for (const host of world.hosts) if (silent.includes(host.name)) host.alive = false;
    world.run(world.now + 2 * MINUTE + 1_000);
    expect(runs(world).map(({ hostId }) => hostId)).toEqual(at);
    for (const host of world.hosts) host.alive = true;
    world.run(world.now + 30 * MINUTE);
    expect(runs(world)).toHaveLength(1);
    expect(world.release("v1").timings.contract).toBeDefined();
    expect(world.release("v1").failure).toBeNull();
  });

  it("waits while a newer release is being prepared, and leaves its data to that one", () => {
    const world = hooked({ contract: ["down"] });
    world.deploy();
    world.run(world.now + 9 * MINUTE);
    world.create();
    world.until("v3", "starting");
    world.agents = { ...world.agents, job: answers("start", null) };
    world.run(world.now + MINUTE / 2);
    world.now += 2 * MINUTE;
    expect(runs(world)).toEqual([]);
  });

  it("is not run for a rollback", () => {
    const world = hooked({ contract: ["down"] });
    world.spec = { ...world.spec, keepMs: 0 };
    world.deploy();
    world.run();
    const before = runs(world).length;
    world.deploy();
    world.rollback("v2");
    world.run();
    expect(
      runs(world).filter(
        ({ releaseId }) => world.releases.find((r) => r.id === releaseId)?.kind === "rollback",
      ),
    ).toEqual([]);
    expect(before).toBe(1);
  });

  it("that fails is reported, not run again, and the release goes on serving", () => {
    const world = hooked({ contract: ["down"] });
    world.agents = { ...world.agents, job: answers("run", { error: dead }) };
    world.deploy();
    world.run();
    expect([world.state("v2"), world.weights()]).toEqual(["live", { v2: 10_000 }]);
    expect(world.release("v2").failure).toMatchObject({ code: "hook_failed", logs: ["no such table"] });
    expect(runs(world)).toHaveLength(1);
    expect(world.events.filter(({ message }) => message.includes("is not run again"))).toHaveLength(1);
  });

  it("that never ends is given up, and said so", () => {
    const world = hooked({ contract: ["down"] });
    world.deploy();
    world.run(world.now + 9 * MINUTE);
    world.agents = { ...world.agents, job: answers("run", null) };
    world.run();
    expect(runs(world).map(({ state }) => state)).not.toContain("queued");
    expect(world.release("v2").failure).not.toBeNull();
  });

  it.each(["done", "failed", "running"] as const)("that was begun (%s) forbids a rollback past it", (how) => {
    const world = hooked({ contract: ["down"] });
    const answer = { done: {}, failed: { error: dead }, running: null }[how];
    world.agents = { ...world.agents, job: answers("run", answer) };
    world.deploy();
    world.run(world.now + 12 * MINUTE);
    const back = world.rollback("v1");
    expect(back).toMatchObject({ ok: false, error: { code: "rollback_impossible" } });
    expect(back.ok ? "" : back.error.detail).toContain("contract migration of v2");
  });

  it("runs after a canary and a rolling release too", () => {
    for (const strategy of [
      aCanary({ analysis: { enabled: false } }),
      { kind: "rolling", maxSurge: { count: 1 }, maxUnavailable: { count: 0 } } as const,
    ]) {
      const world = hooked({ contract: ["down"] });
      world.spec = { ...world.spec, strategy };
      world.deploy();
      world.run();
      expect(runs(world)).toHaveLength(1);
    }
  });
});

describe("two hooks", () => {
  const only = (world: World) => runs(world).filter(({ finishedAt }) => finishedAt === null);
  function leased(world: World): void {
    for (const job of runs(world)) if (job.state === "queued") job.state = "leased";
  }

  it("never run at once: one that has begun is left to its end when its release is aborted", () => {
    const world = hooked();
    world.agents = { ...world.agents, job: answers("run", null) };
    world.deploy();
    leased(world);
    world.abort("v2");
    expect(runs(world).map(({ state }) => state)).toEqual(["leased"]);
    world.deploy();
    world.run(world.now + MINUTE);
    expect([world.state("v3"), only(world).length]).toEqual(["preparing", 1]);
    const [first] = runs(world);
    if (first) world.report(first, {});
    world.settleNow();
    expect(only(world).map(({ id }) => id)).toEqual(["expand-rel-3"]);
    world.agents = { ...world.agents, job: () => ({}) };
    world.run();
    expect(world.state("v3")).toBe("live");
  });

  it("one that was not begun yet is taken back", () => {
    const world = hooked();
    world.agents = { ...world.agents, job: answers("run", null) };
    world.deploy();
    world.abort("v2");
    expect(runs(world).map(({ state }) => state)).toEqual(["cancelled"]);
  });

  it("a contract and the next expand neither", () => {
    const world = hooked({ expand: ["up"], contract: ["down"] });
    world.spec = { ...world.spec, keepMs: MINUTE };
    world.deploy();
    world.agents = { ...world.agents, job: answers("run", null) };
    world.run(world.now + 11 * MINUTE);
    expect(only(world).map(({ id }) => id)).toEqual(["contract-rel-2"]);
    leased(world);
    world.deploy();
    world.run(world.now + MINUTE);
    expect(only(world)).toHaveLength(1);
  });

  it("one whose host is gone for good holds nobody up for longer than its deadline", () => {
    const world = hooked();
    world.agents = { ...world.agents, job: answers("run", null) };
    world.deploy();
    leased(world);
    world.abort("v2");
    world.deploy();
    world.agents = { ...world.agents, job: (job) => (job.id === "expand-rel-2" ? null : {}) };
    const [first] = runs(world);
    // Whoever holds it never answers, not even that it is overdue.
    if (first) first.hostId = "host-gone";
    world.run(world.now + 20 * MINUTE);
    expect(first?.state).toBe("cancelled");
    expect(["settling", "live"]).toContain(world.state("v3"));
  });
});
