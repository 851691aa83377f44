/** A simulated hour of a canary beside stable, judged window by window exactly as the coordinator would. */
import {
  type ArmWindow,
  type CanaryConfig,
  type CanaryWindow,
  canaryConfig,
  decide,
  type HistoryWindow,
  init,
  type Judgement,
  tick,
  update,
} from "../../src/domain/canary/index.ts";
import { HISTOGRAM_BUCKETS } from "../../src/domain/routing/meter.ts";
import { type Random, random } from "./random.ts";

const WINDOW_S = 10;
const MEDIAN_MS = 80;
const SIGMA = 0.6;

export interface Scenario {
  /** Requests per second, both sides together. */
  readonly rate: number;
  readonly weight?: number;
  readonly minutes?: number;
  readonly baseError?: number;
  /** The canary's own error rate; default: stable's. */
  readonly canaryError?: number;
  readonly canaryLatency?: number;
  /** The canary is good until this minute. */
  readonly changeAtMin?: number;
  /** … and again from this second on: a blip. */
  readonly recoversS?: number;
  /** A fault both sides share, drawn per run. */
  readonly outage?: (chance: Random) => Outage;
  /** Mean errors per cause: an unlucky visitor who tries again and again … */
  readonly burst?: number;
  /** … every so many seconds. Default 0.5, so that one cause may fall into two windows. */
  readonly burstSpacingS?: number;
  /** Standard deviation of each side's own latency factor per window. */
  readonly jitter?: number;
  /** Requests a visitor makes within a window: what counting per visitor loses when errors are independent. */
  readonly perVisitor?: number;
  readonly config?: Partial<CanaryConfig>;
  /** Seconds between fast ticks; the windows then carry no latency. */
  readonly tickS?: number;
}

export interface Outage {
  readonly fromS: number;
  readonly toS: number;
  readonly errorRate?: number;
  readonly latency?: number;
}

export interface Outcome {
  /** Seconds into the rollout; null: not rolled back. */
  readonly rolledBackS: number | null;
  /** Seconds until the first `pass`; null: none. */
  readonly passedS: number | null;
  readonly reason: string;
  readonly canaryRequests: number;
  readonly canaryErrors: number;
}

/** One rollout of `scenario`, from its own stream of chance. */
export function simulate(
  scenario: Scenario,
  seed: number,
  run: number,
  worldOf = (chance: Random): World => new World(scenario, chance),
): Outcome {
  const world = worldOf(random(seed, run));
  const end = (scenario.minutes ?? 60) * 60;
  // As the coordinator has it: with the routes' share of alpha spent, and a plan.
  const config = { ...canaryConfig({ plannedWindows: end / WINDOW_S }), ...scenario.config };
  let state = init(world.reference(), config, world.history());
  let requests = 0;
  let errors = 0;
  let passedS: number | null = null;
  const outcome = (at: number | null, decision: Judgement | null): Outcome => ({
    rolledBackS: at,
    passedS,
    reason: decision?.reason ?? "",
    canaryRequests: requests,
    canaryErrors: errors,
  });
  for (let start = 0; start < end; start += WINDOW_S) {
    const { window, glimpses } = scenario.tickS
      ? world.secondBySecond(start)
      : { window: world.window(start), glimpses: [] };
    for (const [i, open] of glimpses.entries()) {
      const decision = tick(state, [open]);
      if (!decision) continue;
      requests += open.canary.n;
      errors += open.canary.errors;
      return outcome(start + (i + 1) * (scenario.tickS ?? 0), decision);
    }
    state = update(state, window);
    requests += window.canary.n;
    errors += window.canary.errors;
    const decision = decide(state);
    if (decision.verdict === "rollback") return outcome(start + WINDOW_S, decision);
    if (decision.verdict === "pass") passedS ??= start + WINDOW_S;
  }
  return outcome(null, null);
}

type Side = "canary" | "baseline";

/** What reaches the meters. */
export class World {
  readonly scenario: Scenario;
  readonly chance: Random;
  readonly outage: Outage | null;
  /** Bursts that began in the window before and go on in this one. */
  private spill: Record<Side, number[][]> = { canary: [], baseline: [] };

