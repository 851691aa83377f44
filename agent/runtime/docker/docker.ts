import net from "node:net";
import { z } from "zod";
import type { InstanceSpec } from "../../../src/protocol/agent/instance.ts";
import { done, failed, type Outcome, words } from "../../outcome.ts";
import {
  type Found,
  isPlainId,
  type LogSource,
  type Runtime,
  type Started,
  type Stopped,
} from "../runtime.ts";
import { createDockerAccessories } from "./accessories.ts";
import { accessoryName } from "./accessory.ts";
import { type Admits, admit, noDirectories } from "./admission.ts";
import {
  asOutcome,
  BACK_WITHIN_MS,
  CALL_TIMEOUT_MS,
  type Calls,
  containerCalls,
  startedOf,
  tail,
  throughRestart,
  waitExit,
} from "./calls.ts";
import { containerConfig, containerName, LABEL, runName, specOfLabels } from "./container.ts";
import { createEngine, type Engine } from "./engine.ts";
import { checkedEngine } from "./engine-version.ts";
import { explain } from "./explain.ts";
import { knownFailure } from "./failure.ts";
import { createDockerHealth, execute } from "./health.ts";
import { prepareHousing } from "./housing.ts";
import { engineName, pullImage } from "./image.ts";
import { createDockerImages } from "./images.ts";
import { listInjected } from "./injected.ts";
import { sweepLeftovers } from "./leftovers.ts";
import { followContainer } from "./logs.ts";
import { callsOfInstance, mendContainer } from "./outside.ts";
import { createDockerRuns } from "./runs.ts";
import { engineRef } from "./shipped.ts";

