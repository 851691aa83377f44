import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync } from "node:fs";
import net from "node:net";
import path from "node:path";
import type { InstanceSpec } from "../../../src/protocol/agent/instance.ts";
import { aborted } from "../../aborted.ts";
import { systemClock } from "../../clock.ts";
import { done, failed, type Outcome, words } from "../../outcome.ts";
import {
  type Executed,
  type Exit,
  type Found,
  type Injected,
  identityEnv,
  isPlainId,
  type Runtime,
  type Started,
  type Stopped,
} from "../runtime.ts";
import { followFile } from "./follow.ts";
import { asOutcome, exitOf, hostEnv, signalGroup } from "./group.ts";
import { stopSignalOf, unsupported } from "./housing.ts";
import { commandOf, pullDirectory, resolveDirectory } from "./image.ts";
import { boundLog, tailFile } from "./log.ts";
import { birthOf, isAlive, type ProcessRecord, processRecords, UNBORN } from "./record.ts";
import { createProcessRuns } from "./runs.ts";

/** How often a process that is not our child is looked at: nothing else tells its end. */
const ADOPTED_LOOK_MS = 500;
/** After SIGKILL a process is gone at once, unless the kernel holds it. */
const KILLED_WITHIN_MS = 5_000;

export interface ProcessOptions {
  /** Only directories under it can be run. */
  root: string;
  /** Where pid files and logs are kept. */
  directory: string;
}

/**
 * Runs instances as plain processes, each leader of its own group: a stop reaches its children, and the agent's death
 * reaches none of them. There is no wall between apps: for laptops and machines without Docker.
 */
export function createProcessRuntime({ root, directory }: ProcessOptions): Runtime {
  const host = new ProcessHost(root, directory);
  // No instance's folder begins with a dot.
  const runs = path.join(directory, ".runs");
  return {
    name: "process",
    pull: ({ image }) => pullDirectory(root, image),
    start: (spec) => asOutcome(() => host.start(spec)),
    restart: (instance, graceMs) => asOutcome(() => host.restart(instance, graceMs)),
    stop: (instance, graceMs) => asOutcome(() => host.stop(instance, graceMs)),
    list: () => asOutcome(() => host.list()),
    injected: () => asOutcome(() => host.injected()),
    waitExit: (instance, signal) => host.waitExit(instance, signal),
    logs: (instance, lines) => tailFile(host.records.log(instance), lines),
    follow: (source, reading, signal) => {
      if ("run" in source && isPlainId(source.run))
        return followFile(path.join(runs, source.run, "out.log"), reading, signal);
      if (!("instance" in source) || !isPlainId(source.instance)) return nothing();
      return followFile(host.records.log(source.instance), reading, signal);
    },
    listens: async ({ hostPort }, port = hostPort) => (port === undefined ? undefined : accepts(port)),
    addressOf: async () => "127.0.0.1",
    execute: (instance, command, signal) => host.execute(instance, command, signal),
    imageHealth: async () => ({ state: "none", output: "" }),
    explain: async () => undefined,
    runs: createProcessRuns({ root, directory: runs }),
  };
}

/** It runs no accessories, so they wrote nothing. */
async function* nothing() {}

class ProcessHost {
  readonly records: ReturnType<typeof processRecords>;
  readonly #root: string;
  /** Our own children: their exit codes come to us. Those of processes an earlier agent started are lost. */
  readonly #exits = new Map<number, Promise<Exit>>();
  readonly #bounds = new Map<string, () => void>();

  constructor(root: string, directory: string) {
    this.#root = root;
    this.records = processRecords(directory);
  }

  async start(spec: InstanceSpec): Promise<Outcome<Started>> {
    if (!isPlainId(spec.instance)) return failed("start_failed", `${spec.instance} can't be a folder's name`);
    const existing = await this.records.read(spec.instance);
    if (existing && (await isAlive(existing))) return done(startedOf(existing));
    const refused = unsupported(spec);
    if (refused) return refused;
    const cwd = await resolveDirectory(this.#root, spec.image);
    if (!cwd.ok) return cwd;
    const command = spec.command ? done(spec.command) : await commandOf(cwd.value);
    if (!command.ok) return command;
    // Asked before, because afterwards the app's EADDRINUSE is only a line in its log.
    if (spec.hostPort !== undefined && (await accepts(spec.hostPort))) {
      return failed(
        "port_in_use",
        `port ${spec.hostPort} on this host is taken by another process: stop it, or move the agent's --port-base`,
      );
    }
    return this.#spawn(spec, cwd.value, command.value);
  }

  async #spawn(spec: InstanceSpec, cwd: string, command: string[]): Promise<Outcome<Started>> {
    await this.records.prepare(spec.instance);
    // Before there is anything to be known: a disk without room for it fails the start, and leaves nothing.
    await this.#write({ spec, ...UNBORN, startedAt: Date.now() });
    const log = openSync(this.records.log(spec.instance), "a", 0o600);
    const [program = "", ...args] = command;
    const env = { ...hostEnv(), ...identityEnv(spec, spec.hostPort) };
    const child = spawn(program, args, { cwd, env, detached: true, stdio: ["ignore", log, log] });
    closeSync(log);
    try {
      await once(child, "spawn");
    } catch (thrown) {
      await this.records.remove(spec.instance);
      return failed("start_failed", `${command.join(" ")} can't be run in ${cwd}: ${words(thrown)}`);
    }
    return this.#remember(spec, child);
  }

