import { describe, expect, it } from "vitest";
import { aSpec, DIGEST, OTHER_DIGEST } from "./spec.ts";
import { World } from "./world.ts";

const SECOND = 1_000;
const MINUTE = 60_000;

describe("a blue-green release", () => {
  it("is live at once when nothing served before", () => {
    const world = new World();
    world.deploy();
    world.run();
    expect(world.state("v1")).toBe("live");
    expect(world.weights()).toEqual({ v1: 10_000 });
    expect(world.statesOf("v1")).toEqual(["serving", "serving"]);
    expect(world.stable).toBe("rel-1");
  });

  it("takes over in one table version, with the old one warm, then gone", () => {
    const world = new World();
    world.deploy();
    world.run();
    world.deploy();
    expect(world.tables).toEqual([{}, { v1: 10_000 }, { v2: 10_000 }]);
    expect(world.statesOf("v1")).toEqual(["draining", "draining"]);
    const start = world.now;
    world.run(start + 33 * SECOND);
    expect(world.statesOf("v1")).toEqual(["warm", "warm"]);
    expect([world.state("v1"), world.state("v2")]).toEqual(["superseded", "live"]);
    world.run(start + 10 * MINUTE - 1);
    expect(world.statesOf("v1")).toEqual(["warm", "warm"]);
    world.run();
    expect(world.statesOf("v1")).toEqual(["stopped", "stopped"]);
    expect(world.now).toBe(start + 10 * MINUTE);
  });

  it("drains to its end even where the manifest keeps shorter than it drains", () => {
    const world = new World();
    world.spec = aSpec({ keepMs: 1_000, drainMs: 60_000 });
    world.deploy();
    world.deploy();
    const start = world.now;
    world.run(start + 62_999);
    expect(world.statesOf("v1")).toEqual(["draining", "draining"]);
    world.run();
    expect(world.statesOf("v1")).toEqual(["stopped", "stopped"]);
    expect(world.now).toBe(start + 63_000);
  });

  it("runs what was pulled, pinned, on every host", () => {
    const world = new World();
    const release = world.deploy({ image: ":2026.11" });
    expect(release.image).toBe("ghcr.io/acme/shop:2026.11");
    expect(world.jobsOf("pull", "v1").map((job) => job.payload.image)).toEqual([
      release.image,
      release.image,
    ]);
    const images = world.jobsOf("start", "v1").map((job) => (job.payload.spec as { image: string }).image);
    expect(images).toEqual([release.pinnedImage, release.pinnedImage]);
    expect(release.pinnedImage).toBe(`ghcr.io/acme/shop@${DIGEST}`);
  });

  it("lets no agent name the image of other hosts, not in hooks either", () => {
    const world = new World();
    world.spec = aSpec({ hooks: { expand: ["migrate"] } });
    const release = world.deploy({ image: `@${DIGEST}` });
    world.run();
    expect(release.pinnedImage).toBe(`ghcr.io/acme/shop@${DIGEST}`);
    expect(JSON.stringify(world.jobs.map(({ payload }) => payload))).not.toContain("evil.example");
    expect(world.state("v1")).toBe("live");
  });

  it("fails when the hosts agree on another digest than the one asked for, or on none", () => {
    const world = new World();
    world.agents = { ...world.agents, job: () => ({ digest: OTHER_DIGEST }) };
    world.deploy({ image: `@${DIGEST}` });
    expect(world.state("v1")).toBe("failed");
    expect(world.release("v1").failure).toMatchObject({
      code: "image_differs",
      message: expect.stringContaining(`which is not ghcr.io/acme/shop@${DIGEST}`),
    });
    for (const digest of ["", "latest", "sha256:1", `x@${DIGEST}`, `${DIGEST}\n`]) {
      world.agents = { ...world.agents, job: () => ({ digest }) };
      const release = world.deploy({ image: ":2026.12" });
      expect([release.version, world.state(release.version)]).toEqual([release.version, "failed"]);
      expect(release.pinnedImage).toBeNull();
    }
  });

  it("names jobs within the wire's 64 characters, with ids as long as control makes them", () => {
    const world = new World();
    for (const host of world.hosts) host.id = `host_${"x".repeat(26)}`.slice(0, 30) + host.name[0];
    world.deploy({ id: `rel_${"x".repeat(26)}` });
    world.deploy();
    world.run();
    expect(world.jobs.length).toBeGreaterThan(5);
    for (const job of world.jobs) expect(job.id.length, job.id).toBeLessThanOrEqual(64);
  });

  it("keeps the time each state took", () => {
    const world = new World();
    world.agents = { ...world.agents, job: (job) => (job.kind === "pull" ? null : {}) };
    world.deploy();
    world.now += 7 * SECOND;
    for (const job of world.jobs) world.report(job, {});
    world.run();
    expect(world.release("v1").timings).toMatchObject({ preparing: 7_000, settling: 3_000 });
  });
});

