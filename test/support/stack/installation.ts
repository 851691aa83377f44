import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createWriteStream } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { stringify } from "yaml";
import { type Home, openHome } from "../../../local/home.ts";
import { LocalHost, type RuntimeName } from "../../../local/hosts.ts";
import { Load } from "../../../local/load.ts";
import { freePorts } from "../../../local/ports.ts";
import { Client } from "../../../src/client/index.ts";
import type { ReleaseView } from "../../../src/protocol/api/releases.ts";
import { callCli, NODE, type Ran, runCli } from "../cli/run-cli.ts";
import { evidenceDirectory, hasFailed } from "./evidence.ts";

const STACK = join(import.meta.dirname, "stack-process.ts");
const EXAMPLES = join(import.meta.dirname, "../../../examples");
const STACK_WITHIN_MS = 30_000;
const STATE_WITHIN_MS = 120_000;
const RATE = 40;
/** Requests that were sent before control and edge went, or while they were away, have ended after this. */
const AFTERMATH_MS = 500;

interface Options {
  readonly hosts?: number;
  readonly slots?: number;
  readonly runtime?: RuntimeName;
  /** What `file:` images name lies under it. */
  readonly processRoot?: string;
  /** More bindings of control. */
  readonly bindings?: Readonly<Record<string, string>>;
  /** D1 can be moved away from control: `/bench/far?ms=` (bench/far-database.ts). */
  readonly isD1Far?: boolean;
  /** Sweeps can be asked for: `/sweep?at=<ms>` at control (test/support/stack/sweeps.ts). */
  readonly isSwept?: boolean;
}

/** What a test says about its app; the rest is the same for all. */
export interface AppOptions {
  readonly image?: string;
  readonly command?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly secrets?: readonly string[];
  readonly hooks?: Readonly<Record<string, readonly string[]>>;
  readonly replicas?: number;
  /** How long an instance may take to get ready. */
  readonly deadline?: string;
  readonly hostnames?: readonly string[];
  /** Where it says that it is ready. */
  readonly ready?: string;
  readonly strategy?: string | object;
  readonly affinity?: object;
  /** What control asks for itself beside a canary. */
  readonly load?: object;
  readonly drain?: string;
  readonly accessories?: Readonly<Record<string, object>>;
  readonly processes?: Readonly<Record<string, object>>;
  /** Of production: what pull requests get. */
  readonly previews?: object;
  /** A second environment, like production but for its hostname: `staging-<app>.localhost`. */
  readonly staging?: boolean;
}

/** Everything with real parts: control and edge in a process of their own, agents, the CLI, and visitors. */
export class Installation {
  readonly hosts: LocalHost[] = [];
  edgeUrl = "";
  controlUrl = "";
  readonly #dir: string;
  /** What control, edge and agents wrote: kept, and named, when a test of the file failed. */
  readonly #logs: string;
  #home: Home | undefined;
  readonly #options: Required<Options>;
  #stack: ChildProcess | undefined;
  /** Ports of all hosts' slots begin here. */
  #portBase: number | undefined;
  #loads: Load[] = [];
  readonly #killLeftovers = () => this.#signal("SIGKILL");

  private constructor({ dir, logs }: { dir: string; logs: string }, options: Options) {
    this.#dir = dir;
    this.#logs = logs;
    this.#options = {
      hosts: 2,
      slots: 10,
      runtime: "process",
      processRoot: EXAMPLES,
      bindings: {},
      isD1Far: false,
      isSwept: false,
      ...options,
    };
    // A test run that is cut short leaves nothing behind.
    process.once("exit", this.#killLeftovers);
  }

  /** Directory of what control, edge and agents write to their own output. */
  get logs(): string {
    return this.#logs;
  }

  static async start(options: Options = {}): Promise<Installation> {
    const dir = await mkdtemp(join(tmpdir(), "sluice-e2e-"));
    const made = new Installation({ dir, logs: await evidenceDirectory() }, options);
    try {
      await made.startStack();
      // The stack made it, and its first admin token.
      made.#home = await openHome(made.#homeDir);
      await made.#startHosts();
    } catch (error) {
      await made.#close({ hasFailed: true });
      throw error;
    }
    return made;
  }