  async #remember(spec: InstanceSpec, child: ChildProcess): Promise<Outcome<Started>> {
    const pid = child.pid;
    if (pid === undefined) throw new Error("a spawned process has no pid");
    this.#exits.set(pid, exitOf(child));
    child.unref();
    // A process that is gone already has no birth to read; its exit is told by waitExit.
    const birth = (await birthOf(pid)) ?? "gone";
    const record: ProcessRecord = { spec, pid, birth, startedAt: Date.now() };
    await this.#write(record);
    this.#bound(spec);
    return done(startedOf(record));
  }

  /** What can't be written down leaves nothing: nobody would ever find it again, and it would keep the port. */
  async #write(record: ProcessRecord): Promise<void> {
    try {
      await this.records.write(record);
    } catch (thrown) {
      if (record.pid !== UNBORN.pid) signalGroup(record.pid, "SIGKILL");
      await this.records.remove(record.spec.instance);
      throw thrown;
    }
  }

  /** In the app's folder with its variables, as the app itself. */
  async execute(instance: string, command: readonly string[], signal: AbortSignal): Promise<Executed> {
    const record = await this.records.read(instance);
    if (!record) return { output: `${instance} is not known to this host` };
    const cwd = await resolveDirectory(this.#root, record.spec.image);
    if (!cwd.ok) return { output: cwd.error.message };
    const [program = "", ...args] = command;
    const env = { ...hostEnv(), ...identityEnv(record.spec, record.spec.hostPort) };
    return new Promise((resolve) =>
      execFile(
        program,
        args,
        { cwd: cwd.value, env, signal, killSignal: "SIGKILL" },
        (error, stdout, stderr) => {
          const output = `${stdout}${stderr}`;
          if (!error) return resolve({ exitCode: 0, output });
          if (typeof error.code === "number") return resolve({ exitCode: error.code, output });
          resolve({ output: signal.aborted ? output : words(error) });
        },
      ),
    );
  }

  async restart(instance: string, graceMs: number): Promise<Outcome<Started>> {
    const record = await this.records.read(instance);
    if (!record) return failed("instance_gone", `${instance} is not known to this host any more`);
    await this.#end(record, graceMs);
    return this.start(record.spec);
  }

  async stop(instance: string, graceMs: number): Promise<Outcome<Stopped>> {
    const record = isPlainId(instance) ? await this.records.read(instance) : undefined;
    if (!record) return done({ killed: false });
    const killed = await this.#end(record, graceMs);
    this.#bounds.get(instance)?.();
    this.#bounds.delete(instance);
    this.#exits.delete(record.pid);
    await this.records.remove(instance);
    return done({ runtimeId: String(record.pid), killed });
  }

  /** Answers whether it had to be killed. */
  async #end(record: ProcessRecord, graceMs: number): Promise<boolean> {
    if (!(await isAlive(record))) return false;
    signalGroup(record.pid, stopSignalOf(record.spec));
    const inTime = await this.#exitWithin(record.spec.instance, graceMs);
    // Whatever the leader left behind in its group would keep the port.
    signalGroup(record.pid, "SIGKILL");
    if (!inTime) await this.#exitWithin(record.spec.instance, KILLED_WITHIN_MS);
    return !inTime;
  }

  async #exitWithin(instance: string, ms: number): Promise<boolean> {
    return (await this.waitExit(instance, AbortSignal.timeout(ms))) !== undefined;
  }

  async list(): Promise<Outcome<Found[]>> {
    const found: Found[] = [];
    for (const instance of await this.records.instances()) {
      const record = await this.records.read(instance);
      if (!record) continue;
      const running = await isAlive(record);
      if (running) this.#bound(record.spec);
      const unstarted = record.birth === UNBORN.birth && { unstarted: true as const };
      found.push({
        instance,
        ...startedOf(record),
        running,
        ...unstarted,
        spec: { ...record.spec, env: {} },
      });
    }
    return done(found);
  }

  async injected(): Promise<Outcome<Injected[]>> {
    const records = await Promise.all(
      (await this.records.instances()).map((instance) => this.records.read(instance)),
    );
    return done(records.flatMap((record) => (record ? [record.spec] : [])));
  }

  async waitExit(instance: string, signal: AbortSignal): Promise<Exit | undefined> {
    const record = await this.records.read(instance);
    if (!record) return { gone: true };
    const own = this.#exits.get(record.pid);
    if (own) return Promise.race([own, aborted(signal)]);
    while (!signal.aborted) {
      if (!(await isAlive(record))) return {};
      await systemClock.sleep(ADOPTED_LOOK_MS, signal);
    }
    return undefined;
  }

  #bound({ instance, logging }: InstanceSpec): void {
    if (!this.#bounds.has(instance))
      this.#bounds.set(instance, boundLog(this.records.log(instance), logging));
  }
}

const startedOf = (record: ProcessRecord): Started => ({
  runtimeId: String(record.pid),
  startedAt: record.startedAt,
});

/** Whether something accepts connections on a loopback port. */
function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = net.connect({ host: "127.0.0.1", port, timeout: 1_000 });
    const answer = (open: boolean) => {
      socket.destroy();
      resolve(open);
    };
    socket.on("connect", () => answer(true));
    socket.on("timeout", () => answer(true));
    socket.on("error", () => answer(false));
  });
}
