import { describe, expect, it } from "vitest";
import type { ScheduledSpec, WorkerSpec } from "../../../src/domain/processes/process.ts";
import { movingFrom } from "../../../src/domain/rollout/upkeep/stranded.ts";
import type { StrategySpec } from "../../../src/domain/spec.ts";
import { aCanary, aSpec, DIGEST, weightStep } from "../rollout/spec.ts";
import { type Job, World } from "../rollout/world.ts";

const SECOND = 1_000;
const MINUTE = 60_000;

const aWorker = (change: Partial<WorkerSpec> = {}): WorkerSpec => ({
  kind: "worker",
  command: ["npm", "run", "worker"],
  env: {},
  replicas: 2,
  stopGraceMs: 60_000,
  at: "live",
  handover: "start-first",
  health: { intervalMs: 10_000, timeoutMs: 5_000, failures: 3, deadlineMs: 60_000 },
  ...change,
});

const withWorker = (change: Partial<WorkerSpec> = {}, strategy: StrategySpec = { kind: "blue-green" }) =>
  aSpec({ processes: { worker: aWorker(change) }, strategy });

const STRATEGIES: Record<string, StrategySpec> = {
  "blue-green": { kind: "blue-green" },
  rolling: { kind: "rolling", maxSurge: { count: 1 }, maxUnavailable: { count: 0 } },
  canary: aCanary({ steps: [weightStep(1_000, 60_000), weightStep(10_000)] }),
};

/** A world in which v1 is live with its workers. */
function live(change: Partial<WorkerSpec> = {}, strategy?: StrategySpec): World {
  const world = new World();
  world.spec = withWorker(change, strategy);
  world.deploy();
  world.run(world.now + MINUTE);
  expect(world.state("v1")).toBe("live");
  return world;
}

const hostOf = (world: World, name: string) => {
  const found = world.hosts.find((host) => host.name === name);
  if (!found) throw new Error(`no host ${name}`);
  return found;
};

const isWorkerJob = (world: World, job: Job) => world.workers.some(({ id }) => id === job.instanceId);
const BROKEN = { code: "exited", message: "shop v2 exited with code 1 before it was ready", logs: ["boom"] };

/** Each moment at which workers of two releases ran at once. */
function watchOverlap(world: World): string[] {
  const seen: string[] = [];
  const apply = world.apply.bind(world);
  world.apply = (decision) => {
    apply(decision);
    const up = world.workers.filter(({ state }) => state !== "stopped");
    if (new Set(up.map(({ releaseId }) => releaseId)).size > 1) seen.push(world.running().join(", "));
  };
  return seen;
}

