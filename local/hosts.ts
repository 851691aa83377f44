import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { readCredentials, writeCredentials } from "../agent/control/credentials.ts";
import { createDockerRuntime } from "../agent/runtime/docker/docker.ts";
import { createProcessRuntime } from "../agent/runtime/process/process.ts";
import type { Runtime } from "../agent/runtime/runtime.ts";
import type { Client } from "../src/client/index.ts";
import { findEngine } from "./images.ts";

const ROOT = new URL("..", import.meta.url).pathname;
const ONLINE_WITHIN_MS = 20_000;
const STOP_WITHIN_MS = 5_000;

export type RuntimeName = "docker" | "process";

/** Docker where an engine answers, else plain processes; and the reason, to be said. */
export async function chooseRuntime(asked?: string): Promise<{ runtime: RuntimeName; why: string }> {
  if (asked === "process") return { runtime: "process", why: "asked for" };
  const found = await findEngine();
  if ("engine" in found) return { runtime: "docker", why: `engine at ${found.engine.address}` };
  if (asked === "docker") throw new Error(`no Docker engine answers: ${found.reason}`);
  return { runtime: "process", why: `no Docker engine answers (${found.reason})` };
}

/**
 * The runtime of a host that may have been enrolled before: it stays what it was, since what it runs would be lost from
 * sight. Throws, with words, when another one was asked for.
 */
export async function keptRuntime(dir: string, asked?: RuntimeName) {
  const kept = (await readCredentials(dir))?.runtime;
  if (kept === undefined) return chooseRuntime(asked);
  if (asked === undefined || asked === kept) return { runtime: kept, why: "as it was enrolled" };
  throw new Error(
    `the host in ${dir} was enrolled for ${kept} and stays so: keep a state of its own for ${asked} with --dir`,
  );
}

/** Where control is now: a local one may come back on another port. */
export async function tellAddress(dir: string, url: string): Promise<boolean> {
  const credentials = await readCredentials(dir);
  if (credentials && credentials.url !== url) await writeCredentials(dir, { ...credentials, url });
  return credentials !== undefined;
}

export interface LocalHostOptions {
  readonly name: string;
  readonly client: Client;
  readonly controlUrl: string;
  readonly dir: string;
  readonly runtime: RuntimeName;
  /** Host ports of its slots begin here. */
  readonly portBase: number;
  readonly slots: number;
  readonly labels?: Record<string, string>;
  /** Directories that the process runtime may run lie under it. */
  readonly processRoot: string;
  readonly onExit?: (code: number | null) => void;
  /** Where the agent's log goes: behind what is in a file, or nowhere; else to this process's own stderr. */
  readonly log?: "nowhere" | { readonly file: string };
}

/** An agent as a child process: one host of the local installation. */
export class LocalHost {
  readonly #options: LocalHostOptions;
  #child: ChildProcess | undefined;

  constructor(options: LocalHostOptions) {
    this.#options = options;
  }

  get name(): string {
    return this.#options.name;
  }

  /** Of the agent. */
  get pid(): number {
    const pid = this.#child?.pid;
    if (pid === undefined) throw new Error(`the agent of ${this.name} does not run`);
    return pid;
  }

  /** Enrols when it is new, runs the agent, and resolves when control has heard from it. */
  async start(): Promise<void> {
    const { name, client, controlUrl, dir } = this.#options;
    await mkdir(dir, { recursive: true, mode: 0o700 });
    const enrolled = await tellAddress(dir, controlUrl);
    const token = enrolled ? undefined : (await client.hosts.createEnrollment(this.#enrollment())).token;
    const since = Date.now();
    this.#child = this.#spawn(token);
    const deadline = since + ONLINE_WITHIN_MS;
    while (!(await this.#isOnline(since))) {
      if (this.#child.exitCode !== null)
        throw new Error(`the agent of ${name} ended with code ${this.#child.exitCode}`);
      if (Date.now() > deadline)
        throw new Error(`the agent of ${name} did not report within ${ONLINE_WITHIN_MS / 1000} s`);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }

  #enrollment() {
    const { name, slots, labels = {} } = this.#options;
    return { name, slots, labels };
  }

  #spawn(token: string | undefined): ChildProcess {
    const { controlUrl, dir, runtime, portBase, processRoot, log, onExit } = this.#options;
    const file = typeof log === "object" ? openSync(log.file, "a") : undefined;
    const flags = [
      "--state",
      dir,
      "--url",
      controlUrl,
      "--runtime",
      runtime,
      "--port-base",
      String(portBase),
    ];
    const child = spawn(
      process.execPath,
      [
        join(ROOT, "agent/bin.js"),
        "run",
        ...flags,
        "--origin-base",
        "http://127.0.0.1",
        "--process-root",
        processRoot,
        "--local-images",
      ],
      {
        stdio: ["ignore", "ignore", file ?? (log === "nowhere" ? "ignore" : "inherit")],
        env: { ...process.env, NODE_NO_WARNINGS: "1", ...(token ? { SLUICE_ENROLL_TOKEN: token } : {}) },
        // Ctrl-C reaches the whole foreground group; the stack itself ends its agents, in the right order.
        detached: true,
      },
    );
    if (file !== undefined) closeSync(file); // The child has it now.
    child.once("exit", (code) => this.#child === child && onExit?.(code));
    return child;
  }

  async #isOnline(since: number): Promise<boolean> {
    const { items } = await this.#options.client.hosts.list();
    const host = items.find((candidate) => candidate.name === this.name);
    return host?.lastSeenAt != null && Date.parse(host.lastSeenAt) >= since;
  }

  /** Ends the agent; what it runs goes on. `SIGKILL` is how a crash looks. */
  async stop(signal: "SIGTERM" | "SIGKILL" = "SIGTERM"): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, "exit");
    child.kill(signal);
    const forced = setTimeout(() => child.kill("SIGKILL"), STOP_WITHIN_MS);
    await ended;
    clearTimeout(forced);
  }

  /** Removes every instance that this host runs. Only after `stop`. */
  async removeInstances(): Promise<void> {
    const runtime = await this.#runtime();
    if (!runtime) return;
    const found = await runtime.list();
    if (!found.ok) return;
    await Promise.all(found.value.map(({ instance }) => runtime.stop(instance, 0)));
  }

  /** What runs here: the runtime's own name (container id or pid) by instance id. */
  async running(): Promise<Map<string, string>> {
    const found = await (await this.#runtime())?.list();
    if (!found?.ok) return new Map();
    return new Map(
      found.value.filter(({ running }) => running).map(({ instance, runtimeId }) => [instance, runtimeId]),
    );
  }

  async #runtime(): Promise<Runtime | undefined> {
    const credentials = await readCredentials(this.#options.dir);
    if (!credentials) return undefined;
    if (credentials.runtime === "docker")
      return createDockerRuntime({ host: credentials.host.id, localImages: true });
    const directory = join(this.#options.dir, "processes");
    await mkdir(directory, { recursive: true, mode: 0o700 });
    return createProcessRuntime({ root: this.#options.processRoot, directory });
  }
}
