/**
 * What this isolate counted and control does not know yet. Counting is a few additions after the answer; a flush runs
 * behind a request a second after the first count, and what a failed flush held goes with the next, under the same id.
 */

import type { RouteInstance } from "../domain/routing/choose.ts";
import { type Comparison, Comparisons } from "../domain/routing/compare.ts";
import {
  LATE_MS,
  latencyBucket,
  type MeterBatch,
  type MeterEntry,
  type MirrorEntry,
  windowOf,
} from "../domain/routing/meter.ts";
import { RouteNames } from "../domain/routing/route-name.ts";
import type { RoutingTable } from "../domain/routing/table.ts";
import { writeAnalytics } from "./analytics.ts";
import { TIMED_OUT, within } from "./deadline.ts";
import type { Env } from "./env.ts";
import type { Tried } from "./forward.ts";
import type { Passage } from "./passage.ts";
import { type Delivery, KEPT_BODY_BYTES } from "./rescue.ts";
import type { Visit } from "./visit.ts";
import { bucketFor } from "./visitor.ts";

const FLUSH_EVERY_MS = 1_000;
/** At rest nobody judges, and each flush costs: this many times FLUSH_EVERY_MS go by between two. */
const FLUSHES_AT_REST = 10;
const FLUSH_DEADLINE_MS = 5_000;
/** Of a watched release: so many errors, or late answers, at once, and at least this share of the requests, are not to wait either. */
const URGENT_ERRORS = 3;
const URGENT_SHARE = 0.05;
/** Batches kept while control is away; past it the oldest goes. Ten minutes of one a second. */
const KEPT_BATCHES = 600;
/** Batches sent per flush: a backlog drains without a storm. */
const BATCHES_PER_FLUSH = 10;
/** Environments whose routes are told apart at a time. */
const MOST_SPLIT = 100;

/** A MeterEntry while it grows. */
interface Tally {
  readonly release: string;
  readonly instance: string;
  readonly window: number;
  readonly eligible: boolean;
  requests: number;
  errors: number;
  pathErrors: number;
  readonly classes: [number, number, number, number, number, number];
  rescued: number;
  failed: number;
  readonly latency: Map<number, number>;
  readonly erroredVisitors: Set<number>;
  /** Null: traffic is not split, and nobody compares routes. */
  routes: Map<string, RouteTally> | null;
}

interface RouteTally {
  requests: number;
  errors: number;
  visitors: Set<number> | null;
  failedId?: string;
}

interface Unsent {
  batch: MeterBatch;
  /** Epoch ms before which it may still be on its way. */
  resendAt: number;
}

interface EnvironmentCounts {
  /** Somebody judges these counts: they are not to wait. */
  judged: boolean;
  requests: number;
  /** And answers that are late. */
  errors: number;
  /** A watched release's errors are many. */
  urgent: boolean;
  /** By instance, eligible and other traffic apart. */
  readonly eligible: Map<string, Tally>;
  readonly other: Map<string, Tally>;
  /** Tallies of windows that have passed. */
  readonly closed: Tally[];
  readonly mirrored: Map<string, MirrorTally>;
}

/** A MirrorEntry while it grows. */
interface MirrorTally extends Omit<MirrorEntry, "compared"> {
  readonly compared: Comparisons;
}

export class Meter {
  readonly #counts = new Map<string, EnvironmentCounts>();
  /** By environment, while its traffic is split. */
  readonly #routes = new Map<string, RouteNames>();
  readonly #unsent: Unsent[] = [];
  /** Epoch ms. Past it a flush counts as lost, and the next request starts another. */
  #flushUntil = 0;
  /** Some of the counts that wait are judged, or urgent. */
  #isAwaited = false;

  /**
   * The delivery that is asked for. While a release is compared or watched, one that takes LATE_MS is told to be late by then. Not one
   * whose visitor may still be sending: a slow upload, or one broken off, is not the app's.
   */
  timed(passage: Passage, asked: Promise<Delivery>): Promise<Delivery> {
    const { visit, visitor, isDealt } = passage;
    const { isSplit, table } = visit.route;
    if (!isDealt || !visitor.eligible || !(isSplit || table.watched)) return asked;
    if ((visit.survey.contentLength ?? 0) > KEPT_BODY_BYTES) return asked;
    return within(asked, LATE_MS).then((soon) => {
      if (soon !== TIMED_OUT) return soon;
      const now = Date.now();
      const counts = this.#countsOf(table);
      addLatency(tallyOf(counts, passage.instance, windowOf(now), true), LATE_MS);
      this.#note(counts, table);
      this.#schedule(visit, now);
      return asked;
    });
  }

