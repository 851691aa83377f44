/**
 * Release upon release, and what each process holds in memory meanwhile: workerd (control, edge, D1 and their objects), the
 * agents, and this process (Miniflare). Each isolate of workerd is asked for its heap, so that it can be told whose grows.
 * BENCH_SOAK: how many releases (200; with --quick 40, and fewer tell noise). BENCH_SOAK_RATE: visitors' requests a second (20; 0: none).
 */
import { execFileSync } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";
import { Load } from "../local/load.ts";
import { freePorts } from "../local/ports.ts";
import { collectAll, type Heap, heapsOf } from "./heaps.ts";
import { residentMb } from "./proxies.ts";
import { type BenchResult, resultOf, rounded } from "./result.ts";
import { HOSTNAME, Stand } from "./stand.ts";

const RELEASES = Number(process.env.BENCH_SOAK ?? (process.argv.includes("--quick") ? 40 : 200));
const RATE = Number(process.env.BENCH_SOAK_RATE ?? 20);
/** Caches fill and code is compiled in the first ones. */
const WARM = Math.max(1, Math.floor(RELEASES / 5));
const SAMPLES = 8;
/** What a process takes in its first dozens of releases, and not again, is most of a short run's slope. */
const AGENTS_MB_PER_RELEASE = RELEASES < 100 ? 0.5 : 0.1;
const SETTLE_MS = 3_000;

interface Sample {
  readonly release: number;
  readonly workerd: number;
  readonly agents: number;
  readonly node: number;
  readonly heaps: Readonly<Record<string, Heap>>;
}

export async function run(): Promise<BenchResult> {
  collectAll();
  const inspectorPort = await freePorts(1);
  const stand = await Stand.open({ inspectorPort });
  let failed = 0;
  const onFailure = (phase: string, failure: string) => {
    failed += 1;
    console.error(`  FAILED in ${phase}: ${failure}`);
  };
  const load = new Load({ edgeUrl: stand.edgeUrl, hostname: HOSTNAME, onFailure, rate: Math.max(1, RATE) });
  try {
    await stand.apply({ strategy: "blue-green", drain: "1s", keep: "0s" });
    await stand.deploy("v0");
    if (RATE > 0) load.start();
    const samples = await releaseAll(stand, inspectorPort);
    return figuresOf(samples, failed);
  } finally {
    await load.stop();
    await stand.close();
  }
}

async function releaseAll(stand: Stand, inspectorPort: number): Promise<Sample[]> {
  const workerd = workerdPid();
  const every = Math.max(1, Math.floor((RELEASES - WARM) / SAMPLES));
  const samples: Sample[] = [];
  for (let n = 1; n <= RELEASES; n += 1) {
    await stand.deploy(`v${n}`);
    if (n < WARM || (n - WARM) % every !== 0) continue;
    await sleep(SETTLE_MS);
    const heaps = await heapsOf(inspectorPort);
    const agents = stand.agents.reduce((sum, pid) => sum + residentMb(pid), 0);
    const sample = { release: n, workerd: residentMb(workerd), agents, node: residentMb(process.pid), heaps };
    samples.push(sample);
    const parts = Object.entries(heaps)
      .filter(([, { taken }]) => taken > 4)
      .map(([name, { taken, used }]) => `${name} ${used.toFixed(1)} of ${taken.toFixed(1)}`);
    console.error(
      `  v${n}: workerd ${sample.workerd.toFixed(0)} MB (heaps: ${parts.join(", ")}), agents ${agents.toFixed(0)}, node ${sample.node.toFixed(0)}`,
    );
  }
  return samples;
}

function figuresOf(samples: readonly Sample[], failed: number): BenchResult {
  const first = samples[0];
  const last = samples.at(-1);
  if (!first || !last) throw new Error("no sample was taken: run more releases");
  const perRelease = (of: (sample: Sample) => number) => rounded(slope(samples, of), 3);
  const figures = {
    releases: RELEASES,
    workerdMb: rounded(last.workerd, 0),
    agentsMb: rounded(last.agents, 0),
    nodeMb: rounded(last.node, 0),
    workerdMbPerRelease: perRelease(({ workerd }) => workerd),
    agentsMbPerRelease: perRelease(({ agents }) => agents),
    heapsMbPerRelease: perRelease(({ heaps }) =>
      Object.values(heaps).reduce((sum, { taken }) => sum + taken, 0),
    ),
    controlHeapMb: rounded(last.heaps.control?.taken ?? 0, 1),
    edgeHeapMb: rounded(last.heaps.edge?.taken ?? 0, 1),
    controlKeptMbMore: rounded(keptMore(samples, "control"), 1),
    edgeKeptMbMore: rounded(keptMore(samples, "edge"), 1),
    failed,
  };
  return resultOf("soak", figures, {
    // An isolate's memory at Cloudflare ends at 128 MB.
    controlHeapMb: { atMost: 100 },
    edgeHeapMb: { atMost: 60 },
    controlKeptMbMore: { atMost: 5 },
    edgeKeptMbMore: { atMost: 2 },
    agentsMbPerRelease: { atMost: AGENTS_MB_PER_RELEASE },
    failed: { atMost: 0 },
  });
}

/** How much more an isolate kept in the later half, in MB: what was in use when least was, which is soon after a collection. */
function keptMore(samples: readonly Sample[], name: string): number {
  const least = (some: readonly Sample[]) => Math.min(...some.map(({ heaps }) => heaps[name]?.used ?? 0));
  const half = Math.ceil(samples.length / 2);
  return least(samples.slice(half)) - least(samples.slice(0, half));
}

/** MB per release, by least squares. */
function slope(samples: readonly Sample[], of: (sample: Sample) => number): number {
  const meanX = samples.reduce((sum, { release }) => sum + release, 0) / samples.length;
  const meanY = samples.reduce((sum, sample) => sum + of(sample), 0) / samples.length;
  const over = samples.reduce((sum, sample) => sum + (sample.release - meanX) * (of(sample) - meanY), 0);
  const under = samples.reduce((sum, { release }) => sum + (release - meanX) ** 2, 0);
  return under === 0 ? 0 : over / under;
}

/** The only one that is this process's child. */
function workerdPid(): number {
  const found = execFileSync("pgrep", ["-P", String(process.pid), "workerd"], { encoding: "utf8" });
  return Number(found.trim().split("\n")[0]);
}
