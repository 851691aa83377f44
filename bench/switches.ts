/**
 * Releases of all three strategies, one upon the other, under load: GET and POST over keep-alive connections, uploads that
 * stream, events that go on while their instance drains. Whatever a visitor does not get whole is a failure; none is allowed.
 * BENCH_SWITCHES: how many releases (50; with --quick 9).
 */
import { setTimeout as sleep } from "node:timers/promises";
import { Load } from "../local/load.ts";
import { type BenchResult, resultOf } from "./result.ts";
import { HOSTNAME, Stand } from "./stand.ts";
import { Visitors } from "./visitors.ts";

const RELEASES = Number(process.env.BENCH_SWITCHES ?? (process.argv.includes("--quick") ? 9 : 50));
const RATE = 100;
const UPLOADERS = 3;
const LISTENERS = 6;
/** Longer than a stream or an upload lasts. */
const DRAIN = "4s";
/** The last instances to go are watched to their end: staleness, drain, and their stop. */
const AFTERMATH_MS = 9_000;
/** The bound of the edge is 3 s. */
const IN_FORCE_WITHIN_MS = 5_000;

const STRATEGIES: Record<string, unknown> = {
  "blue-green": "blue-green",
  rolling: { rolling: { maxSurge: 1, maxUnavailable: 0 } },
  canary: {
    canary: {
      steps: [{ weight: 20, bake: "1s" }, { weight: 60, bake: "1s" }, { weight: 100 }],
      analysis: false,
    },
  },
};

interface World {
  readonly stand: Stand;
  readonly load: Load;
  readonly visitors: Visitors;
}

export async function run(): Promise<BenchResult> {
  const failures: { phase: string; failure: string }[] = [];
  const onFailure = (phase: string, failure: string) => {
    failures.push({ phase, failure });
    console.error(`  FAILED in ${phase}: ${failure}`);
  };
  const stand = await Stand.open();
  const visited = { edgeUrl: stand.edgeUrl, hostname: HOSTNAME, onFailure };
  const load = new Load({ ...visited, rate: RATE });
  const visitors = new Visitors({ ...visited, uploaders: UPLOADERS, listeners: LISTENERS });
  const world = { stand, load, visitors };
  try {
    await stand.apply({ strategy: "blue-green", drain: DRAIN, keep: "0s" });
    await stand.deploy("v0");
    load.start();
    visitors.start();
    const began = Date.now();
    const phases = await releaseAll(world);
    const seconds = (Date.now() - began) / 1_000;
    enter(world, "aftermath");
    await sleep(AFTERMATH_MS);
    await leave(world);
    const requests = [...phases, "aftermath"].reduce((sum, phase) => sum + load.counts(phase).requests, 0);
    const figures = {
      releases: phases.length,
      secondsPerRelease: Number((seconds / phases.length).toFixed(2)),
      requests,
      ...visitors.counts,
      failed: failures.length,
    };
    const some = { atLeast: phases.length };
    return resultOf("switches", figures, {
      requests: some,
      uploads: some,
      streams: some,
      failed: { atMost: 0 },
    });
  } finally {
    await leave(world);
    await stand.close();
  }
}

/** Each begins as soon as the one before has all traffic, while the instances of earlier ones still drain. */
async function releaseAll(world: World): Promise<string[]> {
  const names = Object.keys(STRATEGIES);
  const phases: string[] = [];
  for (let n = 1; n <= RELEASES; n += 1) {
    const name = names[(n - 1) % names.length] ?? "";
    const phase = `v${n} (${name})`;
    phases.push(phase);
    enter(world, phase);
    await world.stand.apply({ strategy: STRATEGIES[name], drain: DRAIN, keep: "0s" });
    await world.stand.deploy(`v${n}`);
    await inForce(world.load, `v${n}`);
  }
  return phases;
}

/** A switch that no visitor saw would prove nothing. */
async function inForce(load: Load, version: string): Promise<void> {
  const until = Date.now() + IN_FORCE_WITHIN_MS;
  while (load.firstSeen(version) === undefined) {
    if (Date.now() > until)
      throw new Error(`${version} has all traffic, but answered nobody within ${IN_FORCE_WITHIN_MS} ms`);
    await sleep(20);
  }
}

function enter({ load, visitors }: World, phase: string): void {
  load.phase(phase);
  visitors.phase(phase);
}

async function leave({ load, visitors }: World): Promise<void> {
  await Promise.all([load.stop(), visitors.stop()]);
}