  /** Counts a delivery: for the rollout only if an eligible visitor was dealt this release. */
  count(passage: Passage, delivery: Delivery): void {
    const { visit, visitor, isDealt } = passage;
    const { first, last } = delivery;
    if (!first.verdict.isTrial) return;
    const eligible = isDealt && visitor.eligible;
    // Not that in which it arrived: judges have seen it by the time that a slow answer comes.
    const window = windowOf(last.endedAt);
    const counts = this.#countsOf(visit.route.table);
    const tally = tallyOf(counts, first.instance, window, eligible);
    add(tally, first, passage);
    if (eligible && visit.route.isSplit) this.#countRoute(tally, first, passage);
    counts.requests += 1;
    if (first.verdict.error) {
      this.#note(counts, visit.route.table);
      if (last.verdict.error) tally.failed += 1;
      else tally.rescued += 1;
      // Later attempts were steered here by another's failure: they say nothing about a fair split.
      for (const tried of delivery.attempts) {
        if (tried !== first) add(tallyOf(counts, tried.instance, window, false), tried, passage);
      }
    }
    this.#schedule(visit, last.endedAt);
  }

  /** One that failed, or is late: of a watched release many of them are not to wait. */
  #note(counts: EnvironmentCounts, { watched }: RoutingTable): void {
    counts.errors += 1;
    counts.urgent ||= watched === true && isMany(counts);
    this.#isAwaited ||= counts.urgent;
  }

  #countRoute(tally: Tally, { verdict, endedAt }: Tried, { visit, visitor }: Passage): void {
    if (verdict.pathFault) return;
    const { environment } = visit.route.table;
    let names = this.#routes.get(environment);
    if (names === undefined) {
      // Few are split at a time: whoever comes after them begins anew.
      if (this.#routes.size >= MOST_SPLIT) this.#routes.clear();
      names = new RouteNames();
      this.#routes.set(environment, names);
    }
    const route = names.admit(names.nameOf(visit.method, visit.url.target), verdict.error, endedAt);
    tally.routes ??= new Map();
    let counts = tally.routes.get(route);
    if (counts === undefined) {
      counts = { requests: 0, errors: 0, visitors: null };
      tally.routes.set(route, counts);
    }
    counts.requests += 1;
    if (!verdict.error) return;
    counts.errors += 1;
    counts.failedId = visit.survey.requestId;
    counts.visitors ??= new Set();
    counts.visitors.add(bucketFor(visitor, visit));
  }

  countCompared(visit: Visit, release: string, comparison: Comparison): void {
    const { mirrored } = this.#countsOf(visit.route.table);
    const now = Date.now();
    const window = windowOf(now);
    const key = `${release} ${window}`;
    const entry = mirrored.get(key) ?? { release, window, compared: new Comparisons() };
    entry.compared.count(comparison);
    mirrored.set(key, entry);
    this.#schedule(visit, now);
  }

  #countsOf({ environment, judged = true }: RoutingTable): EnvironmentCounts {
    let counts = this.#counts.get(environment);
    if (counts === undefined) {
      counts = {
        judged,
        requests: 0,
        errors: 0,
        urgent: false,
        eligible: new Map(),
        other: new Map(),
        closed: [],
        mirrored: new Map(),
      };
      this.#counts.set(environment, counts);
    }
    counts.judged ||= judged;
    this.#isAwaited ||= judged;
    return counts;
  }

  #schedule(visit: Visit, now: number): void {
    if (this.#flushUntil > now) return;
    this.#flushUntil = now + FLUSH_EVERY_MS * FLUSHES_AT_REST + FLUSH_DEADLINE_MS * 2;
    visit.ctx.waitUntil(this.#flush(visit.env, String(visit.request.cf?.colo ?? "LOCAL")));
  }

  async #flush(env: Env, colo: string): Promise<void> {
    for (let waited = 0; waited < FLUSHES_AT_REST; waited++) {
      await scheduler.wait(FLUSH_EVERY_MS);
      if (this.#isAwaited) break;
    }
    this.#isAwaited = false;
    // From here on, new counts schedule the next flush.
    const batches = this.#take(colo);
    this.#flushUntil = 0;
    // Comparisons are long, and a sample: those that wait for control would fill this isolate's memory.
    for (const unsent of this.#unsent)
      if (unsent.batch.mirrored.length > 0) unsent.batch = { ...unsent.batch, mirrored: [] };
    this.#unsent.push(...batches.map((batch) => ({ batch, resendAt: 0 })));
    this.#unsent.splice(0, Math.max(0, this.#unsent.length - KEPT_BATCHES));
    for (const batch of batches) writeAnalytics(env, batch);
    const now = Date.now();
    const due = this.#unsent.filter(({ resendAt }) => resendAt <= now).slice(0, BATCHES_PER_FLUSH);
    await Promise.all(due.map((unsent) => this.#send(env, unsent)));
  }

  async #send(env: Env, unsent: Unsent): Promise<void> {
    unsent.resendAt = Date.now() + FLUSH_DEADLINE_MS * 2;
    try {
      if ((await within(env.CONTROL.meter(unsent.batch), FLUSH_DEADLINE_MS)) === TIMED_OUT) return;
    } catch {
      // Control is away: the batch stays in #unsent and goes with the next flush.
      unsent.resendAt = 0;
      return;
    }
    const at = this.#unsent.indexOf(unsent);
    if (at !== -1) this.#unsent.splice(at, 1);
  }

  #take(colo: string): MeterBatch[] {
    const batches: MeterBatch[] = [];
    for (const [environment, counts] of this.#counts) {
      const tallies = [...counts.closed, ...counts.eligible.values(), ...counts.other.values()];
      const entries = tallies.map(entryOf);
      batches.push({
        id: crypto.randomUUID(),
        environment,
        colo,
        judged: counts.judged,
        ...(counts.urgent ? { urgent: true } : {}),
        entries,
        mirrored: [...counts.mirrored.values()].map(mirrorEntryOf),
      });
    }
    this.#counts.clear();
    return batches;
  }
}

const mirrorEntryOf = ({ compared, ...entry }: MirrorTally): MirrorEntry => ({
  ...entry,
  compared: compared.read(),
});

const isMany = ({ requests, errors }: EnvironmentCounts): boolean =>
  errors >= URGENT_ERRORS && errors >= requests * URGENT_SHARE;

function tallyOf(
  counts: EnvironmentCounts,
  { id, release }: RouteInstance,
  window: number,
  eligible: boolean,
): Tally {
  const byInstance = eligible ? counts.eligible : counts.other;
  const held = byInstance.get(id);
  if (held !== undefined && held.window === window) return held;
  if (held !== undefined) counts.closed.push(held);
  const tally: Tally = {
    release: release.id,
    instance: id,
    window,
    eligible,
    requests: 0,
    errors: 0,
    pathErrors: 0,
    classes: [0, 0, 0, 0, 0, 0],
    rescued: 0,
    failed: 0,
    latency: new Map(),
    erroredVisitors: new Set(),
    routes: null,
  };
  byInstance.set(id, tally);
  return tally;
}

function add(tally: Tally, tried: Tried, { visit, visitor }: Passage): void {
  const { attempt, verdict } = tried;
  tally.requests += 1;
  const statusClass = attempt.kind === "answered" ? Math.min(5, Math.floor(attempt.status / 100)) : 0;
  tally.classes[statusClass as 0] += 1;
  if (!verdict.error) {
    addLatency(tally, tried.durationMs);
    return;
  }
  tally.errors += 1;
  if (verdict.pathFault) tally.pathErrors += 1;
  else tally.erroredVisitors.add(bucketFor(visitor, visit));
}

function addLatency({ latency }: Tally, ms: number): void {
  const bucket = latencyBucket(ms);
  latency.set(bucket, (latency.get(bucket) ?? 0) + 1);
}

function entryOf({ routes, ...tally }: Tally): MeterEntry {
  const entry = { ...tally, latency: [...tally.latency], erroredVisitors: [...tally.erroredVisitors] };
  if (routes === null) return entry;
  const byRoute = [...routes].map(([route, counts]) => ({
    route,
    ...counts,
    visitors: [...(counts.visitors ?? [])],
  }));
  return { ...entry, routes: byRoute };
}