const listSchema = z.array(
  z.object({
    Id: z.string(),
    Names: z.array(z.string()),
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
  /** Why a container may not be started, first or again. Absent: none that mounts a host directory may. */
  admits?: Admits;
  /** How long a start, a stop or a pull waits for an engine that went away. */
  backWithinMs?: number;
}

/** Runs instances as containers of the local Docker engine. */
export function createDockerRuntime({
  host,
  localImages = false,
  engine: anyEngine = createEngine(),
  admits = noDirectories,
  backWithinMs = BACK_WITHIN_MS,
}: DockerOptions): Runtime {
  const engine = checkedEngine(anyEngine);
  const health = createDockerHealth(engine);
  const calls = containerCalls(engine, (name) => admit(engine, name, admits));
  const callsOf = (instance: string) => callsOfInstance({ engine, calls, host }, instance);
  return {
    name: "docker",
    pull: (source, onProgress, signal) =>
      pullImage({ engine, ...source, localImages, onProgress, signal, backWithinMs }),
    start: (spec) =>
      startContainer({ engine, calls: callsOf(spec.instance), spec, host, localImages, backWithinMs }),
    restart: (instance, graceMs) =>
      flat(asOutcome(() => restartContainer(callsOf(instance), containerName(instance), graceMs))),
    mend: (instance) => mendContainer({ engine, calls, host }, instance),
    stop: (instance, graceMs) =>
      asOutcome(() =>
        throughRestart(engine, () => stopContainer(callsOf(instance), containerName(instance), graceMs), {
          backWithinMs,
        }),
      ),
    list: () => asOutcome(() => listContainers(engine, host)),
    injected: () => asOutcome(() => listInjected(engine, host)),
    waitExit: (instance, signal) => waitExit(engine, callsOf(instance), containerName(instance), signal),
    logs: (instance, lines) => tail(engine, containerName(instance), lines),
    follow: (source, reading, signal) => {
      const name = nameOf(source);
      return followContainer({ engine, calls, name, reading, signal });
    },
    listens: ({ instance, containerPort }, port = containerPort, withinMs) =>
      listens(calls, { instance, port, withinMs }),
    addressOf: (instance) => addressOf(calls, instance),
    execute: (instance, command, signal) =>
      execute({ engine, container: containerName(instance), command, signal }),
    imageHealth: async (instance, signal) => {
      try {
        return await health(containerName(instance), signal);
      } catch (thrown) {
        // No verdict is no good verdict; the next look, or the container's exit, tells more.
        return { state: "failing", output: words(thrown) };
      }
    },
    explain: (spec, lines) => explain(engine, spec, lines),
    sweep: (known, now) => asOutcome(() => sweepLeftovers({ engine, calls, host, known, now })),
    runs: createDockerRuns({ engine, calls, host, localImages }),
    accessories: createDockerAccessories({ engine, calls, host }),
    images: createDockerImages(engine),
  };
}

function nameOf(source: LogSource): string {
  if ("instance" in source) return containerName(source.instance);
  return "run" in source ? runName(source.run) : accessoryName(source.accessory);
}

async function flat<T>(outcome: Promise<Outcome<Outcome<T>>>): Promise<Outcome<T>> {
  const told = await outcome;
  return told.ok ? told.value : told;
}

interface Start {
  engine: Engine;
  calls: Calls;
  spec: InstanceSpec;
  host: string;
  localImages: boolean;
  backWithinMs: number;
}

async function startContainer(start: Start): Promise<Outcome<Started>> {
  const { engine, calls, spec } = start;
  if (!isPlainId(spec.instance))
    return failed("start_failed", `${spec.instance} can't be a container's name`);
  try {
    return await throughRestart(engine, () => startOnce(start), start);
  } catch (thrown) {
    const known = await knownFailure(engine, spec, thrown);
    const said = `the Docker engine could not start ${spec.image}: ${words(thrown)}`;
    const failure = known ?? failed("start_failed", said);
    // A created container that can't start would hold its name and its port's reservation.
    if (!failure.ok && failure.error.code !== "runtime_unavailable")
      await calls.remove(containerName(spec.instance)).catch(() => {});
    return failure;
  }
}

async function startOnce({ engine, calls, spec, host, localImages }: Start): Promise<Outcome<Started>> {
  const name = containerName(spec.instance);
  const existing = await calls.inspect(name);
  if (existing?.State.Status === "running") return done(startedOf(existing));
  if (existing) await calls.remove(name);
  const refused = await prepareHousing(engine, spec, host);
  if (refused) return refused;
  const image = localImages ? await engineName(engine, spec.image) : engineRef(spec.image);
  await calls.create(name, containerConfig({ ...spec, image }, host));
  await calls.start(name);
  const container = await calls.inspect(name);
  if (!container) return failed("start_failed", `container of ${spec.instance} was removed while it started`);
  return done(startedOf(container));
}

async function restartContainer(calls: Calls, name: string, graceMs: number): Promise<Outcome<Started>> {
  const gone = failed("instance_gone", `container ${name} was removed from outside`);
  const before = await calls.inspect(name);
  if (!before) return gone;
  if (before.State.Status === "paused") await calls.unpause(name);
  await calls.stop(name, graceMs);
  await calls.start(name);
  const container = await calls.inspect(name);
  return container ? done(startedOf(container)) : gone;
}

async function stopContainer(calls: Calls, name: string, graceMs: number): Promise<Stopped> {
  const before = await calls.inspect(name);
  if (!before) return { killed: false };
  const isPaused = before.State.Status === "paused";
  if (isPaused) await calls.unpause(name);
  const wasRunning = isPaused || before.State.Status === "running";
  if (wasRunning) await calls.stop(name, graceMs);
  const after = await calls.inspect(name);
  await calls.remove(name);
  return {
    runtimeId: before.Id,
    killed: wasRunning && after?.State.ExitCode === 137,
  };
}

async function listContainers(engine: Engine, host: string): Promise<Found[]> {
  // A hook's container has no instance: it is no instance.
  const filters = JSON.stringify({ label: [`${LABEL}.host=${host}`, `${LABEL}.instance`] });
  const rows = await engine.json(listSchema, "GET", "/containers/json", {
    query: { all: "1", filters },
    signal: AbortSignal.timeout(CALL_TIMEOUT_MS),
  });
  return rows.flatMap((row) => {
    const instance = row.Labels[`${LABEL}.instance`] ?? "";
    // By its name, too: a label can come with an image, and a name is the engine's.
    if (!row.Names.includes(`/${containerName(instance)}`)) return [];
    const spec = specOfLabels(row.Labels);
    return {
      instance,
      runtimeId: row.Id,
      running: row.State === "running",
      ...(row.State === "created" && { unstarted: true as const }),
      startedAt: row.Created * 1000,
      ...(spec && { spec }),
    };
  });
}

async function addressOf(calls: Calls, instance: string): Promise<string | undefined> {
  // Asked to explain a failure, too: that the engine is away must not replace it.
  const container = await calls.inspect(containerName(instance)).catch(() => undefined);
  const networks = Object.values(container?.NetworkSettings.Networks ?? {});
  return networks.find(({ IPAddress }) => IPAddress !== "")?.IPAddress;
}

/** Asked of the container itself: on the host's side the engine's proxy accepts whether or not the app listens. */
async function listens(
  calls: Calls,
  {
    instance,
    port,
    withinMs = 1_000,
  }: { instance: string; port: number | undefined; withinMs?: number | undefined },
): Promise<boolean | undefined> {
  const host = await addressOf(calls, instance);
  if (host === undefined || port === undefined) return undefined;
  return new Promise((resolve) => {
    const socket = net.connect({ host, port, timeout: withinMs });
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
