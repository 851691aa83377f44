import net from "node:net";
import { z } from "zod";
import type { InstanceSpec } from "../../src/protocol/agent.ts";
import { systemClock } from "../clock.ts";
import { done, failed, type Outcome, words } from "../outcome.ts";
import { containerConfig, containerName, LABEL, specOfLabels } from "./docker-container.ts";
import { createDockerHealth } from "./docker-health.ts";
import { pullImage } from "./docker-image.ts";
import { createEngine, type Engine, EngineError, EngineUnavailable } from "./engine.ts";
import {
  type Exit,
  type Found,
  isPlainId,
  lastLines,
  type Runtime,
  type Started,
  type Stopped,
  signalOf,
} from "./runtime.ts";

/** Engine calls that only read or set something: a healthy engine answers in milliseconds. */
const CALL_TIMEOUT_MS = 60_000;

const containerSchema = z.object({
  Id: z.string(),
  State: z.object({
    Status: z.string(),
    ExitCode: z.number(),
    OOMKilled: z.boolean(),
    StartedAt: z.string(),
  }),
  NetworkSettings: z.object({ IPAddress: z.string().optional() }),
});
type Container = z.infer<typeof containerSchema>;
const listSchema = z.array(
  z.object({
    Id: z.string(),
    State: z.string(),
    Created: z.number(),
    Labels: z.record(z.string(), z.string()),
  }),
);

export interface DockerOptions {
  /** Id of this host: an agent only ever sees containers with its own. */
  host: string;
  localImages?: boolean;
  engine?: Engine;
}

/** Runs instances as containers of the local Docker engine. */
export function createDockerRuntime({
  host,
  localImages = false,
  engine = createEngine(),
}: DockerOptions): Runtime {
  const health = createDockerHealth(engine);
  const calls = containerCalls(engine);
  return {
    name: "docker",
    pull: (image, onProgress, signal) => pullImage({ engine, image, localImages, onProgress, signal }),
    start: (spec) => startContainer({ engine, calls, spec, host }),
    restart: (instance, graceMs) => told(() => restartContainer(calls, instance, graceMs)),
    stop: (instance, graceMs) => told(() => stopContainer(calls, instance, graceMs)),
    list: () => told(() => listContainers(engine, host)),
    waitExit: (instance, signal) => waitExit(engine, calls, instance, signal),
    logs: (instance, lines) => tail(engine, instance, lines),
    listens: (spec) => listens(calls, spec),
    imageHealth: async (instance, signal) => {
      try {
        return await health(containerName(instance), signal);
      } catch (thrown) {
        // No verdict is no good verdict; the next look, or the container's exit, tells more.
        return { state: "failing", output: words(thrown) };
      }
    },
  };
}

type Calls = ReturnType<typeof containerCalls>;

function containerCalls(engine: Engine) {
  const path = (instance: string) => `/containers/${containerName(instance)}`;
  const plain = () => ({ signal: AbortSignal.timeout(CALL_TIMEOUT_MS) });
  return {
    async inspect(instance: string): Promise<Container | undefined> {
      try {
        return await engine.json(containerSchema, "GET", `${path(instance)}/json`, plain());
      } catch (thrown) {
        if (thrown instanceof EngineError && thrown.status === 404) return undefined;
        throw thrown;
      }
    },
    async create(spec: InstanceSpec, host: string): Promise<void> {
      const query = { name: containerName(spec.instance) };
      await engine.bytes("POST", "/containers/create", {
        query,
        json: containerConfig(spec, host),
        ...plain(),
      });
    },
    async start(instance: string): Promise<void> {
      await engine.bytes("POST", `${path(instance)}/start`, plain());
    },
    async stop(instance: string, graceMs: number): Promise<void> {
      const signal = AbortSignal.timeout(graceMs + CALL_TIMEOUT_MS);
      const query = { t: String(Math.ceil(graceMs / 1000)) };
      await engine.bytes("POST", `${path(instance)}/stop`, { query, signal });
    },
    async remove(instance: string): Promise<void> {
      try {
        await engine.bytes("DELETE", path(instance), { query: { force: "1", v: "1" }, ...plain() });
      } catch (thrown) {
        // Gone, or being removed by somebody else: both are what was asked for.
        if (!(thrown instanceof EngineError && [404, 409].includes(thrown.status))) throw thrown;
      }
    },
  };
}

/** Engine trouble as an outcome: an engine that is away is an expected thing on somebody's host. */
async function told<T>(call: () => Promise<T>): Promise<Outcome<T>> {
  try {
    return done(await call());
  } catch (thrown) {
    if (thrown instanceof EngineUnavailable) return failed("runtime_unavailable", thrown.message);
    return failed("start_failed", `the Docker engine refused: ${words(thrown)}`);
  }
}

interface Start {
  engine: Engine;
  calls: Calls;
  spec: InstanceSpec;
  host: string;
}

async function startContainer({ calls, spec, host }: Start): Promise<Outcome<Started>> {
  if (!isPlainId(spec.instance))
    return failed("start_failed", `${spec.instance} can't be a container's name`);
  try {
    const existing = await calls.inspect(spec.instance);
    if (existing?.State.Status === "running") return done(startedOf(existing));
    if (existing) await calls.remove(spec.instance);
    await calls.create(spec, host);
    await calls.start(spec.instance);
    const container = await calls.inspect(spec.instance);
    if (!container)
      return failed("start_failed", `container of ${spec.instance} was removed while it started`);
    return done(startedOf(container));
  } catch (thrown) {
    const failure = startFailure(spec, thrown);
    // A created container that can't start would hold its name and its port's reservation.
    if (failure.error.code !== "runtime_unavailable") await calls.remove(spec.instance).catch(() => {});
    return failure;
  }
}

