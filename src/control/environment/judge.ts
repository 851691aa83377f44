import {
  type CanaryState,
  canaryConfig,
  decide,
  describe,
  init,
  type Judgement,
  parse,
  renew,
  serialise,
  tick,
  update,
} from "../../domain/canary/index.ts";
import type { EnvironmentFacts } from "../../domain/rollout/facts.ts";
import type { ReleaseFacts } from "../../domain/rollout/release.ts";
import { WINDOW_MS, windowOf } from "../../domain/routing/meter.ts";
import type { Canary } from "../../domain/spec.ts";
import type { Traffic } from "../meter/traffic.ts";
import { MOST_VERDICTS } from "../store/verdicts.ts";

/** An edge isolate flushes once a second, and the meter takes its time: a window is whole this long after its end. */
const SETTLE_MS = 3_000;
/** After an outage many windows wait: so many are folded in and recorded at once, the others with the next ticks. */
const MOST_AT_ONCE = MOST_VERDICTS - 1;
const HISTORY_MS = 1_800_000;
const REFERENCE_MS = 600_000;
/** Between two windows the newest counts are looked at this often, against the error ceiling alone. */
export const TICK_MS = 2_000;

/** One judgement, as it is stored. */
export interface RecordedJudgement {
  readonly window: number;
  readonly at: number;
  readonly decision: Judgement;
  readonly words: string;
}

/** What a judge keeps between ticks: one state for the whole rollout, never begun anew per step. */
interface Kept {
  readonly release: string;
  /** The judge's state, serialised. */
  readonly state: string;
  /** Start of the next window to be folded in. */
  readonly next: number;
  readonly last: RecordedJudgement | null;
  /** The release was paused for its failure: whoever goes on from there has the evidence begun afresh. */
  readonly heeded?: boolean;
}

/** What was counted from `from` up to `to`, epoch ms; of these releases. */
export type ReadTraffic = (range: {
  readonly from: number;
  readonly to: number;
  readonly releases: readonly string[];
}) => Promise<Traffic>;

/** Writes judgements to where they are kept. Twice the same one is once. */
export type RecordJudgements = (release: string, judgements: readonly RecordedJudgement[]) => Promise<void>;

/**
 * Judges the canary that is on its way by what the edge counted. The statistics are the domain's; this only feeds them
 * windows in their order, each exactly once, and remembers a rollback for good.
 */
export class Judge {
  readonly #storage: DurableObjectStorage;
  readonly #read: ReadTraffic;

  constructor(storage: DurableObjectStorage, read: ReadTraffic) {
    this.#storage = storage;
    this.#read = read;
  }

  /**
   * Folds in the windows that are whole by now. What it led to is recorded first and remembered after: dying in between
   * folds the same windows again, from the same state.
   */
  async judge(
    facts: EnvironmentFacts,
    now: number,
    record: RecordJudgements,
  ): Promise<EnvironmentFacts["analysis"]> {
    const canary = underAnalysis(facts);
    const stable = facts.stableReleaseId;
    if (!canary || !stable || stable === canary.release.id) return null;
    const { release, strategy } = canary;
    const kept = await this.#keep(release, strategy, stable, now);
    if (!kept) return null;
    if (isFinal(kept.last)) {
      if (kept.heeded !== isHeeded(release)) await this.#put({ ...kept, heeded: isHeeded(release) });
      return { release: release.id, decision: kept.last.decision };
    }
    const releases = [release.id, stable];
    const traffic = await this.#read({ from: kept.next, to: now + 1, releases });
    const fresh: RecordedJudgement[] = [];
    let state = restore(kept.state);
    let { next } = kept;
    const isWhole = () => next + WINDOW_MS + SETTLE_MS <= now;
    for (; isWhole() && fresh.length < MOST_AT_ONCE && !isFinal(fresh.at(-1)); next += WINDOW_MS) {
      state = update(horizon(state), traffic.window(next, release.id, stable));
      fresh.push(this.#say(decide(state), { window: next, now, strategy }));
    }
    const peeked =
      isFinal(fresh.at(-1)) || isWhole()
        ? null
        : tick(state, open(traffic, { from: next, now, canary: release.id, stable }));
    if (peeked) fresh.push(this.#say(peeked, { window: next, now, strategy }));
    const last = fresh.at(-1) ?? kept.last;
    if (fresh.length > 0) {
      await record(release.id, fresh);
      await this.#put({ release: release.id, state: serialise(state), next, last });
    }
    return last && { release: release.id, decision: last.decision };
  }

  /** The last word, for status answers. */
  async last(): Promise<(RecordedJudgement & { release: string }) | null> {
    const kept = await this.#storage.get<Kept>("judge");
    return kept?.last ? { ...kept.last, release: kept.release } : null;
  }

  #say(decision: Judgement, at: { window: number; now: number; strategy: Canary }): RecordedJudgement {
    const words = describe(decision, at.strategy.analysis.onFailure);
    return { window: at.window, at: at.now, decision, words };
  }

  #put(kept: Kept): Promise<void> {
    return this.#storage.put("judge", kept);
  }

