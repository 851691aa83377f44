import { readFile, statfs } from "node:fs/promises";
import os from "node:os";
import { z } from "zod";
import type { HostFactsReport, HostUsage } from "../../src/protocol/agent/host-facts.ts";
import type { Clock } from "../clock.ts";
import { words } from "../outcome.ts";
import type { Engine } from "../runtime/docker/engine.ts";
import { portsProblem, type SlotPorts } from "./ports.ts";

const CHECK_MS = 60_000;
const ENGINE_WITHIN_MS = 5_000;
/** Free disk is told again when it crosses one of these, percent: it changes with each log line. */
const DISK_STEPS = [20, 10, 5];
/** The protocol's limit. */
const MOST_ACCESSORIES = 200;

export interface FactSources {
  /** Absent: this host runs processes. */
  engine?: Engine | undefined;
  /** The agent's own. */
  directory: string;
  /** Of its slots; absent: not known to this agent. */
  ports?: SlotPorts | undefined;
  tunnel(): HostFactsReport["tunnel"];
  /** Throws when the engine can't be asked; absent: this host has none. */
  accessories?: (() => Promise<HostFactsReport["accessories"]>) | undefined;
  policy?(): HostFactsReport["policy"] | Promise<HostFactsReport["policy"]>;
  /** What only parts of this agent can count; absent: nobody is told how the host fares. */
  counted?(): Counted | Promise<Counted>;
  /** How full a file system is: the system's own, unless given. */
  statfs?: DiskUsage;
}

export type Counted = Pick<HostUsage, "jobs" | "cloudflared">;
type DiskUsage = (path: string) => Promise<{ bsize: number; blocks: number; bavail: number }>;

/** What this host says of itself: with the first poll of an agent, and again when something worth telling changed. */
export class Facts {
  readonly #sources: FactSources;
  readonly #clock: Clock;
  #checkedAt: number | undefined;
  #told: string | undefined;
  #due: HostFactsReport | undefined;

  constructor(sources: FactSources, clock: Clock) {
    this.#sources = sources;
    this.#clock = clock;
  }

