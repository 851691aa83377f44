import { publicHost } from "../../domain/hostnames.ts";
import { answers } from "../../domain/rollout/carry.ts";
import type { EnvironmentFacts, InstanceFacts } from "../../domain/rollout/facts.ts";
import {
  dealVisits,
  type LoadOrder,
  loadIn,
  type Pace,
  type SyntheticVisit,
} from "../../domain/rollout/load.ts";
import { type Attempt, CHALLENGE, verdictOf } from "../../domain/routing/attempt.ts";
import {
  latencyBucket,
  type MeterBatch,
  type MeterEntry,
  WINDOW_MS,
  windowOf,
} from "../../domain/routing/meter.ts";
import { routeName } from "../../domain/routing/route-name.ts";
import { interceptionOf } from "../../protocol/interception.ts";
import { atMost, type Gate } from "../at-most.ts";
import { inRounds } from "./in-rounds.ts";
import type { ReadTraffic } from "./judge.ts";
import { type Path, reach, SYNTHETIC } from "./reach.ts";

/** Slow answers leave room: whether instances answer is not to wait for them. */
const MOST_VISITS = 3;
const TIMEOUT_MS = 10_000;
/** The edge answers so when the platform's time is over. */
const PLATFORM_TIMED_OUT = 524;
const TUNNEL_DOWN = 530;
/** What came by then is counted, though some are still waited for. */
const COUNT_EVERY_MS = 1_000;
/** Visitors are counted over so long. */
const VISITORS_MS = 6 * WINDOW_MS;
/** Visitors are told apart by a number below this (canary.md §6): each synthetic visit is another's. */
const VISITORS = 10_000;

interface Parts {
  readonly path: Path;
  /** Shared with all that is asked of instances. */
  readonly gate: Gate;
  readonly now: () => number;
  readonly read: ReadTraffic;
  readonly count: (batch: Omit<MeterBatch, "environment">) => Promise<void>;
  /** Keeps the object alive for it, and logs what fails. */
  readonly background: (work: Promise<void>) => void;
}

interface Visited {
  readonly visit: SyntheticVisit;
  readonly instance: InstanceFacts;
  readonly attempt: Attempt;
  readonly durationMs: number;
}

/**
 * Makes the synthetic visits of an environment's rollout, beside the turn. They take the way behind the edge that probes take: no
 * visitor can pass for one, since what comes through the edge is a visitor's, and what comes from here is none.
 */