const startedOf = (container: Container): Started => ({
  runtimeId: container.Id,
  startedAt: Date.parse(container.State.StartedAt),
});

function startFailure(spec: InstanceSpec, thrown: unknown) {
  const said = words(thrown);
  if (thrown instanceof EngineUnavailable) return failed("runtime_unavailable", said);
  if (/port is already allocated|address already in use/i.test(said)) {
    return failed(
      "port_in_use",
      `port ${spec.hostPort} on this host is taken by something else (${said}): stop it, or move the agent's --port-base`,
    );
  }
  if (/no such image/i.test(said))
    return failed("image_not_found", `this host has no image ${spec.image}: ${said}`);
  return failed("start_failed", `the Docker engine could not start ${spec.image}: ${said}`);
}

async function restartContainer(calls: Calls, instance: string, graceMs: number): Promise<Started> {
  await calls.stop(instance, graceMs);
  await calls.start(instance);
  const container = await calls.inspect(instance);
  if (!container) throw new Error(`container of ${instance} was removed while it restarted`);
  return startedOf(container);
}

async function stopContainer(calls: Calls, instance: string, graceMs: number): Promise<Stopped> {
  const before = await calls.inspect(instance);
  if (!before) return { killed: false };
  if (before.State.Status === "running") await calls.stop(instance, graceMs);
  const after = await calls.inspect(instance);
  await calls.remove(instance);
  return {
    runtimeId: before.Id,
    killed: before.State.Status === "running" && after?.State.ExitCode === 137,
  };
}

async function listContainers(engine: Engine, host: string): Promise<Found[]> {
  const filters = JSON.stringify({ label: [`${LABEL}.host=${host}`] });
  const rows = await engine.json(listSchema, "GET", "/containers/json", {
    query: { all: "1", filters },
    signal: AbortSignal.timeout(CALL_TIMEOUT_MS),
  });
  return rows.map((row) => {
    const spec = specOfLabels(row.Labels);
    return {
      instance: row.Labels[`${LABEL}.instance`] ?? row.Id,
      runtimeId: row.Id,
      running: row.State === "running",
      startedAt: row.Created * 1000,
      ...(spec && { spec }),
    };
  });
}

/** The engine holds the request until the container ends, so no exit is missed between two looks. */
async function waitExit(
  engine: Engine,
  calls: Calls,
  instance: string,
  signal: AbortSignal,
): Promise<Exit | undefined> {
  const query = { condition: "not-running" };
  while (!signal.aborted) {
    try {
      await engine.bytes("POST", `/containers/${containerName(instance)}/wait`, { query, signal });
      const container = await calls.inspect(instance);
      if (!container) return { gone: true };
      if (container.State.Status !== "running") return exitOf(container);
    } catch (thrown) {
      if (thrown instanceof EngineError && thrown.status === 404) return { gone: true };
      // The engine itself restarts or is away: containers may live on, so this says nothing about ours.
      await systemClock.sleep(1_000, signal);
    }
  }
  return undefined;
}

function exitOf({ State: { ExitCode, OOMKilled } }: Container): Exit {
  const signal = OOMKilled ? "OOMKilled" : signalOf(ExitCode);
  return { exitCode: ExitCode, ...(signal && { signal }) };
}

async function tail(engine: Engine, instance: string, lines: number): Promise<string[]> {
  try {
    const query = { stdout: "1", stderr: "1", tail: String(lines) };
    const signal = AbortSignal.timeout(CALL_TIMEOUT_MS);
    const path = `/containers/${containerName(instance)}/logs`;
    return lastLines(demultiplex(await engine.bytes("GET", path, { query, signal })), lines);
  } catch (thrown) {
    // Logs decorate an error: that they can't be had must not hide it.
    return [`(no logs: ${words(thrown)})`];
  }
}

/** Frames of the engine's log stream: 1 byte stream, 3 empty, 4 length (big endian), then that many bytes. */
function demultiplex(frames: Buffer): string {
  const parts: Buffer[] = [];
  for (let at = 0; at + 8 <= frames.length; ) {
    const length = frames.readUInt32BE(at + 4);
    parts.push(frames.subarray(at + 8, at + 8 + length));
    at += 8 + length;
  }
  return Buffer.concat(parts).toString("utf8");
}

/** Asked of the container itself: on the host's side the engine's proxy accepts whether or not the app listens. */
async function listens(calls: Calls, spec: InstanceSpec): Promise<boolean | undefined> {
  // Asked to explain a failure: that the engine is away, too, must not replace it.
  const container = await calls.inspect(spec.instance).catch(() => undefined);
  const host = container?.NetworkSettings.IPAddress;
  if (!host) return undefined;
  return new Promise((resolve) => {
    const socket = net.connect({ host, port: spec.containerPort, timeout: 1_000 });
    const answer = (open: boolean | undefined) => {
      socket.destroy();
      resolve(open);
    };
    socket.on("connect", () => answer(true));
    socket.on("timeout", () => answer(undefined));
    socket.on("error", (error) =>
      answer("code" in error && error.code === "ECONNREFUSED" ? false : undefined),
    );
  });
}