  /** What the next poll is to carry; undefined when control knows all of it. Looks at the host once a minute at most. */
  async due(): Promise<HostFactsReport | undefined> {
    const now = this.#clock.monotonic();
    if (now - (this.#checkedAt ?? Number.NEGATIVE_INFINITY) < CHECK_MS) return this.#due;
    this.#checkedAt = now;
    const facts = await collectFacts(this.#sources);
    // How the host fares is another each time: it goes with the poll that comes anyway.
    this.#due = facts.usage === undefined && lastingOf(facts) === this.#told ? undefined : facts;
    return this.#due;
  }

  /** Something is known to have changed: look before the next poll. */
  stale(): void {
    this.#checkedAt = undefined;
  }

  /** Control has them. */
  told(facts: HostFactsReport): void {
    this.#told = lastingOf(facts);
    if (this.#due === facts) this.#due = undefined;
  }
}

/** Facts without what changes all the time. */
function lastingOf({ disk, usage: _, ...rest }: HostFactsReport): string {
  const freePercent = disk && disk.totalBytes > 0 ? (100 * disk.freeBytes) / disk.totalBytes : 100;
  const step = DISK_STEPS.filter((limit) => freePercent < limit).length;
  return JSON.stringify({ ...rest, disk: disk && { path: disk.path, total: disk.totalBytes, step } });
}

export async function collectFacts(sources: FactSources): Promise<HostFactsReport> {
  const asked = sources.engine && (await askEngine(sources.engine));
  const [tunnel, policy] = [sources.tunnel(), await sources.policy?.()];
  const ports = sources.ports && (await factsOfPorts(sources.ports));
  // Of an engine that is away, nothing is claimed.
  const accessories = await sources.accessories?.().catch(() => undefined);
  const disk = await tightestDisk([asked?.root, sources.directory], sources.statfs ?? statfs);
  return {
    // In a container the engine knows the host's system, and this process only its image's.
    os: (asked?.os ?? (await systemName())).slice(0, 200),
    arch: process.arch,
    node: process.version,
    ...(asked && { engine: asked.engine }),
    ...(disk && { disk }),
    ...(ports && { ports }),
    ...(policy && { policy }),
    ...(accessories && { accessories: accessories.slice(0, MOST_ACCESSORIES) }),
    ...(tunnel && { tunnel }),
    ...(sources.counted && { usage: usageOf(asked, await sources.counted()) }),
  };
}

const usageOf = (asked: AskedEngine | undefined, counted: Counted): HostUsage => ({
  uptimeMs: Math.round(process.uptime() * 1_000),
  agentBytes: process.memoryUsage.rss(),
  memory: { totalBytes: os.totalmem(), availableBytes: os.freemem() },
  ...(asked?.tookMs !== undefined && { engineMs: asked.tookMs }),
  ...(asked?.containers && { containers: asked.containers }),
  ...counted,
});

async function factsOfPorts(ports: SlotPorts): Promise<HostFactsReport["ports"]> {
  const problem = await portsProblem(ports);
  return { ...ports, ...(problem && { problem: problem.slice(0, 500) }) };
}

const infoSchema = z.object({
  ServerVersion: z.string().optional(),
  Driver: z.string().optional(),
  DockerRootDir: z.string().optional(),
  OperatingSystem: z.string().optional(),
  LiveRestoreEnabled: z.boolean().optional(),
  ContainersRunning: z.number().optional(),
  ContainersPaused: z.number().optional(),
  ContainersStopped: z.number().optional(),
});
const versionSchema = z.object({ ApiVersion: z.string().optional() });

interface AskedEngine {
  engine: NonNullable<HostFactsReport["engine"]>;
  root?: string | undefined;
  os?: string | undefined;
  tookMs?: number;
  containers?: HostUsage["containers"];
}

async function askEngine(engine: Engine): Promise<AskedEngine> {
  const askedAt = performance.now();
  try {
    const signal = AbortSignal.timeout(ENGINE_WITHIN_MS);
    const [info, { ApiVersion }] = await Promise.all([
      engine.json(infoSchema, "GET", "/info", { signal }),
      engine.json(versionSchema, "GET", "/version", { signal }),
    ]);
    return {
      engine: {
        ...(info.ServerVersion && { version: info.ServerVersion }),
        ...(ApiVersion && { apiVersion: ApiVersion }),
        ...(info.Driver && { storageDriver: info.Driver }),
        ...(info.LiveRestoreEnabled !== undefined && { liveRestore: info.LiveRestoreEnabled }),
      },
      root: info.DockerRootDir,
      os: info.OperatingSystem,
      tookMs: Math.round(performance.now() - askedAt),
      containers: {
        running: info.ContainersRunning ?? 0,
        paused: info.ContainersPaused ?? 0,
        stopped: info.ContainersStopped ?? 0,
      },
    };
  } catch (thrown) {
    return { engine: { problem: words(thrown).slice(0, 500) } };
  }
}

async function systemName(): Promise<string> {
  const release = await readFile("/etc/os-release", "utf8").catch(() => ""); // not on every system
  return /^PRETTY_NAME="?([^"\n]+)/m.exec(release)?.[1] ?? `${os.type()} ${os.release()}`;
}

/** Of the file systems that hold these paths, the one with the smallest share free. */
async function tightestDisk(
  paths: (string | undefined)[],
  usage: DiskUsage,
): Promise<HostFactsReport["disk"]> {
  const disks = await Promise.all(paths.map((path) => (path ? diskOf(path, usage) : undefined)));
  const found = disks.filter((disk) => disk !== undefined && disk.totalBytes > 0);
  const share = (disk: NonNullable<HostFactsReport["disk"]>) => disk.freeBytes / disk.totalBytes;
  return found.sort((a, b) => (a && b ? share(a) - share(b) : 0))[0];
}

async function diskOf(path: string, usage: DiskUsage): Promise<HostFactsReport["disk"]> {
  try {
    const { bsize, blocks, bavail } = await usage(path);
    return { path, totalBytes: bsize * blocks, freeBytes: bsize * bavail };
  } catch {
    // The engine's directory, seen from within a container: it isn't there.
    return undefined;
  }
}