describe("a release that never gets ready", () => {
  const logs = ["listening soon", "out of patience"];
  const ready = "http://127.0.0.1:20002/ready";
  it.each([
    ["image_not_found", "pull", {}, undefined],
    ["image_unauthorized", "pull", {}, undefined],
    [
      "exited",
      "start",
      { exitCode: 3 },
      { name: "process", value: "exited with code 3", limit: "keeps running" },
    ],
    [
      "health_status",
      "start",
      { probe: { url: ready, status: 503 } },
      { name: `GET ${ready}`, value: "503", limit: "2xx" },
    ],
    [
      "health_redirect",
      "start",
      { probe: { url: ready, status: 302 } },
      { name: `GET ${ready}`, value: "302", limit: "2xx" },
    ],
    [
      "port_closed",
      "start",
      { probe: { url: ready, error: "ECONNREFUSED" } },
      { name: `GET ${ready}`, value: "ECONNREFUSED", limit: "2xx" },
    ],
    [
      "health_timeout",
      "start",
      { probe: { url: ready } },
      { name: `GET ${ready}`, value: "no answer", limit: "2xx" },
    ],
    ["start_failed", "start", {}, undefined],
  ] as const)("leaves the old one serving and tells why: %s", (code, kind, facts, check) => {
    const world = new World();
    world.deploy();
    world.run();
    const error = { code, message: `it was ${code}`, logs, ...facts };
    world.agents = {
      ...world.agents,
      job: (job) => (job.kind === kind && job.hostId === "host-bert" ? { error } : {}),
    };
    world.deploy();
    world.run();
    const failed = world.release("v2");
    expect(failed.state).toBe("failed");
    expect(failed.failure).toMatchObject({ code, message: `bert: it was ${code}`, host: "bert", logs });
    expect(failed.failure?.check).toEqual(check);
    expect(world.weights()).toEqual({ v1: 10_000 });
    expect(world.statesOf("v1")).toEqual(["serving", "serving"]);
    expect(world.statesOf("v2")).toEqual(["stopped", "stopped"]);
    expect(world.tables).toEqual([{}, { v1: 10_000 }]);
  });

  it("is refused where the hosts hold different images under one tag", () => {
    const world = new World();
    world.agents = {
      ...world.agents,
      job: (job) => (job.hostId === "host-bert" ? { digest: OTHER_DIGEST } : {}),
    };
    world.deploy({ image: ":latest" });
    world.run();
    expect(world.release("v1").failure).toMatchObject({ code: "image_differs" });
    expect(world.release("v1").failure?.message).toMatch(
      /anna has sha256:abab.*bert has sha256:cdcd.*by digest/,
    );
  });

  it("fails by its own deadline when a host takes no job, and says which", () => {
    const world = new World();
    world.deploy();
    const bert = world.hosts.find(({ name }) => name === "bert");
    if (bert) bert.alive = false;
    world.deploy();
    world.run(world.now + 11 * MINUTE);
    expect(world.state("v2")).toBe("failed");
    const { failure } = world.release("v2");
    expect(failure).toMatchObject({ code: "deadline" });
    expect(failure?.message).toMatch(/^preparing took longer than 600 s: bert has not taken the pull job/);
    expect(world.weights()).toEqual({ v1: 10_000 });
  });

  it.each(["pull", "start"] as const)(
    "ends when a %s is never finished, with the job's last word",
    (kind) => {
      const world = new World();
      world.agents = {
        ...world.agents,
        job: (job) => {
          if (job.kind !== kind) return {};
          Object.assign(job, { state: "leased", progress: "layer 3 of 9" });
          return null;
        },
      };
      world.deploy();
      const overdue = world.jobs.find((job) => job.kind === kind)?.deadlineAt ?? 0;
      for (const host of world.hosts) host.alive = false;
      world.run();
      expect(world.now).toBeGreaterThanOrEqual(overdue);
      expect(world.state("v1")).toBe("failed");
      expect(world.release("v1").failure?.message).toContain(`anna still works on ${kind} (layer 3 of 9)`);
    },
  );

  it("ends when an instance stays silent on its real path, with what the last probe saw", () => {
    const world = new World();
    world.deploy();
    world.run();
    world.agents = {
      ...world.agents,
      probe: ({ origin }) => (origin.includes("bert") ? "answered 530" : null),
    };
    world.deploy();
    expect(world.state("v2")).toBe("verifying");
    world.run();
    expect(world.release("v2").failure?.message).toMatch(
      /^verifying took longer than 60 s: http:\/\/bert.test:\d+ on bert: answered 530$/,
    );
    expect(world.weights()).toEqual({ v1: 10_000 });
    expect(world.statesOf("v2")).toEqual(["stopped", "stopped"]);
  });

  it("gives back what it was shifting when its deadline came before its traffic", () => {
    const world = new World();
    world.deploy();
    world.run();
    world.deploy();
    Object.assign(world.release("v1"), { weightBp: 10_000, state: "live" });
    Object.assign(world.release("v2"), {
      weightBp: 0,
      state: "shifting",
      deadlineAt: world.now,
      stepIndex: 0,
    });
    for (const instance of world.instancesOf("v1")) instance.state = "serving";
    for (const instance of world.instancesOf("v2")) instance.state = "ready";
    world.run();
    expect(world.state("v2")).toBe("rolled_back");
    expect(world.release("v2").failure?.code).toBe("deadline");
    expect(world.weights()).toEqual({ v1: 10_000 });
  });
});

