/**
 * What control itself takes of a blue-green release: from its creation until it has all traffic, less the boot of its
 * slowest instance. Pulling is not taken off: of a directory it is a few ms of hashing, counted as control's own.
 * `--d1-latency <ms>`: with a database that is so far away; trips are counted in any case.
 */
import type { ReleaseView } from "../src/protocol/api/releases.ts";
import { aroundFarDatabase, D1_MS } from "./far-database.ts";
import { type BenchResult, median, resultOf } from "./result.ts";
import { Stand } from "./stand.ts";

const RELEASES = process.argv.includes("--quick") ? 5 : 11;
/** States on the way to all traffic, in order. */
const STATES = ["queued", "preparing", "starting", "verifying", "shifting"];

interface Measured {
  readonly release: ReleaseView;
  readonly totalMs: number;
  readonly bootMs: number;
  /** Trips to D1 of its coordinator, one after another. */
  readonly trips: number;
}

/** Milliseconds; medians unless they say otherwise. */
export async function run(): Promise<BenchResult> {
  const stand = await Stand.open({ around: aroundFarDatabase(D1_MS) });
  try {
    await stand.apply({ strategy: "blue-green", drain: "30s", keep: "10m" });
    // The first one replaces nothing, and finds nothing warm in workerd and the agents.
    await stand.deploy("v0");
    const measured: Measured[] = [];
    for (let n = 1; n <= RELEASES; n += 1) measured.push(await measure(stand, `v${n}`));
    return resultOf("release", figuresOf(measured), {
      controlMs: { atMost: D1_MS === 0 ? 1_500 : 3_000 },
      // Where a trip takes no time, each agent's news is read alone.
      coordinatorTrips: { atMost: D1_MS === 0 ? 20 : 14 },
    });
  } finally {
    await stand.close();
  }
}

async function measure(stand: Stand, version: string): Promise<Measured> {
  const before = await tripsOf(stand);
  const release = await stand.deploy(version);
  const trips = (await tripsOf(stand)) - before;
  const totalMs = Date.parse(release.servingAt ?? "") - Date.parse(release.createdAt);
  return { release, totalMs, bootMs: await stand.bootMs(release), trips };
}

async function tripsOf(stand: Stand): Promise<number> {
  const response = await fetch(`${stand.controlUrl}/bench/trips`);
  // Answered by the module around control.
  return ((await response.json()) as { coordinator: number }).coordinator;
}

function figuresOf(measured: readonly Measured[]): BenchResult["figures"] {
  const control = measured.map(({ totalMs, bootMs }) => totalMs - bootMs);
  const states = STATES.map((state) => {
    const spent = median(measured.map(({ release }) => release.timings[state] ?? 0));
    return [`${state}Ms`, Math.round(spent)] as const;
  });
  return {
    releases: measured.length,
    d1Ms: D1_MS,
    coordinatorTrips: Math.round(median(measured.map(({ trips }) => trips))),
    controlMs: Math.round(median(control)),
    controlMaxMs: Math.max(...control),
    bootMs: Math.round(median(measured.map(({ bootMs }) => bootMs))),
    totalMs: Math.round(median(measured.map(({ totalMs }) => totalMs))),
    ...Object.fromEntries(states),
  };
}