describe("workers beside the web", () => {
  it.each(Object.entries(STRATEGIES))(
    "start when their release has all traffic, and the old ones stop when the new are healthy: %s",
    (_, strategy) => {
      const world = live({}, strategy);
      expect(world.running()).toEqual(["v1 worker ready on anna", "v1 worker ready on bert"]);
      world.deploy();
      for (let i = 0; world.release("v2").weightBp < 10_000; i++) {
        expect(i).toBeLessThan(400);
        expect(world.running().every((one) => one.startsWith("v1 worker ready"))).toBe(true);
        if (strategy.kind === "canary") world.judge("v2", "pass");
        world.run(world.now + SECOND);
      }
      world.run(world.now + MINUTE);
      expect(world.state("v2")).toBe("live");
      expect(world.running()).toEqual(["v2 worker ready on anna", "v2 worker ready on bert"]);
      const [start] = world.jobsOf("start", "v2").filter((job) => isWorkerJob(world, job));
      const spec = start?.payload.spec as Record<string, unknown>;
      expect(spec).toMatchObject({ command: ["npm", "run", "worker"], stopGraceMs: 60_000 });
      expect(Object.keys(spec)).not.toEqual(expect.arrayContaining(["slot"]));
      const stops = world.jobsOf("stop", "v1").filter((job) => isWorkerJob(world, job));
      expect(stops.map((job) => job.payload.graceMs)).toEqual([60_000, 60_000]);
    },
  );

  it("that can't start take their release back, while the old ones work on", () => {
    const world = live();
    const before = world.running();
    world.agents.job = (job) =>
      isWorkerJob(world, job) && job.kind === "start" ? { error: BROKEN } : { digest: DIGEST };
    world.deploy();
    world.run(world.now + 10 * MINUTE);
    expect(world.state("v2")).toBe("rolled_back");
    expect(world.release("v2").failure?.message).toContain(
      "worker can't be started: bert: shop v2 exited with code 1",
    );
    expect(world.weights()).toEqual({ v1: 10_000 });
    expect(world.running()).toEqual(before);
  });

  it("in a crash loop soon after their release was switched to take it back; later it is said, once", () => {
    const world = live();
    world.deploy();
    const crash = () => {
      for (const worker of world.workers.filter(({ state }) => state === "ready"))
        worker.exits = [world.now - 2 * SECOND, world.now - SECOND];
    };
    for (let i = 0; !world.running().includes("v2 worker ready on anna"); i++) {
      expect(i).toBeLessThan(100);
      world.step();
    }
    crash();
    world.run(world.now + MINUTE);
    expect(world.state("v2")).toBe("rolled_back");
    const settled = live();
    for (const worker of settled.workers) worker.exits = [settled.now - 2 * SECOND, settled.now - SECOND];
    settled.run(settled.now + 2 * MINUTE);
    expect(settled.state("v1")).toBe("live");
    const alerts = () =>
      settled.events.filter(({ type }) => type === "worker.alert").map(({ message }) => message);
    expect(alerts()).toEqual(["v1: worker on anna ended 2 times"]);
    for (const worker of settled.workers) worker.exits = [];
    settled.settleNow();
    expect(alerts().at(-1)).toBe("v1: worker is healthy again");
  });

  it("in a crash loop on the only host, which drains, are told of once, and not at each look", () => {
    const world = live();
    for (const worker of world.workers) worker.exits = [world.now - 2 * SECOND, world.now - SECOND];
    hostOf(world, "bert").alive = false;
    hostOf(world, "anna").draining = true;
    world.run(world.now + 3 * MINUTE);
    const alerts = world.events.filter(({ type }) => type === "worker.alert").map(({ message }) => message);
    expect(alerts).toHaveLength(1);
  });

  it("of a first release that can't start are tried again, later and later, and said", () => {
    const world = new World();
    world.spec = withWorker({ replicas: 1 });
    world.agents.job = (job) => (isWorkerJob(world, job) ? { error: BROKEN } : { digest: DIGEST });
    world.deploy();
    world.run(world.now + 30 * MINUTE);
    expect(world.state("v1")).toBe("live");
    const tries = world.workers.length;
    expect(tries).toBeGreaterThan(4);
    expect(tries).toBeLessThan(14);
    world.agents.job = () => ({ digest: DIGEST });
    world.run(world.now + 10 * MINUTE);
    expect(world.running()).toHaveLength(1);
    expect(world.release("v1").workerTroubles).toEqual({});
  });

  it("with `at: start` are there before any traffic, and fail a release that nobody has seen", () => {
    const world = live({ at: "start" });
    world.agents.job = (job) => (isWorkerJob(world, job) && job.kind === "start" ? null : { digest: DIGEST });
    world.deploy();
    world.run(world.now + 10 * SECOND);
    expect(world.state("v2")).toBe("starting");
    expect(world.running()).toEqual(
      expect.arrayContaining(["v2 worker starting on anna", "v1 worker ready on anna"]),
    );
    world.agents.job = (job) =>
      isWorkerJob(world, job) && job.kind === "start" ? { error: BROKEN } : { digest: DIGEST };
    world.run(world.now + MINUTE);
    expect(world.state("v2")).toBe("failed");
    expect(world.running()).toEqual(["v1 worker ready on anna", "v1 worker ready on bert"]);
  });

  it.each(Object.entries(STRATEGIES))(
    "are put back by a rollback, and those of the bad release stop at once: %s",
    (_, strategy) => {
      const world = live({}, strategy);
      world.deploy();
      for (let i = 0; world.state("v2") !== "live"; i++) {
        expect(i).toBeLessThan(400);
        if (strategy.kind === "canary") world.judge("v2", "pass");
        world.run(world.now + SECOND);
      }
      world.run(world.now + MINUTE);
      expect(world.running().every((one) => one.startsWith("v2"))).toBe(true);
      expect(world.rollback().ok).toBe(true);
      world.run(world.now + 10 * MINUTE);
      const serving = Object.keys(world.weights())[0];
      expect(world.running()).toEqual([`${serving} worker ready on anna`, `${serving} worker ready on bert`]);
      expect(serving).not.toBe("v2");
    },
  );

  it("that a release has no more stop with the switch; new ones come with it", () => {
    const world = live();
    world.spec = aSpec({ processes: { mailer: aWorker({ replicas: 1 }) } });
    world.deploy();
    world.run(world.now + MINUTE);
    expect(world.running()).toEqual(["v2 mailer ready on anna"]);
  });
});

