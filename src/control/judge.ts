import {
  type CanaryState,
  canaryConfig,
  type Decision,
  decide,
  describe,
  init,
  parse,
  renew,
  serialise,
  tick,
  update,
} from "../domain/canary.ts";
import type { EnvironmentFacts } from "../domain/facts.ts";
import { WINDOW_MS } from "../domain/meter.ts";
import type { ReleaseFacts } from "../domain/release.ts";
import type { Canary } from "../domain/spec.ts";
import type { Traffic } from "./traffic.ts";

/** An edge isolate flushes once a second, and the meter takes its time: a window is whole this long after its end. */
const SETTLE_MS = 3_000;
const HISTORY_MS = 1_800_000;
const REFERENCE_MS = 600_000;
/** Between two windows the newest counts are looked at this often, against the error ceiling alone. */
export const TICK_MS = 2_000;

/** One judgement, as it is stored. */
export interface Judgement {
  readonly window: number;
  readonly at: number;
  readonly decision: Decision;
  readonly words: string;
}

/** What a judge keeps between ticks: one state for the whole rollout, never begun anew per step. */
interface Kept {
  readonly release: string;
  /** The judge's state, serialised. */
  readonly state: string;
  /** Start of the next window to be folded in. */
  readonly next: number;
  readonly last: Judgement | null;
}

/**
 * Judges the canary that is on its way by what the edge counted. The statistics are the domain's; this only feeds them
 * windows in their order, each exactly once, and remembers a rollback for good.
 */
export class Judge {
  readonly #storage: DurableObjectStorage;
  readonly #traffic: Traffic;

  constructor(storage: DurableObjectStorage, traffic: Traffic) {
    this.#storage = storage;
    this.#traffic = traffic;
  }

  /** Folds in the windows that are whole by now. `fresh`: the judgements they led to, oldest first. */
  async judge(
    facts: EnvironmentFacts,
    now: number,
  ): Promise<{ analysis: EnvironmentFacts["analysis"]; fresh: Judgement[] }> {
    const canary = underAnalysis(facts);
    const stable = facts.stableReleaseId;
    if (!canary || !stable || stable === canary.release.id) {
      await this.#storage.delete("judge");
      return { analysis: null, fresh: [] };
    }
    const { release, strategy } = canary;
    const kept = await this.#keep(release, strategy, stable, now);
    const latched = kept.last?.decision.verdict === "rollback" ? kept.last : undefined;
    if (latched) return { analysis: { release: release.id, decision: latched.decision }, fresh: [] };
    const fresh: Judgement[] = [];
    let state = restore(kept.state);
    let { next } = kept;
    for (; next + WINDOW_MS + SETTLE_MS <= now && !isFinal(fresh.at(-1)); next += WINDOW_MS) {
      state = update(horizon(state), this.#traffic.window(next, release.id, stable));
      fresh.push(this.#say(decide(state), { window: next, now, strategy }));
    }
    const peeked = isFinal(fresh.at(-1)) ? null : tick(state, this.#open(next, now, release.id, stable));
    if (peeked) fresh.push(this.#say(peeked, { window: next, now, strategy }));
    const last = fresh.at(-1) ?? kept.last;
    await this.#storage.put<Kept>("judge", { release: release.id, state: serialise(state), next, last });
    return { analysis: last && { release: release.id, decision: last.decision }, fresh };
  }

  /** The last word, for status answers. */
  async last(): Promise<(Judgement & { release: string }) | null> {
    const kept = await this.#storage.get<Kept>("judge");
    return kept?.last ? { ...kept.last, release: kept.release } : null;
  }

  #say(decision: Decision, at: { window: number; now: number; strategy: Canary }): Judgement {
    const words = describe(decision, at.strategy.analysis.onFailure);
    return { window: at.window, at: at.now, decision, words };
  }

  #open(from: number, now: number, canary: string, stable: string) {
    const windows = [];
    for (let at = from; at <= now; at += WINDOW_MS) windows.push(this.#traffic.window(at, canary, stable));
    return windows;
  }

  async #keep(release: ReleaseFacts, strategy: Canary, stable: string, now: number): Promise<Kept> {
    const kept = await this.#storage.get<Kept>("judge");
    if (kept?.release === release.id) return kept;
    const first = Math.floor(now / WINDOW_MS) * WINDOW_MS;
    const { errorRateMax, p95MaxMs, warmUpMs } = strategy.analysis;
    const config = canaryConfig({
      ...(errorRateMax === undefined ? {} : { errorRateMax }),
      ...(p95MaxMs === undefined ? {} : { p95MaxMs }),
      warmUpWindows: Math.ceil(warmUpMs / WINDOW_MS),
      plannedWindows: plannedWindows(strategy),
    });
    const reference = this.#traffic.latency(stable, first - REFERENCE_MS, first);
    const history = this.#traffic.history(stable, first - HISTORY_MS, first);
    return {
      release: release.id,
      state: serialise(init(reference, config, history)),
      next: first,
      last: null,
    };
  }
}

/** The canary whose share of traffic is judged now, if its strategy asks for that. */
function underAnalysis(facts: EnvironmentFacts): { release: ReleaseFacts; strategy: Canary } | undefined {
  const release = facts.releases.find(({ state, weightBp }) => state === "shifting" && weightBp > 0);
  const strategy = release?.spec.strategy;
  if (!release || release.kind === "rollback" || strategy?.kind !== "canary" || !strategy.analysis.enabled)
    return undefined;
  return { release, strategy };
}

const isFinal = (judgement: Judgement | undefined): boolean => judgement?.decision.verdict === "rollback";

/** A rollout that outlives its horizon begins its evidence afresh, rather than looking away. */
const horizon = (state: CanaryState): CanaryState => (decide(state).horizonLeft > 0 ? state : renew(state));

function plannedWindows({ steps, analysis }: Canary): number {
  const ms = steps.map((step) =>
    step.kind === "weight" ? step.bakeMs + analysis.maxWaitMs : (step.forMs ?? 0),
  );
  return Math.ceil(ms.reduce((sum, one) => sum + one, 0) / WINDOW_MS);
}

function restore(text: string): CanaryState {
  const parsed = parse(text);
  if (!parsed.ok) throw new Error(`the judge's state can't be read: ${parsed.error.detail}`);
  return parsed.value;
}
