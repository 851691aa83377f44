import { z } from "zod";
import { systemClock } from "../../clock.ts";
import { done, failed, type Outcome, words } from "../../outcome.ts";
import { type Exit, lastLines, type Started, signalOf } from "../runtime.ts";
import { NotAdmitted } from "./admission.ts";
import { type Engine, EngineError, EngineUnavailable } from "./engine.ts";

/** Engine calls that only read or set something: a healthy engine answers in milliseconds. */
export const CALL_TIMEOUT_MS = 60_000;

const containerSchema = z.object({
  Id: z.string(),
  State: z.object({
    Status: z.string(),
    ExitCode: z.number(),
    OOMKilled: z.boolean(),
    StartedAt: z.string(),
  }),
  HostConfig: z.object({ NetworkMode: z.string().optional() }).nullish(),
  Config: z.object({ Tty: z.boolean().optional() }).optional(),
  NetworkSettings: z.object({
    Networks: z.record(z.string(), z.object({ IPAddress: z.string() })).nullish(),
  }),
});
export type Container = z.infer<typeof containerSchema>;

export type Calls = ReturnType<typeof containerCalls>;

/** The engine's calls about one container, by its name. `admit` has the last word before one is started, first or again. */
export function containerCalls(engine: Engine, admit: (name: string) => Promise<void>) {
  const path = (name: string) => `/containers/${name}`;
  const plain = () => ({ signal: AbortSignal.timeout(CALL_TIMEOUT_MS) });
  return {
    async inspect(name: string): Promise<Container | undefined> {
      try {
        return await engine.json(containerSchema, "GET", `${path(name)}/json`, plain());
      } catch (thrown) {
        if (thrown instanceof EngineError && thrown.status === 404) return undefined;
        throw thrown;
      }
    },
    async create(name: string, config: unknown): Promise<void> {
      await engine.bytes("POST", "/containers/create", { query: { name }, json: config, ...plain() });
    },
    async start(name: string): Promise<void> {
      await admit(name);
      await engine.bytes("POST", `${path(name)}/start`, plain());
    },
    async stop(name: string, graceMs: number): Promise<void> {
      const signal = AbortSignal.timeout(graceMs + CALL_TIMEOUT_MS);
      const query = { t: String(Math.ceil(graceMs / 1000)) };
      await engine.bytes("POST", `${path(name)}/stop`, { query, signal });
    },
    async connect(name: string, network: string): Promise<void> {
      const place = `/networks/${encodeURIComponent(network)}/connect`;
      await engine.bytes("POST", place, { json: { Container: name }, ...plain() });
    },
    async unpause(name: string): Promise<void> {
      await engine.bytes("POST", `${path(name)}/unpause`, plain());
    },
    /** Removes one that doesn't run, with its unnamed volumes; answers whether it is gone by that. */
    async discard(name: string): Promise<boolean> {
      try {
        await engine.bytes("DELETE", path(name), { query: { v: "1" }, ...plain() });
        return true;
      } catch (thrown) {
        if (thrown instanceof EngineError) return false;
        throw thrown;
      }
    },
    async remove(name: string): Promise<void> {
      try {
        await engine.bytes("DELETE", path(name), { query: { force: "1", v: "1" }, ...plain() });
      } catch (thrown) {
        // Gone, or being removed by somebody else: both are what was asked for.
        if (!(thrown instanceof EngineError && [404, 409].includes(thrown.status))) throw thrown;
      }
    },
  };
}

/** What the runtime tells of a container that was started. */
export const startedOf = (container: Container): Started => ({
  runtimeId: container.Id,
  startedAt: Date.parse(container.State.StartedAt),
});

/** Engine trouble as an outcome: an engine that is away is an expected thing on somebody's host. */
export async function asOutcome<T>(call: () => Promise<T>): Promise<Outcome<T>> {
  try {
    return done(await call());
  } catch (thrown) {
    if (thrown instanceof EngineUnavailable) return failed("runtime_unavailable", thrown.message);
    if (thrown instanceof NotAdmitted) return failed("policy_refused", thrown.message);
    return failed("start_failed", `the Docker engine refused: ${words(thrown)}`);
  }
}

/** Attempts at what an engine broke off: one that comes back and breaks off each time is not only being restarted. */
const ATTEMPTS = 4;
export const BACK_WITHIN_MS = 60_000;
const LOOK_MS = 500;

/**
 * Does a call again when the engine was away, or broke off in the middle of it, and came back. Only for what may be done
 * twice.
 */
export async function throughRestart<T>(
  engine: Engine,
  call: () => Promise<T>,
  { signal = never, backWithinMs }: { signal?: AbortSignal; backWithinMs: number },
): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await call();
    } catch (thrown) {
      const isAway = thrown instanceof EngineUnavailable && thrown.away;
      if (!isAway || attempt === ATTEMPTS || !(await comesBack(engine, within(signal, backWithinMs))))
        throw thrown;
    }
  }
}

const never = new AbortController().signal;

const within = (signal: AbortSignal, ms: number) => AbortSignal.any([signal, AbortSignal.timeout(ms)]);

async function comesBack(engine: Engine, signal: AbortSignal): Promise<boolean> {
  while (!signal.aborted) {
    await systemClock.sleep(LOOK_MS, signal);
    try {
      await engine.bytes("GET", "/_ping", { signal });
      return true;
    } catch {
      // Still away, or not yet ready: looked at again until the time is over.
    }
  }
  return false;
}

/** A container that had ended before it was asked for is told of within this. */
const AT_ONCE_MS = 2_000;

/** The engine holds the request until the container ends, so no exit is missed between two looks. */
export async function waitExit(
  engine: Engine,
  calls: Calls,
  name: string,
  signal: AbortSignal,
): Promise<Exit | undefined> {
  const query = { condition: "not-running" };
  let wasAway = false;
  while (!signal.aborted) {
    try {
      const askedAt = systemClock.monotonic();
      await engine.bytes("POST", `/containers/${name}/wait`, { query, signal });
      const container = await calls.inspect(name);
      if (!container || container.State.Status === "removing") return { gone: true };
      // Its exit code says 0, and means nothing.
      if (container.State.Status === "created") return { unstarted: true };
      if (container.State.Status === "running") continue;
      // An engine without live-restore ends its containers with itself.
      const withEngine = wasAway && systemClock.monotonic() - askedAt < AT_ONCE_MS;
      return { ...exitOf(container), ...(withEngine && { withEngine: true as const }) };
    } catch (thrown) {
      if (thrown instanceof EngineError && thrown.status === 404 && !(await calls.inspect(name)))
        return { gone: true };
      // The engine itself restarts or is away: containers may live on, so this says nothing about ours.
      wasAway = true;
      await systemClock.sleep(1_000, signal);
    }
  }
  return undefined;
}

function exitOf({ State: { ExitCode, OOMKilled } }: Container): Exit {
  const signal = OOMKilled ? "OOMKilled" : signalOf(ExitCode);
  return { exitCode: ExitCode, ...(signal && { signal }) };
}

/** The last lines a container wrote. */
export async function tail(engine: Engine, name: string, lines: number): Promise<string[]> {
  try {
    const query = { stdout: "1", stderr: "1", tail: String(lines) };
    const signal = AbortSignal.timeout(CALL_TIMEOUT_MS);
    const path = `/containers/${name}/logs`;
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
