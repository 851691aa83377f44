/** What an edge asks control for while visitors come, call by call: the edge's own rules, played in virtual time. */
import { randomUUID } from "node:crypto";
import { type MeterBatch, windowOf } from "../../src/domain/routing/meter.ts";
import { random as seeded } from "../canary/random.ts";

/** As the edge has them (src/edge/table.ts, src/edge/meter.ts). */
const TABLE_FRESH_MS = 1_000;
const WHOLE_TABLE_EVERY_MS = 30_000;
const FLUSH_AT_REST_MS = 10_000;

export interface Crowd {
  /** Visitors' requests a second, of all isolates together. */
  readonly perSecond: number;
  readonly dataCentres: number;
  readonly isolatesEach: number;
}

/** One call over the edge's service binding. */
export interface EdgeCall {
  /** Epoch ms of the meter's clock; null: now. */
  readonly at: number | null;
  readonly hostname?: string;
  readonly known?: number | null;
  readonly batch?: MeterBatch;
}

interface Isolate {
  readonly colo: string;
  checkedAt: number;
  wholeAt: number;
  flushAt: number;
  counted: number;
}

interface Scene {
  readonly crowd: Crowd;
  readonly seconds: number;
  readonly from: number;
  readonly site: Site;
}
export interface Site {
  readonly hostname: string;
  readonly version: number;
  readonly release: string;
  /** Whose counts these are. */
  readonly environment: string;
}

/** All calls of so many seconds at rest, in their order. The same each time: its chance is seeded. */
export function callsAtRest({ crowd, seconds, from, site }: Scene): EdgeCall[] {
  const { uniform: random } = seeded(7, 1);
  const isolates = Array.from(
    { length: crowd.dataCentres * crowd.isolatesEach },
    (_, n): Isolate => ({
      colo: `C${n % crowd.dataCentres}`,
      checkedAt: 0,
      wholeAt: 0,
      flushAt: 0,
      counted: 0,
    }),
  );
  /** When control last vouched for the copy that a data centre's isolates share. */
  const shared = new Map<string, number>();
  const calls: EdgeCall[] = [];
  const flush = (isolate: Isolate) => {
    calls.push({ at: isolate.flushAt, batch: batchOf(site, isolate, isolate.flushAt) });
    isolate.flushAt = 0;
    isolate.counted = 0;
  };
  for (
    let at = from;
    at < from + seconds * 1_000;
    at += (-Math.log(1 - random()) * 1_000) / crowd.perSecond
  ) {
    for (const isolate of isolates) if (isolate.flushAt > 0 && isolate.flushAt <= at) flush(isolate);
    const isolate = isolates[Math.floor(random() * isolates.length)];
    if (isolate === undefined) break;
    refresh(isolate, at);
    isolate.counted += 1;
    if (isolate.flushAt === 0) isolate.flushAt = at + FLUSH_AT_REST_MS;
  }
  return calls;

  function refresh(isolate: Isolate, at: number): void {
    if (at - isolate.checkedAt <= TABLE_FRESH_MS) return;
    const copy = shared.get(isolate.colo) ?? 0;
    if (at - copy <= TABLE_FRESH_MS) {
      isolate.checkedAt = copy;
      return;
    }
    const isWhole = at - isolate.wholeAt >= WHOLE_TABLE_EVERY_MS;
    calls.push({ at, hostname: site.hostname, known: isWhole ? null : site.version });
    if (isWhole) isolate.wholeAt = at;
    isolate.checkedAt = at;
    shared.set(isolate.colo, at);
  }
}

/** An isolate's counts of ten seconds, of two instances that take turns. */
export function batchOf(
  site: Site,
  { colo, counted }: { readonly colo: string; readonly counted: number },
  at: number,
  judged = false,
): MeterBatch {
  const window = windowOf(at);
  const entry = (n: number, requests: number) => ({
    release: site.release,
    instance: `${site.release}-${n}`,
    window,
    requests,
    errors: 0,
    pathErrors: 0,
    classes: [0, 0, requests, 0, 0, 0] as const,
    rescued: 0,
    failed: 0,
    latency: [[40, requests] as const],
    erroredVisitors: [],
    eligible: true,
  });
  const half = Math.ceil(counted / 2);
  const entries = counted < 2 ? [entry(0, counted)] : [entry(0, half), entry(1, counted - half)];
  return { id: randomUUID(), environment: site.environment, colo, judged, entries, mirrored: [] };
}