  constructor(scenario: Scenario, chance: Random) {
    this.scenario = scenario;
    this.chance = chance;
    this.outage = scenario.outage?.(chance) ?? null;
  }

  /** Ten minutes of stable's latency before the canary. */
  reference(): number[] {
    return this.latencies(this.scenario.rate * 600, 1);
  }

  /** Half an hour of stable's counts before the canary. */
  history(): HistoryWindow[] {
    const mean = this.scenario.rate * WINDOW_S;
    return Array.from({ length: 180 }, () => {
      const { n, errors, distinctErrors } = this.counts("baseline", mean, this.scenario.baseError ?? 0.002);
      return { n: n + this.chance.poisson(mean), errors, distinctErrors };
    });
  }

  window(start: number): CanaryWindow {
    const weight = this.scenario.weight ?? 0.1;
    const mean = this.scenario.rate * WINDOW_S;
    return {
      canary: this.arm("canary", mean * weight, start),
      baseline: this.arm("baseline", mean * (1 - weight), start),
    };
  }

  /** A window counted second by second, and what each fast tick saw of it. */
  secondBySecond(start: number): { window: CanaryWindow; glimpses: CanaryWindow[] } {
    const { rate, weight = 0.1, tickS = 1 } = this.scenario;
    const glimpses: CanaryWindow[] = [];
    const sides = {
      canary: this.secondsOf("canary", rate * weight, start),
      baseline: this.secondsOf("baseline", rate * (1 - weight), start),
    };
    const until = (s: number): CanaryWindow => ({ canary: sides.canary(s), baseline: sides.baseline(s) });
    for (let s = tickS; s < WINDOW_S; s += tickS) glimpses.push(until(s));
    return { window: until(WINDOW_S), glimpses };
  }

  /** What one side's meter holds after each second of the window. */
  private secondsOf(side: Side, rate: number, start: number): (second: number) => ArmWindow {
    const failing = (s: number): number => this.errorRate(side, start + s);
    const good = Array.from({ length: WINDOW_S }, (_, s) => this.chance.poisson(rate * (1 - failing(s))));
    const faults = this.scenario.burst
      ? this.bursts(side, rate * WINDOW_S * failing(0), this.scenario.burst)
      : good.flatMap((_, s) => Array.from({ length: this.chance.poisson(rate * failing(s)) }, () => [s]));
    return (second) => {
      const seen = faults.map((times) => times.filter((at) => at < second).length);
      const errors = seen.reduce((sum, count) => sum + count, 0);
      const served = good.slice(0, second).reduce((sum, count) => sum + count, 0);
      return { n: served + errors, errors, distinctErrors: seen.filter((count) => count > 0).length };
    };
  }

  private arm(side: Side, mean: number, start: number): ArmWindow {
    const failing = this.errorRate(side, start);
    const counts = this.counts(side, mean, failing);
    const hist = this.latencies(mean * (1 - failing), this.latency(side, start));
    return { ...counts, n: counts.n + hist.reduce((sum, count) => sum + count, 0), hist };
  }

  private isChanged(side: Side, at: number): boolean {
    const { changeAtMin = 0, recoversS = Infinity } = this.scenario;
    return side === "canary" && at >= changeAtMin * 60 && at < recoversS;
  }

  private inOutage(at: number): Outage | null {
    return this.outage && at >= this.outage.fromS && at < this.outage.toS ? this.outage : null;
  }

  protected errorRate(side: Side, at: number): number {
    const { baseError = 0.002, canaryError = baseError } = this.scenario;
    const own = this.isChanged(side, at) ? canaryError : baseError;
    const shared = this.inOutage(at)?.errorRate ?? 0;
    return 1 - (1 - own) * (1 - shared);
  }

  protected latency(side: Side, at: number): number {
    const { canaryLatency = 1, jitter = 0 } = this.scenario;
    const own = this.isChanged(side, at) ? canaryLatency : 1;
    // In steps of 0.5 %, so that the distributions can be kept.
    const noise = jitter > 0 ? Math.exp(Math.round(200 * jitter * this.chance.normal()) / 200) : 1;
    return own * noise * (this.inOutage(at)?.latency ?? 1);
  }

