/**
 * How long a bad release goes on answering after the command to roll back to warm instances: by the API, and by the CLI,
 * whose own start counts too. Under load, so that the last answer is seen to a few ms.
 * `--d1-latency <ms>`: with a database that is so far away.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { Load } from "../local/load.ts";
import { aroundFarDatabase, D1_MS } from "./far-database.ts";
import { type BenchResult, median, resultOf } from "./result.ts";
import { APP, ENVIRONMENT, HOSTNAME, Stand } from "./stand.ts";

const RUNS = process.argv.includes("--quick") ? 2 : 6;
/** One answer each 5 ms. */
const RATE = 200;
/** The edge's own bound is 3 s: what still answers after this would be a miss in any case. */
const WATCH_MS = 3_500;
const SEEN_WITHIN_MS = 5_000;

type By = "api" | "cli";
interface Visited {
  readonly stand: Stand;
  readonly load: Load;
}

/** Milliseconds from the command to the last answer of the release that was rolled back. */
export async function run(): Promise<BenchResult> {
  const stand = await Stand.open({ around: aroundFarDatabase(D1_MS) });
  const failures: string[] = [];
  const onFailure = (phase: string, failure: string) => failures.push(`${phase}: ${failure}`);
  const load = new Load({ edgeUrl: stand.edgeUrl, hostname: HOSTNAME, rate: RATE, onFailure });
  try {
    await stand.apply({ strategy: "blue-green", drain: "1s", keep: "60s" });
    await stand.deploy("good");
    load.start();
    const took: Record<By, number[]> = { api: [], cli: [] };
    for (let n = 0; n < 2 * RUNS; n += 1) {
      const by = n % 2 === 0 ? "api" : "cli";
      took[by].push(await rollBack({ stand, load }, { by, version: `bad-${n}` }));
    }
    await load.stop();
    for (const failure of failures) console.error(`  failed in ${failure}`);
    const figures = {
      runs: RUNS,
      d1Ms: D1_MS,
      apiMedianMs: Math.round(median(took.api)),
      apiMaxMs: Math.max(...took.api),
      cliMedianMs: Math.round(median(took.cli)),
      cliMaxMs: Math.max(...took.cli),
      failed: failures.length,
    };
    return resultOf("rollback", figures, {
      apiMaxMs: { atMost: D1_MS === 0 ? 1_500 : 3_000 },
      cliMaxMs: { atMost: 3_000 },
      failed: { atMost: 0 },
    });
  } finally {
    await load.stop();
    await stand.close();
  }
}

async function rollBack(
  { stand, load }: Visited,
  { by, version }: { by: By; version: string },
): Promise<number> {
  load.phase(`deploy of ${version}`);
  await stand.deploy(version);
  await seen(load, version);
  // Long enough for every isolate to have it, and not the same in each run: no refresh may happen to fall in step.
  await sleep(1_500 + Math.random() * 1_000);
  load.phase(`rollback of ${version} by ${by}`);
  const began = Date.now();
  if (by === "api") {
    const { how } = await stand.client.environments.rollback(APP, ENVIRONMENT);
    if (how !== "instant") throw new Error(`rolling back ${version} was ${how}, not instant`);
  } else {
    const { code } = await stand.cli(["rollback"]);
    if (code !== 0) throw new Error(`sluice rollback ended with code ${code}`);
  }
  await sleep(Math.max(0, began + WATCH_MS - Date.now()));
  return Math.max(0, (load.lastSeen(version) ?? began) - began);
}

/** A release that never answered would be rolled back in no time. */
async function seen(load: Load, version: string): Promise<void> {
  const until = Date.now() + SEEN_WITHIN_MS;
  while (load.lastSeen(version) === undefined) {
    if (Date.now() > until) throw new Error(`${version} has all traffic, but answered nobody in 5 s`);
    await sleep(20);
  }
}