export class Load {
  readonly #parts: Parts;
  #release: string | null = null;
  /** Of now: a round outlives the facts that it began with. */
  #instances: readonly InstanceFacts[] = [];
  #pace: Pace | null = null;
  #stop = new AbortController();
  #isVisiting = false;
  #visitors: { readonly window: number; readonly perS: number } | null = null;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /** Begins, goes on, or ends at once, as the rollout of now asks. Undefined: there is none. */
  tend(facts: EnvironmentFacts | undefined): void {
    const order = facts && loadIn(facts, this.#parts.now());
    this.#instances = facts?.instances ?? [];
    if (order?.release.id !== this.#release) this.#end();
    if (!order || this.#isVisiting) return;
    this.#release = order.release.id;
    this.#isVisiting = true;
    const round = this.#round(order, this.#stop.signal);
    const ended = () => {
      this.#isVisiting = false;
    };
    this.#parts.background(round.finally(ended));
  }

  #end(): void {
    this.#stop.abort();
    this.#stop = new AbortController();
    this.#release = null;
    this.#pace = null;
    this.#visitors = null;
  }

  async #round(order: LoadOrder, stop: AbortSignal): Promise<void> {
    const { now, gate } = this.#parts;
    const { load, release } = order;
    const visitorsPerS = await this.#visitorsPerS(order);
    if (stop.aborted) return;
    const dealt = dealVisits(this.#pace, { load, weightBp: release.weightBp, visitorsPerS, now: now() });
    this.#pace = dealt.pace;
    const hand = (visited: readonly Visited[]) => this.#count(visited, load.judge);
    await inRounds<Visited>(COUNT_EVERY_MS, hand, (tell) =>
      atMost(MOST_VISITS, dealt.visits, (visit) =>
        gate.through(async () => {
          const visited = stop.aborted ? null : await this.#visit(visit, order, stop);
          if (visited && !stop.aborted) tell(visited);
        }),
      ),
    );
  }

  /** Of both releases, those who are eligible for either, over the last whole windows; asked anew once a window. */
  async #visitorsPerS({ release, against }: LoadOrder): Promise<number> {
    const window = windowOf(this.#parts.now());
    if (this.#visitors?.window !== window) {
      const [from, releases] = [window - VISITORS_MS, [release.id, against]];
      const traffic = await this.#parts.read({ from, to: window, releases });
      const counted = releases.flatMap((id) => traffic.history(id, from, window));
      const requests = counted.reduce((sum, { n }) => sum + n, 0);
      this.#visitors = { window, perS: (requests * 1_000) / VISITORS_MS };
    }
    return this.#visitors.perS;
  }

  /**
   * Null: nobody is there to be visited, which probes see to. Or whom it asked was to leave meanwhile, and is no more to be
   * judged by what it failed to answer.
   */
  async #visit(visit: SyntheticVisit, order: LoadOrder, stop: AbortSignal): Promise<Visited | null> {
    const { now, path: by } = this.#parts;
    const side = visit.side === "canary" ? order.release.id : order.against;
    const serving = this.#instances.filter((one) => one.releaseId === side && isVisited(one, now()));
    const instance = serving[visit.turn % serving.length];
    if (!instance) return null;
    const host = publicHost(order.release.spec.hostnames);
    const question = {
      origin: instance.origin,
      path: visit.path,
      publicHost: host,
      mark: SYNTHETIC,
    } as const;
    const startedAt = now();
    const attempt = await ask(question, by, stop);
    const stays = this.#instances.some(({ id, state }) => id === instance.id && state === "serving");
    return stays || !verdictOf(attempt).error
      ? { visit, instance, attempt, durationMs: now() - startedAt }
      : null;
  }

  /** Counted when they ended: a window that the judge has seen already takes no more. */
  async #count(news: readonly Visited[], isJudged: boolean): Promise<void> {
    const { count, now } = this.#parts;
    const window = windowOf(now());
    const entries = news.map((visited) => entryOf(visited, window));
    await count({ id: crypto.randomUUID(), colo: "control", judged: isJudged, entries, mirrored: [] });
  }
}

/** As the edge would choose it, as far as control gets to it: of one that it doesn't, probes tell. */
const isVisited = (instance: InstanceFacts, now: number): boolean =>
  instance.state === "serving" && answers(instance, now);

async function ask(question: Parameters<typeof reach>[0], by: Path, stop: AbortSignal): Promise<Attempt> {
  const timeout = AbortSignal.timeout(TIMEOUT_MS);
  try {
    const { status, headers, body } = await reach(question, by, AbortSignal.any([timeout, stop]));
    await body?.cancel().catch(() => {});
    if (interceptionOf({ status, headers }) !== null)
      return { kind: "answered", status: TUNNEL_DOWN, tunnelError: CHALLENGE };
    return status === PLATFORM_TIMED_OUT
      ? { kind: "timeout" }
      : { kind: "answered", status, tunnelError: null };
  } catch {
    return timeout.aborted ? { kind: "timeout" } : { kind: "disconnected" };
  }
}

function entryOf({ visit, instance, attempt, durationMs }: Visited, window: number): MeterEntry {
  const { error, pathFault } = verdictOf(attempt);
  const statusClass = attempt.kind === "answered" ? Math.min(5, Math.floor(attempt.status / 100)) : 0;
  const errors = Number(error);
  const visitors = error && !pathFault ? [visit.number % VISITORS] : [];
  const route = { route: routeName("GET", visit.path), requests: 1, errors, visitors };
  return {
    release: instance.releaseId,
    instance: instance.id,
    window,
    synthetic: true,
    eligible: true,
    requests: 1,
    errors,
    pathErrors: Number(pathFault),
    classes: [0, 1, 2, 3, 4, 5].map((at) => Number(at === statusClass)) as unknown as MeterEntry["classes"],
    rescued: 0,
    failed: errors,
    latency: error ? [] : [[latencyBucket(durationMs), 1]],
    erroredVisitors: visitors,
    routes: pathFault ? [] : [route],
  };
}