  /** Failed requests alone; n counts them only. */
  private counts(side: Side, mean: number, failing: number): Required<Omit<ArmWindow, "hist" | "synthetic">> {
    const { burst, perVisitor = 1 } = this.scenario;
    if (burst) {
      const faults = this.bursts(side, mean * failing, burst);
      const met = faults.reduce((sum, times) => sum + times.length, 0);
      return { n: met, errors: met, distinctErrors: faults.length };
    }
    const errors = this.chance.poisson(mean * failing);
    return { n: errors, errors, distinctErrors: this.distinct(errors, Math.max(1, mean / perVisitor)) };
  }

  /** Each error falls to one of `visitors` at random; how many met one. */
  private distinct(errors: number, visitors: number): number {
    if ((this.scenario.perVisitor ?? 1) <= 1) return errors;
    const unlucky = new Set<number>();
    for (let i = 0; i < errors; i++) unlucky.add(Math.floor(this.chance.uniform() * visitors));
    return unlucky.size;
  }

  /** Times within the window, in seconds, at which each unlucky visitor met errors. */
  private bursts(side: Side, mean: number, size: number): number[][] {
    const spacing = this.scenario.burstSpacingS ?? 0.5;
    const faults = this.spill[side];
    this.spill[side] = [];
    for (let i = this.chance.poisson(mean / size); i > 0; i--) {
      const begin = this.chance.uniform() * WINDOW_S;
      const times = Array.from({ length: 1 + this.chance.poisson(size - 1) }, (_, j) => begin + j * spacing);
      faults.push(times.filter((at) => at < WINDOW_S));
      const late = times.filter((at) => at >= WINDOW_S).map((at) => at - WINDOW_S);
      if (late.length > 0) this.spill[side].push(late);
    }
    return faults;
  }

  protected latencies(mean: number, factor: number): number[] {
    if (mean < 60) return this.answers(this.chance.poisson(mean), factor);
    const { shares } = distribution(factor);
    const hist = new Array<number>(HISTOGRAM_BUCKETS).fill(0);
    for (let i = 0; i < hist.length; i++) {
      const share = shares[i] ?? 0;
      if (share * mean > 1e-7) hist[i] = this.chance.poisson(share * mean);
    }
    return hist;
  }

  /** So many answers, each drawn by itself. */
  protected answers(count: number, factor: number): number[] {
    const { cumulative } = distribution(factor);
    const hist = new Array<number>(HISTOGRAM_BUCKETS).fill(0);
    for (let n = count; n > 0; n--) {
      const bucket = bucketAt(cumulative, this.chance.uniform());
      hist[bucket] = (hist[bucket] ?? 0) + 1;
    }
    return hist;
  }
}

interface Distribution {
  /** Share of answers in each bucket of the histogram. */
  readonly shares: readonly number[];
  readonly cumulative: readonly number[];
}

const known = new Map<number, Distribution>();

/** A lognormal with median 80 ms · factor and σ 0.6, by bucket. */
function distribution(factor: number): Distribution {
  const before = known.get(factor);
  if (before) return before;
  const cumulative = Array.from({ length: HISTOGRAM_BUCKETS }, (_, i) =>
    normalCdf((Math.log(2 ** ((i + 1) / 8)) - Math.log(MEDIAN_MS * factor)) / SIGMA),
  );
  const shares = cumulative.map((below, i) => below - (cumulative[i - 1] ?? 0));
  const fresh = { shares, cumulative };
  known.set(factor, fresh);
  return fresh;
}

function bucketAt(cumulative: readonly number[], u: number): number {
  let low = 0;
  let high = HISTOGRAM_BUCKETS - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((cumulative[middle] ?? 1) > u) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** Abramowitz and Stegun 26.2.17: off by at most 7.5e−8. */
function normalCdf(z: number): number {
  const t = 1 / (1 + 0.2316419 * Math.abs(z));
  const poly =
    t * (0.31938153 + t * (-0.356563782 + t * (1.781477937 + t * (-1.821255978 + t * 1.330274429))));
  const tail = (Math.exp((-z * z) / 2) / Math.sqrt(2 * Math.PI)) * poly;
  return z >= 0 ? 1 - tail : tail;
}
