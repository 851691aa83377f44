import {
  type CanaryState,
  decide,
  init,
  type Judgement,
  type KeptWindow,
  keepWindow,
  parse,
  renew,
  serialise,
  tick,
  update,
} from "../../domain/canary/index.ts";
import { wordsOf } from "../../domain/rollout/analysis/consequences.ts";
import {
  analysisOf,
  configOf,
  isCounted,
  type Judged,
  judgedIn,
} from "../../domain/rollout/analysis/judged.ts";
import type { Analysis, EnvironmentFacts } from "../../domain/rollout/facts.ts";
import type { ReleaseFacts } from "../../domain/rollout/release.ts";
import { WINDOW_MS, windowOf } from "../../domain/routing/meter.ts";
import type { Traffic } from "../meter/traffic.ts";
import { MOST_VERDICTS } from "../store/verdicts.ts";

/** An edge isolate flushes once a second, and the meter takes its time: a window is whole this long after its end. */
const SETTLE_MS = 3_000;
/** After an outage many windows wait: so many are folded in and recorded at once, the others with the next ticks. */
const MOST_AT_ONCE = MOST_VERDICTS - 1;
const HISTORY_MS = 1_800_000;
const REFERENCE_MS = 600_000;
/** What has switched is looked at this often; an edge that sees it fail hurries. */
const WATCH_EVERY_MS = 30_000;
/** Between two windows the newest counts are looked at this often, against the error ceiling alone. */
export const TICK_MS = 2_000;

/** One judgement, as it is stored. */
export interface RecordedJudgement {
  readonly window: number;
  readonly at: number;
  readonly decision: Judgement;
  readonly words: string;
  /** Absent in the last word of a judge from before they were kept. */
  readonly counted?: KeptWindow;
}

/** What a judge keeps between ticks: one state for the whole rollout, never begun anew per step. */
interface Kept {
  readonly release: string;
  /** Absent, as it was before there was a watch: beside. */
  readonly how?: Analysis["how"];
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
  #lookedAt = 0;

  constructor(storage: DurableObjectStorage, read: ReadTraffic) {
    this.#storage = storage;
    this.#read = read;
  }

  /** Errors were told of: the next look at what has switched is not put off. */
  hurry(): void {
    this.#lookedAt = 0;
  }

  /**
   * Folds in the windows that are whole by now. What it led to is recorded first and remembered after: dying in between
   * folds the same windows again, from the same state.
   */
  async judge(facts: EnvironmentFacts, now: number, record: RecordJudgements): Promise<Analysis | null> {
    const judged = judgedIn(facts);
    if (!judged) return null;
    const { release, how } = judged;
    const kept = await this.#keep(judged, now);
    if (!kept) return null;
    const saying = (last: RecordedJudgement) => ({ release: release.id, how, decision: last.decision });
    // Where nothing is done by it, the judge goes on.
    const isReport = how === "beside" && analysisOf(release.spec).mode === "report";
    if (isFinal(kept.last) && !isReport) {
      if (kept.heeded !== isHeeded(release)) await this.#put({ ...kept, heeded: isHeeded(release) });
      return saying(kept.last);
    }
    if (how === "before" && now - this.#lookedAt < WATCH_EVERY_MS) return kept.last && saying(kept.last);
    this.#lookedAt = now;
    const { state, next, fresh } = await this.#fold(judged, kept, now, hostsOf(facts));
    const last = fresh.at(-1) ?? kept.last;
    if (fresh.length > 0) {
      const told =
        how === "beside" ? fresh : fresh.filter((one, n) => isNews(one, fresh[n - 1] ?? kept.last));
      if (told.length > 0) await record(release.id, told);
      await this.#put({ ...identityOf(judged), state: serialise(state), next, last });
    }
    return last && saying(last);
  }

  async #fold(judged: Judged, kept: Kept, now: number, hostOf: (instance: string) => string) {
    const pairs = await this.#pairs(judged, { from: kept.next, now, hostOf });
    const fresh: RecordedJudgement[] = [];
    let state = restore(kept.state);
    let { next } = kept;
    const isWhole = () => next + WINDOW_MS + SETTLE_MS <= now;
    for (; isWhole() && fresh.length < MOST_AT_ONCE && !isFinal(fresh.at(-1)); next += WINDOW_MS) {
      const before = judged.how === "beside" ? horizon(state) : state;
      const counted = pairs(next);
      state = update(before, counted);
      fresh.push(say(decide(state), { window: next, now, judged, kept: keepWindow(counted, before) }));
    }
    if (isFinal(fresh.at(-1)) || isWhole()) return { state, next, fresh };
    const open = [];
    for (let at = next; at <= now; at += WINDOW_MS) open.push(pairs(at));
    const peeked = tick(state, open);
    if (peeked) fresh.push(say(peeked, { window: next, now, judged, kept: keepWindow(pairs(next), state) }));
    return { state, next, fresh };
  }

