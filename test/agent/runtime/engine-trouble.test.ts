import { chmod, mkdtemp, rm } from "node:fs/promises";
import type http from "node:http";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import { createDockerRuntime } from "../../../agent/runtime/docker/docker.ts";
import { createEngine } from "../../../agent/runtime/docker/engine.ts";
import { pullMessageSchema, pullProgress } from "../../../agent/runtime/docker/progress.ts";
import { type FakeEngine, fakeEngine, refuse } from "../../support/engine/fake-engine.ts";
import { agentBench } from "../running-agent.ts";
import { specOf } from "../specs.ts";

const digest = `sha256:${"a".repeat(64)}`;
const image = `ghcr.io/acme/shop@${digest}`;
const never = new AbortController().signal;
const quiet = () => {};
const spec = specOf({ instance: "ins-1", image, hostPort: 20_003 });

let fake: FakeEngine | undefined;
afterEach(async () => {
  await fake?.close();
  fake = undefined;
});

async function runtimeOn(...args: Parameters<typeof fakeEngine>) {
  fake = await fakeEngine(...args);
  return { runtime: createDockerRuntime({ host: "host-1", engine: fake.engine }), fake };
}

const asks = (request: http.IncomingMessage, method: string, part: string) =>
  request.method === method && (request.url ?? "").includes(part);
const container = (status: string, exitCode = 0) => ({
  Id: "c1",
  Name: "/c1",
  Config: { Image: image },
  HostConfig: {},
  State: { Status: status, ExitCode: exitCode, OOMKilled: false, StartedAt: "2026-01-01T00:00:00Z" },
  NetworkSettings: { Networks: {} },
});

describe("an engine that restarts", () => {
  test("in the middle of a pull costs only time: it is asked again when it is back", async () => {
    let pulls = 0;
    const { runtime, fake } = await runtimeOn((request, response) => {
      if (!asks(request, "POST", "/images/create")) return undefined;
      pulls += 1;
      response.write(`${JSON.stringify({ status: "Pulling fs layer", id: "l1" })}\n`);
      if (pulls === 1) return setImmediate(() => response.destroy());
      return response.end(`${JSON.stringify({ status: `Digest: ${digest}` })}\n`);
    });
    expect(await runtime.pull({ image: "ghcr.io/acme/shop:v1" }, quiet, never)).toEqual({
      ok: true,
      value: { image, digest },
    });
    expect(pulls).toBe(2);
    // It may have come back as another.
    expect(fake.asked.filter((one) => one === "GET /version")).toHaveLength(2);
  });

  test("and does not come back within the job's time, is told as away and not as a missing image", async () => {
    const { runtime, fake } = await runtimeOn((request, response) => {
      if (asks(request, "POST", "/images/create")) void fake.goAway();
      else refuse(response, 404, "no such image");
    });
    const outcome = await runtime.pull({ image }, quiet, AbortSignal.timeout(700));
    expect(outcome).toMatchObject({
      ok: false,
      error: {
        code: "runtime_unavailable",
        message: expect.stringMatching(/broke the connection off in the middle/),
      },
    });
  });

  test("in the middle of a start finds the container it had made, and starts no second", async () => {
    let made = 0;
    let state: string | undefined;
    const { runtime } = await runtimeOn((request, response) => {
      if (asks(request, "GET", "-ins-1/json")) return state && container(state);
      if (asks(request, "POST", "/containers/create")) {
        made += 1;
        state = "created";
        return {};
      }
      if (asks(request, "POST", "/start")) {
        // Done, but the answer is lost.
        state = "running";
        return response.destroy();
      }
      return undefined;
    });
    expect(await runtime.start(spec)).toMatchObject({ ok: true, value: { runtimeId: "c1" } });
    expect(made).toBe(1);
  });

  test("while an instance is waited for says nothing about the instance", async () => {
    let waits = 0;
    const { runtime } = await runtimeOn((request, response) => {
      if (asks(request, "POST", "/wait")) {
        waits += 1;
        return waits === 1 ? response.destroy() : {};
      }
      return container("exited", 7);
    });
    expect(await runtime.waitExit("ins-1", never)).toEqual({ exitCode: 7, withEngine: true });
    expect(waits).toBe(2);
  });

  test("while an instance is waited for is not blamed for what the instance does an hour later", async () => {
    let waits = 0;
    const { runtime } = await runtimeOn(async (request, response) => {
      if (!asks(request, "POST", "/wait")) return container("exited", 7);
      waits += 1;
      if (waits === 1) return response.destroy();
      return new Promise((resolve) => setTimeout(() => resolve({}), 2_200));
    });
    expect(await runtime.waitExit("ins-1", never)).toEqual({ exitCode: 7 });
  });

  test("and is away when a start comes, is waited for as in a pull", async () => {
    const { runtime, fake } = await runtimeOn((request) => {
      if (asks(request, "GET", "-ins-1/json")) return container("running");
      return undefined;
    });
    await fake.goAway();
    const started = runtime.start(spec);
    await new Promise((resolve) => setTimeout(resolve, 700));
    await fake.comeBack();
    expect(await started).toMatchObject({ ok: true, value: { runtimeId: "c1" } });
  });
});

