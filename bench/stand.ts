/** Control, edge and two hosts with examples/hello, all real: what the benchmarks of releases share. */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parse, stringify } from "yaml";
import { openJournal } from "../agent/journal.ts";
import { type CliRun, sluice } from "../local/cli.ts";
import { type Home, openHome } from "../local/home.ts";
import { LocalHost } from "../local/hosts.ts";
import { freePorts } from "../local/ports.ts";
import { type Stack, type StackOptions, startStack } from "../local/stack.ts";
import { Client } from "../src/client/index.ts";
import type { ReleaseView } from "../src/protocol/api/releases.ts";

const EXAMPLES = join(import.meta.dirname, "../examples");
const HOSTS = ["web-1", "web-2"];
const SLOTS = 24;
const SERVING_WITHIN_MS = 60_000;
const LOOK_MS = 50;

export const APP = "hello";
export const ENVIRONMENT = "production";
export const HOSTNAME = "hello.localhost";

/** What differs from the example's manifest. Durations as in a manifest. */
export interface Variation {
  readonly strategy: unknown;
  readonly drain: string;
  readonly keep: string;
}

/** See {@link startStack}. */
export type StandOptions = Pick<StackOptions, "around" | "inspectorPort">;

type Undo = (() => Promise<unknown>)[];

export class Stand {
  readonly client: Client;
  readonly edgeUrl: string;
  readonly controlUrl: string;
  readonly #home: Home;
  readonly #undo: Undo;
  readonly #hosts: LocalHost[] = [];

  private constructor(home: Home, stack: Stack, undo: Undo) {
    this.#home = home;
    this.edgeUrl = stack.edgeUrl;
    this.controlUrl = stack.controlUrl;
    this.client = new Client({ url: stack.controlUrl, token: home.token });
    this.#undo = undo;
  }

  static async open(options: StandOptions = {}): Promise<Stand> {
    const undo: Undo = [];
    // Agents and apps outlive this process unless they are ended: also when it is cut short.
    for (const signal of ["SIGINT", "SIGTERM"] as const)
      process.once(signal, () => void unwind(undo).finally(() => process.exit(130)));
    try {
      return await Stand.#build(undo, options);
    } catch (error) {
      await unwind(undo);
      throw error;
    }
  }

  static async #build(undo: Undo, options: StandOptions): Promise<Stand> {
    const dir = await mkdtemp(join(tmpdir(), "sluice-bench-"));
    undo.push(() => rm(dir, { recursive: true, force: true }));
    const home = await openHome(join(dir, ".sluice"));
    const base = await freePorts(HOSTS.length * SLOTS);
    const stack = await startStack({
      stateDir: home.stateDir,
      edgePort: 0,
      controlPort: 0,
      adminTokenSha256: home.tokenSha256,
      secretsKey: home.secretsKey,
      version: "bench",
      slotPorts: { first: base, count: HOSTS.length * SLOTS },
      ...options,
    });
    undo.push(() => stack.dispose());
    await home.announce(stack.controlUrl, stack.edgeUrl);
    const stand = new Stand(home, stack, undo);
    for (const [index, name] of HOSTS.entries()) {
      const host = stand.#host(name, { controlUrl: stack.controlUrl, portBase: base + index * SLOTS });
      undo.push(async () => {
        await host.stop();
        await host.removeInstances();
      });
      await host.start();
      stand.#hosts.push(host);
    }
    return stand;
  }

  #host(name: string, at: { controlUrl: string; portBase: number }): LocalHost {
    return new LocalHost({
      name,
      client: this.client,
      ...at,
      dir: this.#home.agentDir(name),
      runtime: "process",
      slots: SLOTS,
      processRoot: EXAMPLES,
      log: "nowhere",
    });
  }

  /** An administrator's. */
  get token(): string {
    return this.#home.token;
  }

  /** Process ids of the agents. */
  get agents(): number[] {
    return this.#hosts.map(({ pid }) => pid);
  }

  /** The example's manifest with a variation, applied. */
  async apply({ strategy, drain, keep }: Variation): Promise<void> {
    const manifest = parse(await readFile(join(EXAMPLES, "hello/sluice.yaml"), "utf8"));
    manifest.image = "file:hello";
    manifest.drain = drain;
    Object.assign(manifest.environments.production, { strategy, keep });
    const text = stringify(manifest);
    await writeFile(this.#manifestFile, text);
    await this.client.apps.apply(APP, text);
  }

  /** Starts a release and answers it when it has all traffic. Throws when it ends otherwise, with its own words. */
  async deploy(version: string): Promise<ReleaseView> {
    const at = { app: APP, environment: ENVIRONMENT, idempotencyKey: `bench-${version}` };
    let release = await this.client.releases.create(at, { version });
    const until = Date.now() + SERVING_WITHIN_MS;
    while (release.servingAt === null) {
      const over = release.endedAt !== null || Date.now() > until;
      if (over) throw new Error(`${version} is ${release.state}: ${JSON.stringify(release.failure)}`);
      await sleep(LOOK_MS);
      release = await this.client.releases.get(release.id);
    }
    return release;
  }

  /** Runs the real CLI. */
  cli(args: readonly string[]): Promise<CliRun> {
    const signal = AbortSignal.timeout(SERVING_WITHIN_MS);
    return sluice([...args, "-f", this.#manifestFile, "--json"], { home: this.#home, signal });
  }

  /** How long the slowest instance of a release took to boot, as its agents measured it. */
  async bootMs(release: ReleaseView): Promise<number> {
    const journals = await Promise.all(
      HOSTS.map((name) => openJournal(this.#home.agentDir(name), (message) => console.error(message))),
    );
    const boots = release.instances.map(({ id }) => {
      const took = journals.map(({ state }) => state.instances[id]?.readyAfterMs);
      const ms = took.find((candidate) => candidate !== undefined);
      if (ms === undefined) throw new Error(`no agent's journal tells how long ${id} took to boot`);
      return ms;
    });
    return Math.max(...boots);
  }

  get #manifestFile(): string {
    return join(this.#home.dir, "sluice.yaml");
  }

  close(): Promise<void> {
    return unwind(this.#undo);
  }
}

/** Last thing first; each once, also when a signal comes in between. */
async function unwind(undo: Undo): Promise<void> {
  for (let step = undo.pop(); step; step = undo.pop()) await step();
}
