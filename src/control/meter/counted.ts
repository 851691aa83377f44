import { type Compared, Comparisons } from "../../domain/routing/compare.ts";
import { HISTOGRAM_BUCKETS, latencyBucket, type MeterEntry } from "../../domain/routing/meter.ts";
import { addSplit, addToSplit, noSplit, type Split } from "./split.ts";

/** Visitors are told apart by a number below this (canary.md §6). */
const VISITORS = 10_000;

/**
 * All that is quicker counts as this. The edge's clock has whole milliseconds: 1 ms against 2 would be twice as slow to the
 * judge, and is its grain.
 */
const FINEST_BUCKET = latencyBucket(5);

/** Counts of one release in one window. Of fixed size, however many requests they stand for. */
export interface Counted {
  readonly release: string;
  /** Epoch ms of its start. */
  readonly window: number;
  /** All visitors' requests, and of those the ones that failed in the visitor's eyes. */
  requests: number;
  failed: number;
  /** All answers by class: index 0 = none at all, 1–5 = 1xx–5xx. */
  readonly classes: number[];
  /** What a judge needs, of the rollout's eligible visitors alone; null: none of them was counted. */
  judged: Judged | null;
  /** The same by instance and route; absent: traffic was not split. */
  split?: Split;
  /** Control's own requests, which are in nothing of the above; absent: there were none. */
  synthetic?: Split;
  /** Its answers to mirrored requests against stable's; absent: none were compared. */
  compared?: Compared;
}

export interface Judged {
  /** Those that the path lost are in neither. */
  requests: number;
  /** Of those, control's own; absent: none. */
  synthetic?: number;
  errors: number;
  /** Dense histogram (domain/routing/meter.ts). */
  readonly latency: Float64Array;
  /** A bit for each visitor who met an error. */
  readonly visitors: Uint8Array;
}

export const nothingCounted = (release: string, window: number): Counted => ({
  release,
  window,
  requests: 0,
  failed: 0,
  classes: [0, 0, 0, 0, 0, 0],
  judged: null,
});

const blank = (): Judged => ({
  requests: 0,
  errors: 0,
  latency: new Float64Array(HISTOGRAM_BUCKETS),
  visitors: new Uint8Array(VISITORS / 8),
});

/** Adds what one isolate counted to a window's counts. */
export function addEntry(counted: Counted, entry: MeterEntry): void {
  if (entry.synthetic) return;
  counted.requests += entry.requests;
  counted.failed += entry.failed;
  addClasses(counted, entry.classes);
  if (!entry.eligible || !isSound(entry)) return;
  counted.judged ??= blank();
  const { judged } = counted;
  // What failed on the way says nothing about the release; whether it can be reached is asked by probes (rollout/carry.ts).
  judged.requests += entry.requests - entry.pathErrors;
  judged.errors += entry.errors - entry.pathErrors;
  for (const [bucket, count] of entry.latency) {
    const at = Math.max(bucket, FINEST_BUCKET);
    if (at in judged.latency) judged.latency[at] = (judged.latency[at] ?? 0) + count;
  }
  for (const visitor of entry.erroredVisitors) addVisitor(judged, visitor);
}

/** Adds to what is compared within: by route, under the name that `nameOf` gives, and by instance. */
export function addSplitEntry(counted: Counted, entry: MeterEntry, nameOf: (route: string) => string): void {
  if (!entry.routes || !entry.eligible || !isSound(entry)) return;
  const part = entry.synthetic ? "synthetic" : "split";
  counted[part] ??= noSplit();
  const latency = entry.latency.map(([bucket, n]) => [Math.max(bucket, FINEST_BUCKET), n] as const);
  addToSplit(counted[part], { ...entry, latency }, nameOf);
}

/** Adds what was compared, of bounded size whatever comes. */
export function addComparisons(counted: Counted, more: Compared | undefined): void {
  if (!more || !isSoundComparison(more)) return;
  const sum = new Comparisons();
  if (counted.compared) sum.add(counted.compared);
  sum.add(more);
  counted.compared = sum.read();
}

/** Adds what another part of the meter counted of the same release in the same window. */
export function addCounted(sum: Counted, part: Counted): void {
  sum.requests += part.requests;
  sum.failed += part.failed;
  addClasses(sum, part.classes);
  if (part.split) sum.split = sumOf(sum.split, part.split);
  if (part.synthetic) sum.synthetic = sumOf(sum.synthetic, part.synthetic);
  addComparisons(sum, part.compared);
  if (!part.judged) return;
  sum.judged ??= blank();
  const { judged } = sum;
  judged.requests += part.judged.requests;
  judged.errors += part.judged.errors;
  for (const [bucket, count] of part.judged.latency.entries())
    judged.latency[bucket] = (judged.latency[bucket] ?? 0) + count;
  for (const [at, byte] of part.judged.visitors.entries())
    judged.visitors[at] = (judged.visitors[at] ?? 0) | byte;
}

/** Its counts for a judge to whom control's own requests are visitors' like any other. */
export function withSynthetic(counted: Counted): Counted {
  const { release, window, synthetic } = counted;
  if (!synthetic) return counted;
  const sum = nothingCounted(release, window);
  addCounted(sum, counted);
  sum.split = sumOf(sum.split, synthetic);
  sum.judged ??= blank();
  for (const { requests, errors, latency, visitors } of synthetic.instances.values()) {
    sum.judged.requests += requests;
    sum.judged.synthetic = (sum.judged.synthetic ?? 0) + requests;
    sum.judged.errors += errors;
    for (const [bucket, count] of latency)
      if (bucket in sum.judged.latency)
        sum.judged.latency[bucket] = (sum.judged.latency[bucket] ?? 0) + count;
    for (const visitor of visitors) addVisitor(sum.judged, visitor);
  }
  return sum;
}

function sumOf(sum: Split = noSplit(), part: Split): Split {
  addSplit(sum, part);
  return sum;
}

function addVisitor({ visitors }: Judged, visitor: number): void {
  visitors[visitor >> 3] = (visitors[visitor >> 3] ?? 0) | (1 << (visitor & 7));
}

function addClasses({ classes }: Counted, more: readonly number[]): void {
  for (const at of classes.keys()) classes[at] = (classes[at] ?? 0) + Math.max(0, more[at] || 0);
}

/** Longer names of routes and fields are none of the edge's. */
const MOST_NAME = 400;

function isSoundComparison({ routes, fields }: Compared): boolean {
  const counts = [
    ...routes.map(({ answers }) => answers),
    ...fields.flatMap(({ canary, stable, both }) => [canary, stable, both]),
  ];
  const names = [...routes, ...fields].flatMap((one) =>
    "field" in one ? [one.route, one.field] : [one.route],
  );
  return counts.every(isCount) && names.every((name) => name.length <= MOST_NAME);
}

const isCount = (count: number): boolean => Number.isSafeInteger(count) && count >= 0;

/** The judge refuses a window with an impossible count, and would from then on. */
const isSound = ({ requests, errors, pathErrors, latency }: MeterEntry): boolean =>
  pathErrors <= errors && [requests, errors, pathErrors, ...latency.map(([, count]) => count)].every(isCount);