  get #homeDir(): string {
    return join(this.#dir, ".sluice");
  }

  get home(): Home {
    if (!this.#home) throw new Error("the installation has not started");
    return this.#home;
  }

  get client(): Client {
    return new Client({ url: this.controlUrl, token: this.home.token });
  }

  /** Starts control and edge: the first time on any free ports, afterwards on the same ones with the same state. */
  async startStack(): Promise<void> {
    const ports = [this.edgeUrl, this.controlUrl].map((url) => (url ? new URL(url).port : "0"));
    const bindings = JSON.stringify(this.#options.bindings);
    const { hosts, slots, isD1Far, isSwept } = this.#options;
    this.#portBase ??= await freePorts(hosts * slots);
    const slotPorts = { first: this.#portBase, count: hosts * slots };
    const more = JSON.stringify({ isD1Far, isSwept, slotPorts });
    const child = spawn(NODE, [STACK, this.#homeDir, ...ports, bindings, more], {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, NODE_NO_WARNINGS: "1" },
      // A group of its own, so that one signal reaches workerd too.
      detached: true,
    });
    child.stderr.pipe(createWriteStream(join(this.#logs, "control-and-edge.log"), { flags: "a" }));
    this.#stack = child;
    const deadline = AbortSignal.timeout(STACK_WITHIN_MS);
    const [line] = await Promise.race([
      once(createInterface(child.stdout), "line", { signal: deadline }),
      once(child, "exit").then(([code]) => Promise.reject(new Error(`the stack ended with code ${code}`))),
    ]);
    // Our own script's one line.
    const { edgeUrl, controlUrl } = JSON.parse(line) as { edgeUrl: string; controlUrl: string };
    Object.assign(this, { edgeUrl, controlUrl });
  }

  /** SIGKILL to control and edge: node and workerd, at once. */
  async killStack(): Promise<void> {
    for (const load of this.#loads) load.phase("away");
    const ended = this.#stack && once(this.#stack, "exit");
    this.#signal("SIGKILL");
    await ended;
    this.#stack = undefined;
  }

  /** Starts what was killed again; what visitors meet from here on counts again. */
  async reviveStack(): Promise<void> {
    await this.startStack();
    await sleep(AFTERMATH_MS);
    for (const load of this.#loads) load.phase("there");
  }

  async #startHosts(): Promise<void> {
    const { hosts, slots, runtime, processRoot } = this.#options;
    const base = this.#portBase ?? 0;
    for (let index = 0; index < hosts; index++) {
      const name = `web-${index + 1}`;
      this.hosts.push(
        new LocalHost({
          name,
          client: this.client,
          controlUrl: this.controlUrl,
          dir: this.home.agentDir(name),
          runtime,
          portBase: base + index * slots,
          slots,
          processRoot,
          log: { file: join(this.#logs, `${name}.log`) },
        }),
      );
    }
    await Promise.all(this.hosts.map((host) => host.start()));
  }

  /** Runs the real CLI with the app's manifest in its folder: as a process of its own when something is piped in. */
  sluice(app: string, options: AppOptions, args: readonly string[], stdin?: string): Promise<Ran> {
    const run = stdin === undefined ? callCli : runCli;
    return run(args, {
      stdin,
      url: this.controlUrl,
      env: { SLUICE_TOKEN: this.home.token },
      files: { "sluice.yaml": this.manifest(app, options) },
    });
  }

  /** Applies and deploys, and fails the test unless the CLI says that it went live. */
  async deploy(app: string, options: AppOptions, version: string): Promise<void> {
    const ran = await this.sluice(app, options, ["deploy", "--apply", "--version", version]);
    if (ran.code !== 0) throw new Error(`deploying ${app} ${version} ended with ${ran.code}:\n${ran.stderr}`);
  }

  manifest(app: string, options: AppOptions): string {
    const check = { path: options.ready ?? "/ready", interval: "100ms", timeout: "500ms" };
    const { strategy, affinity, load } = options;
    const environment = {
      replicas: options.replicas ?? 2,
      keep: "1s",
      ...(strategy && { strategy }),
      ...(affinity && { affinity }),
      ...(load && { load }),
    };
    const staging = { staging: { ...environment, hostnames: [`staging-${app}.localhost`] } };
    return stringify({
      app,
      image: options.image ?? "file:hello",
      port: 3000,
      ...(options.command && { command: options.command }),
      health: { startup: { ...check, deadline: options.deadline ?? "20s" }, readiness: check },
      env: options.env ?? {},
      ...(options.secrets && { secrets: options.secrets }),
      ...(options.hooks && { hooks: options.hooks }),
      drain: options.drain ?? "0s",
      stopGrace: "2s",
      ...(options.accessories && { accessories: options.accessories }),
      ...(options.processes && { processes: options.processes }),
      environments: {
        production: {
          ...environment,
          hostnames: options.hostnames ?? [`${app}.localhost`],
          ...(options.previews && { previews: options.previews }),
        },
        ...(options.staging && staging),
      },
    });
  }

  /** Visitors of an app, until the installation closes. */
  visit(app: string): Load {
    const load = new Load({ edgeUrl: this.edgeUrl, hostname: `${app}.localhost`, rate: RATE });
    load.phase("there");
    load.start();
    this.#loads.push(load);
    return load;
  }

  async leave(load: Load): Promise<void> {
    this.#loads = this.#loads.filter((other) => other !== load);
    await load.stop();
  }

  /** Waits until a release of the app is in one of the states, and answers it. */
  async reaches(app: string, version: string, states: readonly ReleaseView["state"][]): Promise<ReleaseView> {
    const until = Date.now() + STATE_WITHIN_MS;
    for (;;) {
      const { items } = await this.client.releases.list(app, "production", { limit: 20 });
      const release = items.find((candidate) => candidate.version === version);
      if (release && states.includes(release.state)) return release;
      if (Date.now() > until)
        throw new Error(`${app} ${version} is ${release?.state}, not ${states.join(" or ")}`);
      await sleep(25);
    }
  }

  /** What runs on all hosts: container id or pid by instance. */
  async running(): Promise<Map<string, string>> {
    const maps = await Promise.all(this.hosts.map((host) => host.running()));
    return new Map(maps.flatMap((map) => [...map]));
  }

  close(): Promise<void> {
    return this.#close({ hasFailed: hasFailed() });
  }

  async #close({ hasFailed }: { hasFailed: boolean }): Promise<void> {
    if (hasFailed) await this.#keepEvidence();
    process.off("exit", this.#killLeftovers);
    await Promise.all(this.#loads.map((load) => load.stop()));
    for (const host of this.hosts) await host.stop();
    for (const host of this.hosts) await host.removeInstances();
    const ended = this.#stack && once(this.#stack, "exit");
    this.#stack?.kill("SIGTERM");
    await ended;
    await rm(this.#dir, { recursive: true, force: true });
    if (!hasFailed) await rm(this.#logs, { recursive: true, force: true });
  }

  /** Beside the logs, what control says that happened; the agents and control are still there. */
  async #keepEvidence(): Promise<void> {
    const lines = await this.#audit().catch((error) => [`control did not answer: ${error}`]);
    await writeFile(join(this.#logs, "audit.jsonl"), `${lines.join("\n")}\n`);
    console.error(`what this installation said is in ${this.#logs}`);
  }

  async #audit(): Promise<string[]> {
    const { items } = await this.client.installation.audit({ limit: 200 });
    return items.map((entry) => JSON.stringify(entry));
  }

  #signal(signal: NodeJS.Signals): void {
    const child = this.#stack;
    if (child?.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
    process.kill(-child.pid, signal);
  }
}