describe("workers and hosts", () => {
  it("are placed elsewhere when their host is lost, and are no more than wanted when it is back", () => {
    const world = live();
    const anna = world.hosts.find(({ name }) => name === "anna");
    if (!anna) throw new Error("no anna");
    anna.alive = false;
    world.now += 2 * MINUTE;
    world.run(world.now + MINUTE);
    expect(world.running().filter((one) => one.includes("ready on bert"))).toHaveLength(2);
    anna.alive = true;
    world.run(world.now + MINUTE);
    expect(world.running()).toEqual(["v1 worker ready on bert", "v1 worker ready on bert"]);
  });

  it.each(["start-first", "stop-first"] as const)(
    "leave a host that is to be emptied by their handover: %s",
    (handover) => {
      const world = live({ handover });
      hostOf(world, "anna").draining = true;
      let fewest = 2;
      for (let step = 0; step < 200; step++) {
        world.step();
        world.now += 250;
        fewest = Math.min(fewest, world.running().filter((one) => one.includes(" ready ")).length);
      }
      expect(world.running()).toEqual(["v1 worker ready on bert", "v1 worker ready on bert"]);
      expect(fewest).toBe(handover === "start-first" ? 2 : 1);
    },
  );

  it.each(["start-first", "stop-first"] as const)(
    "stay on a host that is to be emptied while no other could take them: %s",
    (handover) => {
      const world = live({ handover });
      hostOf(world, "anna").draining = true;
      hostOf(world, "bert").draining = true;
      const before = world.running();
      world.run(world.now + 5 * MINUTE);
      expect(world.running()).toEqual(before);
      expect(world.events.filter(({ type }) => type === "worker.alert")).toEqual([]);
      hostOf(world, "bert").draining = false;
      world.run(world.now + MINUTE);
      expect(world.running()).toEqual(["v1 worker ready on bert", "v1 worker ready on bert"]);
    },
  );

  it("are named, with the schedules, before the only host that could run them is emptied", () => {
    const backup: ScheduledSpec = {
      ...{ kind: "scheduled", command: ["backup"], env: {}, overlap: "skip", deadlineMs: MINUTE },
      schedule: { cron: "0 3 * * *", zone: "UTC" },
    };
    const world = live();
    world.release("v1").spec = aSpec({ processes: { worker: aWorker(), backup } });
    hostOf(world, "bert").alive = false;
    world.now += 2 * MINUTE;
    world.settleNow();
    const { stranded } = movingFrom(world.facts(), "host-anna", world.now);
    expect(stranded.join("\n")).toMatch(/of the process worker there[\s\S]*the schedule of backup/);
  });
});

describe("a worker that stops before it has started", () => {
  it("is not started any more by a host that comes to it later", () => {
    const world = live({ replicas: 1 });
    const isStart = (job: Job) => job.kind === "start" && isWorkerJob(world, job);
    world.agents = { ...world.agents, job: (job) => (isStart(job) ? null : { digest: DIGEST }) };
    world.deploy();
    world.run(world.now + 5 * SECOND);
    const [start] = world.jobs.filter((job) => isStart(job) && job.releaseId === world.release("v2").id);
    expect(start?.state).toBe("queued");
    world.rollback();
    world.run(world.now + 5 * SECOND);
    expect(world.jobs.find(({ id }) => id === start?.id)?.state).toBe("cancelled");
  });
});

describe("a singleton (`handover: stop-first`)", () => {
  const SINGLE = { replicas: 1, handover: "stop-first" } as const;

  it.each(Object.entries(STRATEGIES))("never runs twice, forth or back: %s", (_, strategy) => {
    const world = live(SINGLE, strategy);
    const overlaps = watchOverlap(world);
    world.deploy();
    for (let i = 0; world.state("v2") !== "live"; i++) {
      expect(i).toBeLessThan(400);
      if (strategy.kind === "canary") world.judge("v2", "pass");
      world.run(world.now + SECOND);
    }
    world.run(world.now + MINUTE);
    expect(world.running()).toEqual([expect.stringContaining("v2 worker ready")]);
    world.rollback();
    world.run(world.now + 10 * MINUTE);
    expect(world.running()).toEqual([expect.stringMatching(/^v1\S* worker ready/)]);
    expect(overlaps).toEqual([]);
  });

  it("is not started beside one that may still run on a silent host, and says so; it starts when that one is removed", () => {
    const world = live(SINGLE);
    const [home] = world.workers.map(({ hostName }) => hostName);
    const host = world.hosts.find(({ name }) => name === home);
    if (!host) throw new Error("no host");
    host.alive = false;
    world.now += 2 * MINUTE;
    world.run(world.now + 5 * MINUTE);
    expect(world.running()).toEqual([`v1 worker stopping on ${home}`]);
    const told = `it may still run on ${home}, which is not heard from`;
    expect(world.events.some(({ message }) => message.includes(told))).toBe(true);
    // As `hosts remove` leaves it.
    world.hosts = world.hosts.filter(({ name }) => name !== home);
    for (const worker of world.workers) Object.assign(worker, { state: "stopped", stoppedAt: world.now });
    for (const row of world.instances.filter(({ hostName }) => hostName === home))
      Object.assign(row, { state: "stopped", stoppedAt: world.now });
    world.run(world.now + MINUTE);
    expect(world.running()).toEqual([expect.stringContaining("v1 worker ready")]);
  });

  it("that ignores SIGTERM is said to have been killed, and only then replaced", () => {
    const world = live(SINGLE);
    const overlaps = watchOverlap(world);
    world.deploy();
    for (const job of world.jobs) if (job.kind === "stop") job.result = { killed: true };
    const report = world.report.bind(world);
    world.report = (job, answer) => {
      report(job, answer);
      if (job.kind === "stop" && isWorkerJob(world, job)) job.result = { killed: true };
    };
    world.run(world.now + MINUTE);
    expect(world.running()).toEqual([expect.stringContaining("v2 worker ready")]);
    expect(overlaps).toEqual([]);
  });
});
