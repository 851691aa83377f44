import type { Traffic } from "../../domain/canary/forecast.ts";
import type { Price } from "../../domain/rollout/analysis/price.ts";
import type { MeterBatch } from "../../domain/routing/meter.ts";
import type { EnvironmentSpec } from "../../domain/spec.ts";
import { addCounted, type Counted, nothingCounted } from "./counted.ts";
import type { StoredTotals } from "./counts.ts";
import { type RecentCounts, sumOf } from "./recent.ts";
import { addToTotal, noTotal, type ReleaseTotal } from "./totals.ts";

/** What a meter object answers. */
export interface MeterPart {
  absorb(batch: MeterBatch): Promise<void>;
  read(from: number, to: number, releases?: readonly string[]): Promise<Counted[]>;
  /** What was counted of each instance within the minute before `now` (epoch ms). */
  recent(now: number): Promise<RecentCounts[]>;
  /** What a release like this would cost by such traffic. */
  price(spec: EnvironmentSpec, traffic: Traffic, from: number): Promise<Price>;
  /** What was ever counted of each release, as of `now` (epoch ms). */
  totals(now: number): Promise<StoredTotals>;
}
export interface MeterParts {
  getByName(name: string): MeterPart;
}

/**
 * An object takes some 200–500 requests a second that write before it says `overloaded`: this many parts take the counts of
 * a thousand isolates, and are few enough for a judge to ask all of them at each look.
 */
const PARTS = 4;

/** The part that counts a data centre's batches: always the same, so that one which comes again is known there. */
export function partOf(environment: string, colo: string): string {
  let hash = 0;
  for (const char of colo) hash = (hash * 31 + char.charCodeAt(0)) % 65_521;
  return `${environment}/${hash % PARTS}`;
}

const partsOf = (environment: string): string[] =>
  Array.from({ length: PARTS }, (_, n) => `${environment}/${n}`);

/** What all parts ever counted of each release, by its id. `lagMs`: of the part that is furthest behind. */
export async function readTotals(
  meter: MeterParts,
  environment: string,
  now: number,
): Promise<{ releases: Map<string, ReleaseTotal>; lagMs: number }> {
  const parts = await Promise.all(partsOf(environment).map((name) => meter.getByName(name).totals(now)));
  const releases = new Map<string, ReleaseTotal>();
  for (const part of parts.flatMap((each) => each.releases)) {
    const sum = releases.get(part.release) ?? noTotal(part.release);
    addToTotal(sum, part);
    releases.set(part.release, sum);
  }
  return { releases, lagMs: Math.max(...parts.map(({ lagMs }) => lagMs)) };
}

/** What all parts counted of each instance within the minute before `now` (epoch ms). */
export async function readRecent(
  meter: MeterParts,
  environment: string,
  now: number,
): Promise<RecentCounts[]> {
  const parts = partsOf(environment).map((name) => meter.getByName(name).recent(now));
  return sumOf((await Promise.all(parts)).flat());
}

/** What all parts counted, from `from` up to `to` (epoch ms), merged per window and release, oldest first. */
export async function readCounts(
  meter: MeterParts,
  environment: string,
  {
    from,
    to,
    releases,
  }: { readonly from: number; readonly to: number; readonly releases?: readonly string[] },
): Promise<Counted[]> {
  const parts = await Promise.all(
    partsOf(environment).map((name) => meter.getByName(name).read(from, to, releases)),
  );
  const sums = new Map<string, Counted>();
  for (const part of parts.flat()) {
    const key = `${part.window} ${part.release}`;
    const sum = sums.get(key) ?? nothingCounted(part.release, part.window);
    addCounted(sum, part);
    sums.set(key, sum);
  }
  return [...sums.values()].sort((a, b) => a.window - b.window);
}
