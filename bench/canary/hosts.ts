/**
 * A canary beside stable on hosts that differ: some are slower, one loses or fails some requests, whoever asks it. Counted as
 * the edge counts and merged as control merges.
 */
import { addEntry, addSplitEntry, type Counted, nothingCounted } from "../../src/control/meter/counted.ts";
import { Traffic } from "../../src/control/meter/traffic.ts";
import type { CanaryWindow } from "../../src/domain/canary/index.ts";
import type { MeterEntry } from "../../src/domain/routing/meter.ts";
import type { Random } from "./random.ts";
import { type Scenario, World } from "./simulation.ts";

/** Drawn anew for each rollout. Stable is on all hosts unless said otherwise. */
export interface Hosts {
  readonly count: number;
  /** How many of them have the canary, or on which it is alone; default: any number. */
  readonly canaryOn?: number | "slowest";
  /** Hosts without stable, taken from those that have the canary. */
  readonly canaryAlone?: number;
  /** At least one host is slower by a factor between these, at least one is not. */
  readonly slower?: readonly [number, number];
  /** Standard deviation of a host's latency factor per window; both sides' there. */
  readonly jitter?: number;
  /** Share of requests that the way to one host loses. The edge knows them for what they are. */
  readonly lost?: number;
  /** Share of requests that fail on one host, and look as the app's own errors. */
  readonly failing?: number;
}

interface Host {
  readonly name: string;
  readonly factor: number;
  readonly lost: number;
  readonly failing: number;
  readonly has: Record<Side, boolean>;
}
type Side = "canary" | "baseline";

const VISITORS = 10_000;

/** As World, whose hosts differ. */
export class HostsWorld extends World {
  readonly #hosts: readonly Host[];
  readonly #jitter: number;

  constructor(scenario: Scenario, hosts: Hosts, chance: Random) {
    super(scenario, chance);
    this.#hosts = drawn(hosts, chance);
    this.#jitter = hosts.jitter ?? 0;
  }

  override reference(): number[] {
    const own = this.#of("baseline");
    const mean = (this.scenario.rate * 600) / own.length;
    const parts = own.map(({ factor }) => this.latencies(mean, grain(factor)));
    return (parts[0] ?? []).map((_, bucket) => parts.reduce((sum, hist) => sum + (hist[bucket] ?? 0), 0));
  }

  override window(start: number): CanaryWindow {
    const counted = { canary: nothingCounted("canary", 0), baseline: nothingCounted("baseline", 0) };
    for (const host of this.#hosts) {
      const noise = Math.exp(this.#jitter * this.chance.normal());
      for (const side of ["canary", "baseline"] as const)
        if (host.has[side]) count(counted[side], this.#entry(side, host, { start, noise }));
    }
    const traffic = new Traffic([counted.canary, counted.baseline]);
    return traffic.window(0, "canary", "baseline");
  }

  #of(side: Side): readonly Host[] {
    return this.#hosts.filter(({ has }) => has[side]);
  }

  #entry(
    side: Side,
    { name, factor, lost, failing }: Host,
    at: { start: number; noise: number },
  ): MeterEntry {
    const weight = this.scenario.weight ?? 0.1;
    const share = side === "canary" ? weight : 1 - weight;
    const mean = (this.scenario.rate * 10 * share) / this.#of(side).length;
    const pathErrors = this.chance.poisson(mean * lost);
    const bad = 1 - (1 - this.errorRate(side, at.start)) * (1 - failing);
    const errors = this.chance.poisson(mean * (1 - lost) * bad);
    const speed = grain(this.latency(side, at.start) * factor * at.noise);
    const hist = this.latencies(mean * (1 - lost) * (1 - bad), speed);
    const served = hist.reduce((sum, n) => sum + n, 0);
    const met = Array.from({ length: errors }, () => Math.floor(this.chance.uniform() * VISITORS));
    return {
      release: side,
      instance: name,
      window: 0,
      requests: served + errors + pathErrors,
      errors: errors + pathErrors,
      pathErrors,
      classes: [0, 0, 0, 0, 0, 0],
      rescued: 0,
      failed: 0,
      latency: hist.flatMap((n, bucket) => (n > 0 ? [[bucket, n] as const] : [])),
      erroredVisitors: met,
      eligible: true,
      routes: [{ route: "GET /", requests: served + errors, errors, visitors: met }],
    };
  }
}

function count(counted: Counted, entry: MeterEntry): void {
  addEntry(counted, entry);
  addSplitEntry(counted, entry, (route) => route);
}

function drawn(hosts: Hosts, chance: Random): Host[] {
  const { count: n, canaryAlone = 0, slower: [least, most] = [1, 1], lost = 0, failing = 0 } = hosts;
  const { canaryOn = 1 + Math.floor(chance.uniform() * n) } = hosts;
  const slow = 1 + Math.floor(chance.uniform() * (n - 1));
  const bad = Math.floor(chance.uniform() * n);
  const all = Array.from({ length: n }, (_, i) => ({
    name: `host-${i}`,
    factor: i < slow ? least + chance.uniform() * (most - least) : 1,
    at: chance.uniform(),
  }));
  return all
    .sort((a, b) => (canaryOn === "slowest" ? b.factor - a.factor : a.at - b.at))
    .map(({ name, factor }, place) => ({
      name,
      factor,
      lost: place === bad ? lost : 0,
      failing: place === bad ? failing : 0,
      has: { canary: place < (canaryOn === "slowest" ? 1 : canaryOn), baseline: place >= canaryAlone },
    }));
}

/** In steps of 0.5 %, so that the distributions can be kept. */
const grain = (factor: number): number => Math.exp(Math.round(200 * Math.log(factor)) / 200);