  /** What is known of this rollout so far; undefined: it has had no traffic yet. */
  async #keep(
    release: ReleaseFacts,
    strategy: Canary,
    stable: string,
    now: number,
  ): Promise<Kept | undefined> {
    const kept = await this.#storage.get<Kept>("judge");
    const current = windowOf(now);
    if (kept?.release === release.id) {
      if (kept.heeded && !isHeeded(release)) {
        const state = serialise(renew(restore(kept.state)));
        const anew = { release: release.id, state, next: current, last: null };
        await this.#put(anew);
        return anew;
      }
      return { ...kept, next: within(kept.next, current) };
    }
    if (release.weightBp === 0) return undefined;
    const { errorRateMax, p95MaxMs, warmUpMs } = strategy.analysis;
    const config = canaryConfig({
      ...(errorRateMax === undefined ? {} : { errorRateMax }),
      ...(p95MaxMs === undefined ? {} : { p95MaxMs }),
      warmUpWindows: Math.ceil(warmUpMs / WINDOW_MS),
      plannedWindows: plannedWindows(strategy),
    });
    const traffic = await this.#read({ from: current - HISTORY_MS, to: current, releases: [stable] });
    const reference = traffic.latency(stable, current - REFERENCE_MS, current);
    const history = traffic.history(stable, current - HISTORY_MS, current);
    const state = serialise(init(reference, config, history));
    const made = { release: release.id, state, next: current, last: null };
    await this.#put(made);
    return made;
  }
}

/** The windows that are not whole yet. */
function open(traffic: Traffic, of: { from: number; now: number; canary: string; stable: string }) {
  const windows = [];
  for (let at = of.from; at <= of.now; at += WINDOW_MS)
    windows.push(traffic.window(at, of.canary, of.stable));
  return windows;
}

/** After a clock that jumped: no further back than windows are kept, and never to wait for a future that won't come. */
const within = (next: number, current: number): number =>
  next > current + WINDOW_MS ? current : Math.max(next, current - HISTORY_MS);

const isHeeded = (release: ReleaseFacts): boolean => release.paused?.by === "analysis";

/** The canary on its way, if its strategy asks for analysis. Also while its weight is 0 for a moment. */
function underAnalysis(facts: EnvironmentFacts): { release: ReleaseFacts; strategy: Canary } | undefined {
  const release = facts.releases.find(({ state }) => state === "shifting");
  const strategy = release?.spec.strategy;
  if (release?.kind !== "deploy" || strategy?.kind !== "canary" || !strategy.analysis.enabled)
    return undefined;
  return { release, strategy };
}

const isFinal = (judgement: RecordedJudgement | null | undefined): judgement is RecordedJudgement =>
  judgement?.decision.verdict === "rollback";

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
