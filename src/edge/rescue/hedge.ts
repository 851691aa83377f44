/**
 * A GET whose instance gives no head for far longer than its release takes is asked of another one too, and the first head
 * wins. For environments that ask for it: it costs each GET a timer.
 */
import { chooseRescue, type RouteInstance } from "../../domain/routing/choose.ts";
import { HISTOGRAM_BUCKETS, latencyBucket } from "../../domain/routing/meter.ts";
import { TIMED_OUT, within } from "../deadline.ts";
import { type Tried, triedOf } from "../forward.ts";
import { note } from "../health.ts";
import type { Passage } from "../passage.ts";

/** A release's 99th percentile, so many times, is when another instance is asked; within these bounds, and never sooner than it. */
const TIMES = 2;
const LEAST_MS = 50;
const MOST_MS = 500;
/** Fewer answers than these say nothing about one in a hundred. */
const LEARNT_FROM = 100;
/** So many answers are remembered, the older ones less and less. */
const REMEMBERED = 2_000;
const MOST_RELEASES = 1_000;

/** How long a release's answers took of late, as this isolate saw them. */
class Pace {
  readonly #counts: number[] = new Array(HISTOGRAM_BUCKETS).fill(0);
  #total = 0;

  add(ms: number): void {
    const bucket = latencyBucket(ms);
    this.#counts[bucket] = (this.#counts[bucket] ?? 0) + 1;
    this.#total += 1;
    if (this.#total < REMEMBERED) return;
    this.#total = 0;
    for (const [index, count] of this.#counts.entries()) {
      this.#counts[index] = count >> 1;
      this.#total += count >> 1;
    }
  }

  /** Until another instance is asked, ms. */
  patience(): number {
    if (this.#total < LEARNT_FROM) return MOST_MS;
    let left = this.#total * 0.01;
    let bucket = HISTOGRAM_BUCKETS - 1;
    for (; bucket > 0; bucket -= 1) {
      left -= this.#counts[bucket] ?? 0;
      if (left < 0) break;
    }
    const p99 = 2 ** ((bucket + 1) / 8);
    return Math.max(p99, Math.min(Math.max(TIMES * p99, LEAST_MS), MOST_MS));
  }
}

const paces = new Map<string, Pace>();

/** Whether a request is one that another instance may be asked for, too. Who keeps to an instance keeps to it. */
export const isHedged = ({ visit, visitor, instance, isPinned }: Passage): boolean =>
  visit.route.table.hedge === true &&
  visit.method === "GET" &&
  visit.isHarmless &&
  visit.request.body === null &&
  !isPinned &&
  visitor.keeper === null &&
  instance.release.ready.length > 1;

export interface Race {
  send(to: RouteInstance, signal: AbortSignal): Promise<Tried>;
  /** False: nothing is left to ask twice with. */
  pay(): boolean;
  /** Lets go of an answer that nobody reads. */
  unread(tried: Tried): void;
}

/** The first head, and before it, in `attempts`, the instance that was outrun. */
export async function race(passage: Passage, attempts: Tried[], runners: Race): Promise<Tried> {
  const { visit, instance } = passage;
  const pace = paceOf(instance.release.id);
  const own = new AbortController();
  const asked = runners.send(instance, own.signal);
  const soon = await within(asked, pace.patience());
  const second = soon === TIMED_OUT ? another(passage) : null;
  if (second === null || !runners.pay()) {
    const tried = soon === TIMED_OUT ? await asked : soon;
    if (!tried.verdict.error) pace.add(tried.durationMs);
    return tried;
  }
  const others = new AbortController();
  const { winner, failed } = await firstGood([asked, runners.send(second, others.signal)], runners);
  if (winner.instance === instance) {
    others.abort();
    if (failed !== null) note(failed, visit);
    if (!winner.verdict.error) pace.add(winner.durationMs);
    return winner;
  }
  own.abort();
  const beaten = failed ?? triedOf(instance, { kind: "outrun" }, null, visit.arrivedAt);
  note(beaten, visit);
  attempts.push(beaten);
  if (!winner.verdict.error) pace.add(winner.durationMs);
  return winner;
}

function paceOf(release: string): Pace {
  let pace = paces.get(release);
  if (pace === undefined) {
    if (paces.size >= MOST_RELEASES) paces.clear();
    pace = new Pace();
    paces.set(release, pace);
  }
  return pace;
}

function another({ visit, instance }: Passage): RouteInstance | null {
  const turn = Math.floor(Math.random() * 1_000);
  const errand = { turn, isResendable: true, now: Date.now() };
  // Of the same release: another one's answer is no hedge, it is a switch.
  return chooseRescue(visit.route, { tried: [instance], isPinned: true }, errand);
}

/** The first of two that is no error, or the later one; and the one that failed before it, if one did. */
function firstGood(
  pair: readonly [Promise<Tried>, Promise<Tried>],
  { unread }: Race,
): Promise<{ winner: Tried; failed: Tried | null }> {
  return new Promise((resolve, reject) => {
    let failed: Tried | null = null;
    let isOver = false;
    for (const asked of pair) {
      asked.then((tried) => {
        if (isOver) return unread(tried);
        isOver = !tried.verdict.error || failed !== null;
        if (isOver) return resolve({ winner: tried, failed });
        failed = tried;
        unread(tried);
      }, reject);
    }
  });
}