  /** Answers both sides' counts of a window. What was before the switch is taken as far from it as the window is, each once. */
  async #pairs(
    { release, against, how }: Judged,
    { from, now, hostOf }: { from: number; now: number; hostOf: (instance: string) => string },
  ) {
    if (how === "beside") {
      const counted = await this.#read({ from, to: now + 1, releases: [release.id, against] });
      const traffic = release.spec.load?.judge ? counted.withSynthetic() : counted;
      return (window: number) => traffic.window(window, release.id, against, hostOf);
    }
    const switched = windowOf(release.servingAt ?? now);
    const mirrored = (window: number) => 2 * switched - window - WINDOW_MS;
    const [after, before] = await Promise.all([
      this.#read({ from, to: now + 1, releases: [release.id] }),
      this.#read({ from: mirrored(windowOf(now)), to: mirrored(from) + 1, releases: [against] }),
    ]);
    return (window: number) => ({
      canary: after.window(window, release.id, against).canary,
      baseline: before.window(mirrored(window), release.id, against).baseline,
    });
  }

  /** The last word, for status answers. */
  async last(): Promise<(RecordedJudgement & { release: string }) | null> {
    const kept = await this.#storage.get<Kept>("judge");
    return kept?.last ? { ...kept.last, release: kept.release } : null;
  }

  #put(kept: Kept): Promise<void> {
    return this.#storage.put("judge", kept);
  }

  /** What is known so far; undefined: it has had no traffic yet, or a person let it go on in spite of what was said. */
  async #keep(judged: Judged, now: number): Promise<Kept | undefined> {
    const { release, how } = judged;
    const kept = await this.#storage.get<Kept>("judge");
    const current = windowOf(now);
    if (kept?.release === release.id && (kept.how ?? "beside") === how) {
      if (kept.heeded && !isHeeded(release)) {
        const state = serialise(renew(restore(kept.state)));
        const anew = { ...identityOf(judged), state, next: current, last: null };
        await this.#put(anew);
        return anew;
      }
      return { ...kept, next: within(kept.next, current) };
    }
    if (!isCounted(release) || (kept?.release === release.id && kept.last && isFinal(kept.last)))
      return undefined;
    const made = await this.#begin(judged, how === "before" ? windowOf(release.servingAt ?? now) : current);
    await this.#put(made);
    return made;
  }

  /** What it is compared with is known from before. */
  async #begin(judged: Judged, from: number): Promise<Kept> {
    const { against, how, release } = judged;
    const config = configOf(release.spec, how);
    const traffic = await this.#read({ from: from - HISTORY_MS, to: from, releases: [against] });
    const reference = traffic.latency(against, from - REFERENCE_MS, from);
    const history = traffic.history(against, from - HISTORY_MS, from);
    const state = serialise(init(reference, config, history));
    return { ...identityOf(judged), state, next: from, last: null };
  }
}

const identityOf = ({ release, how }: Judged) => ({ release: release.id, how });

interface Said {
  readonly window: number;
  readonly now: number;
  readonly judged: Judged;
  readonly kept: KeptWindow;
}
function say(decision: Judgement, { window, now, judged, kept }: Said): RecordedJudgement {
  return { window, at: now, decision, words: wordsOf(decision, judged), counted: kept };
}

/** A watch is long, and what it says is told where that changes. */
const isNews = (one: RecordedJudgement, before: RecordedJudgement | null | undefined): boolean =>
  one.decision.verdict !== before?.decision.verdict;

/** The host of an instance by name; one that is gone stands for itself. */
function hostsOf({ instances }: EnvironmentFacts): (instance: string) => string {
  const names = new Map(instances.map(({ id, hostName }) => [id, hostName]));
  return (instance) => names.get(instance) ?? instance;
}

/** After a clock that jumped: no further back than windows are kept, and never to wait for a future that won't come. */
const within = (next: number, current: number): number =>
  next > current + WINDOW_MS ? current : Math.max(next, current - HISTORY_MS);

const isHeeded = (release: ReleaseFacts): boolean => release.paused?.by === "analysis";

const isFinal = (judgement: RecordedJudgement | null | undefined): judgement is RecordedJudgement =>
  judgement?.decision.verdict === "rollback";

/** A rollout that outlives its horizon begins its evidence afresh, rather than looking away. */
const horizon = (state: CanaryState): CanaryState => (decide(state).horizonLeft > 0 ? state : renew(state));

function restore(text: string): CanaryState {
  const parsed = parse(text);
  if (!parsed.ok) throw new Error(`the judge's state can't be read: ${parsed.error.detail}`);
  return parsed.value;
}
