import { describe, expect, it } from "vitest";
import { createRun, stopRun } from "../../../src/domain/commands/runs.ts";
import { restart, scale } from "../../../src/domain/commands/scale.ts";
import type { WorkerSpec } from "../../../src/domain/processes/process.ts";
import { aSpec, DIGEST } from "../rollout/spec.ts";
import { World } from "../rollout/world.ts";

const MINUTE = 60_000;
const worker: WorkerSpec = {
  kind: "worker",
  command: ["npm", "run", "worker"],
  env: {},
  replicas: 1,
  stopGraceMs: 10_000,
  at: "live",
  handover: "start-first",
  health: { intervalMs: 10_000, timeoutMs: 5_000, failures: 3, deadlineMs: 60_000 },
};

function live(): World {
  const world = new World();
  world.spec = aSpec({ processes: { worker }, hooks: { expand: ["npm", "run", "migrate"] } });
  world.deploy();
  world.run(world.now + MINUTE);
  expect(world.state("v1")).toBe("live");
  return world;
}

const again = (world: World) => ({ id: `again-${world.releases.length}`, actor: "ann" });

describe("restart", () => {
  it("starts what is live anew without hooks or steps, with somebody answering all along", () => {
    const world = live();
    const hooks = () => world.jobs.filter(({ kind }) => kind === "run").length;
    const before = hooks();
    const apply = world.apply.bind(world);
    let fewest = Number.POSITIVE_INFINITY;
    world.apply = (decision) => {
      apply(decision);
      fewest = Math.min(fewest, world.instances.filter(({ state }) => state === "serving").length);
    };
    expect(world.command((facts, now) => restart(facts, again(world), now)).ok).toBe(true);
    world.run(world.now + 10 * MINUTE);
    expect(world.state("v1-restart")).toBe("live");
    expect(world.release("v1-restart")).toMatchObject({
      kind: "restart",
      image: world.release("v1").pinnedImage,
    });
    expect(hooks()).toBe(before);
    expect(fewest).toBeGreaterThanOrEqual(2);
    expect(world.running()).toEqual([expect.stringContaining("v1-restart worker ready")]);
  });

  it("is refused while something is on its way, and where nothing is live", () => {
    const world = live();
    world.agents.job = () => null;
    world.deploy();
    const made = world.command((facts, now) => restart(facts, again(world), now));
    expect(made).toMatchObject({ ok: false, error: { code: "release_in_progress" } });
    const empty = new World().command((facts, now) => restart(facts, { id: "a", actor: "ann" }, now));
    expect(empty).toMatchObject({ ok: false, error: { code: "not_found" } });
  });
});

describe("scale", () => {
  const to = (world: World, counts: Record<string, number>) =>
    world.command((facts, now) => scale(facts, { ...again(world), counts }, now));

  it("lets workers come and go at once, and holds for the releases that follow", () => {
    const world = live();
    expect(to(world, { worker: 3 }).ok).toBe(true);
    world.run(world.now + MINUTE);
    expect(world.running()).toHaveLength(3);
    expect(to(world, { worker: 0 }).ok).toBe(true);
    world.run(world.now + MINUTE);
    expect(world.running()).toEqual([]);
    to(world, { worker: 2 });
    world.deploy();
    world.run(world.now + MINUTE);
    expect(world.running()).toHaveLength(2);
    expect(world.state("v2")).toBe("live");
  });

  it("brings web to another number one by one", () => {
    const world = live();
    to(world, { web: 4 });
    world.run(world.now + 10 * MINUTE);
    expect(world.state("v1-web-4")).toBe("live");
    expect(world.statesOf("v1-web-4").filter((state) => state === "serving")).toHaveLength(4);
  });

  it.each([
    [{ nobody: 2 }, "there is no worker `nobody`"],
    [{ web: 0 }, "web can't be 0"],
  ])("refuses %j in words", (counts, words) => {
    const made = to(live(), counts as Record<string, number>);
    expect(made.ok ? "" : made.error.detail).toContain(words);
  });
});

describe("a person's command", () => {
  it("runs in the live image, is in the audit log, and can be ended", () => {
    const world = live();
    world.agents.job = (job) => (job.kind === "command" ? null : { digest: DIGEST });
    const order = { id: "run-1", command: ["npm", "run", "report"], deadlineMs: MINUTE, actor: "ann" };
    expect(world.command((facts, now) => createRun(facts, order, now)).ok).toBe(true);
    const [job] = world.jobs.filter(({ kind }) => kind === "command");
    expect(job?.payload).toMatchObject({
      command: order.command,
      process: "",
      image: world.release("v1").pinnedImage,
    });
    expect(
      world.events.some(({ actor, message }) => actor === "ann" && message.includes("npm run report")),
    ).toBe(true);
    if (job) job.state = "leased";
    world.settleNow();
    expect(world.runs[0]?.state).toBe("running");
    world.command((facts, now) => stopRun(facts, { run: "run-1", actor: "ann" }, now));
    expect(world.jobs.some(({ kind, payload }) => kind === "stop" && payload.instance === "run-1")).toBe(
      true,
    );
    const error = { code: "command_failed", message: "it was ended as asked", signal: "SIGTERM", logs: [] };
    if (job) world.report(job, { error });
    world.settleNow();
    expect(world.runs[0]).toMatchObject({ state: "stopped", cause: "ended by ann" });
  });
});