describe("stopping", () => {
  it("is asked again until the host says that the container is gone", () => {
    const world = new World();
    let refusals = 2;
    const error = { code: "runtime_unavailable", message: "no engine", logs: [] };
    world.agents = {
      ...world.agents,
      job: (job) => (job.kind === "stop" && job.hostId === "host-anna" && refusals-- > 0 ? { error } : {}),
    };
    world.deploy();
    world.deploy();
    world.run();
    expect(world.jobsOf("stop", "v1").map(({ id, state }) => `${id} ${state}`)).toEqual([
      "stop-rel-1-1-1 failed",
      "stop-rel-1-2-1 done",
      "stop-rel-1-1-2 failed",
      "stop-rel-1-1-3 done",
    ]);
    expect(world.statesOf("v1")).toEqual(["stopped", "stopped"]);
  });

  it("holds the slot for as long as the host is away", () => {
    const world = new World({ anna: 2, bert: 4 });
    world.deploy();
    for (const host of world.hosts) host.alive = host.name !== "anna";
    world.now += 2 * MINUTE;
    world.deploy();
    world.run(world.now + 30 * MINUTE);
    expect(world.statesOf("v1")).toEqual(["stopping", "stopped"]);
    expect(world.instancesOf("v2").map(({ hostName }) => hostName)).toEqual(["bert", "bert"]);
    for (const host of world.hosts) host.alive = true;
    world.run();
    expect(world.statesOf("v1")).toEqual(["stopped", "stopped"]);
  });
});