describe("a full disk", () => {
  const full = "failed to register layer: write /layer: no space left on device";

  test("in a pull is called by its name, with the engine's directory and the room that is left", async () => {
    const { runtime } = await runtimeOn((request, response) => {
      if (asks(request, "GET", "/info")) return { DockerRootDir: "/" };
      if (asks(request, "POST", "/images/create")) return response.end(JSON.stringify({ error: full }));
      return undefined;
    });
    expect(await runtime.pull({ image }, quiet, never)).toMatchObject({
      ok: false,
      error: {
        code: "disk_full",
        message: expect.stringMatching(
          /can't be pulled .*the disk that holds \/ is full, \d+ bytes .* are free/,
        ),
      },
    });
  });

  test("in making a container, and in making its volume", async () => {
    for (const place of ["/containers/create", "/volumes/create"]) {
      const { runtime, fake } = await runtimeOn((request, response) => {
        if (asks(request, "GET", "/info")) return { DockerRootDir: "/no/such/place" };
        if (asks(request, "POST", place)) return refuse(response, 500, full);
        return asks(request, "POST", "/create") ? {} : undefined;
      });
      const volumes = [{ source: "sluice-data", target: "/data", readOnly: false }];
      expect(await runtime.start({ ...spec, volumes })).toMatchObject({
        ok: false,
        error: { code: "disk_full", message: expect.stringContaining("/no/such/place is full") },
      });
      await fake.close();
    }
  });
});

describe("an engine that can't be used", () => {
  const old = { Version: "18.09.1", ApiVersion: "1.39", Os: "linux", Arch: "amd64" };

  test("because it is too old is asked for nothing but its version, and both versions are named", async () => {
    const { runtime, fake } = await runtimeOn(() => [], old);
    const error = {
      code: "runtime_unavailable",
      message: expect.stringMatching(/too old: it is 18\.09\.1 with API 1\.39, .* needs API 1\.41/),
    };
    expect(await runtime.list()).toMatchObject({ ok: false, error });
    expect(await runtime.start(spec)).toMatchObject({ ok: false, error });
    expect(await runtime.pull({ image }, quiet, never)).toMatchObject({ ok: false, error });
    expect(new Set(fake.asked)).toEqual(new Set(["GET /version"]));
  });

  test("is told of when the agent starts, which goes on", async () => {
    const { runtime } = await runtimeOn(() => [], old);
    const bench = await agentBench({ runtime });
    await bench.control.until(() => bench.control.polls.length > 0, "it polls");
    expect(bench.lines.join()).toMatch(/error the runtime does not answer.*too old: it is 18\.09\.1/);
    await bench.close();
  });

  test("is asked for its version once, and not before each call", async () => {
    const { runtime, fake } = await runtimeOn(() => []);
    await runtime.list();
    await runtime.list();
    expect(fake.asked).toEqual(["GET /version", "GET /containers/json", "GET /containers/json"]);
  });

  test("that comes back as one that is too old is found out", async () => {
    const version = { ...old, Version: "28.0.0", ApiVersion: "1.48" };
    const { runtime, fake } = await runtimeOn(() => [], version);
    expect(await runtime.list()).toMatchObject({ ok: true });
    await fake.goAway();
    expect(await runtime.list()).toMatchObject({ ok: false });
    Object.assign(version, old);
    await fake.comeBack();
    expect(await runtime.list()).toMatchObject({
      ok: false,
      error: { code: "runtime_unavailable", message: expect.stringContaining("too old") },
    });
  });

  test("because this user may not is told so, and how to mend it", async () => {
    const closed = await mkdtemp(path.join(tmpdir(), "sluice-closed-"));
    const runtime = createDockerRuntime({ host: "h", engine: createEngine(`unix://${closed}/docker.sock`) });
    await chmod(closed, 0o000);
    // Root may do anything: be somebody else meanwhile.
    const isRoot = process.getuid?.() === 0;
    if (isRoot) process.seteuid?.(65_534);
    const outcome = await runtime.list();
    if (isRoot) process.seteuid?.(0);
    await rm(closed, { recursive: true });
    expect(outcome).toMatchObject({
      ok: false,
      error: {
        code: "runtime_unavailable",
        message: expect.stringMatching(/may not use .*usermod -aG docker/),
      },
    });
  });
});

describe("a pull's progress", () => {
  const told = (lines: object[], stepMs: number) => {
    const said: string[] = [];
    let now = 0;
    const tell = pullProgress(
      (message) => said.push(message),
      () => now,
    );
    for (const line of lines) {
      tell(pullMessageSchema.parse(line));
      now += stepMs;
    }
    return said;
  };
  const bytes = (id: string, current: number, total: number) => ({
    status: "Downloading",
    id,
    progressDetail: { current, total },
  });

  test("is one line for all layers", () => {
    const lines = [
      { status: "Pulling from acme/shop", id: "v42" },
      { status: "Already exists", id: "a", progressDetail: {} },
      { status: "Pulling fs layer", id: "b", progressDetail: {} },
      { status: "Pulling fs layer", id: "c", progressDetail: {} },
      bytes("b", 5_000_000, 20_000_000),
      bytes("c", 40_000_000, 100_000_000),
      { status: "Download complete", id: "b" },
      { status: "Pull complete", id: "b" },
      { status: `Digest: ${digest}` },
    ];
    expect(told(lines, 2_000)).toEqual([
      "pulling: 1 of 1 layers",
      "pulling: 1 of 2 layers",
      "pulling: 1 of 3 layers",
      "pulling: 1 of 3 layers, 5 of 20 MB",
      "pulling: 1 of 3 layers, 45 of 120 MB",
      "pulling: 1 of 3 layers, 60 of 120 MB",
      "pulling: 2 of 3 layers, 60 of 120 MB",
    ]);
  });

  test("comes at most once a second, however much the engine says", () => {
    const lines = Array.from({ length: 1_000 }, (_, n) => bytes("a", n * 1_000_000, 1_000_000_000));
    expect(told(lines, 10)).toHaveLength(10);
  });
});
