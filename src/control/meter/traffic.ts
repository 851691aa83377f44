import type {
  ArmWindow,
  CanaryWindow,
  HistoryWindow,
  HostWindow,
  RouteWindow,
} from "../../domain/canary/index.ts";
import type { Compared } from "../../domain/routing/compare.ts";
import { HISTOGRAM_BUCKETS, WINDOW_MS } from "../../domain/routing/meter.ts";
import { type Counted, type Judged, withSynthetic } from "./counted.ts";
import { distinctErrors, type InstanceCounts, type RouteCounts, type Split } from "./split.ts";

interface Totals {
  readonly requests: number;
  readonly failed: number;
}

/** An environment's counts over a stretch of time, as its judge and its status ask for them. Pure. */
export class Traffic {
  readonly #counted: readonly Counted[];
  readonly #judged = new Map<string, Judged>();
  readonly #split = new Map<string, Split>();
  readonly #compared = new Map<string, Compared>();
  readonly #synthetic = new Map<string, number>();
  readonly #isSyntheticJudged: boolean;

  constructor(counted: readonly Counted[], isSyntheticJudged = false) {
    this.#counted = counted;
    this.#isSyntheticJudged = isSyntheticJudged;
    for (const { release, window, judged, split, compared, synthetic } of counted) {
      if (judged) this.#judged.set(`${window} ${release}`, judged);
      if (compared) this.#compared.set(`${window} ${release}`, compared);
      if (synthetic) this.#synthetic.set(`${window} ${release}`, requestsIn(synthetic));
      if (split) this.#split.set(`${window} ${release}`, split);
    }
  }

  /** The same to a judge to whom control's own requests are visitors' like any other. */
  withSynthetic(): Traffic {
    return new Traffic(this.#counted.map(withSynthetic), true);
  }

  /**
   * Both sides' counts in the window that begins at `window`; by route and host as well, where they were told apart.
   * `hostOf`: the host of an instance, by its id.
   */
  window(
    window: number,
    canary: string,
    stable: string,
    hostOf: (instance: string) => string = (instance) => instance,
  ): CanaryWindow {
    const compared = this.#compared.get(`${window} ${canary}`);
    const arms = {
      canary: this.#arm(canary, window),
      baseline: this.#arm(stable, window),
      ...(compared ? { compared } : {}),
      ...this.#syntheticIn(window, canary, stable),
    };
    const own = this.#split.get(`${window} ${canary}`);
    const others = this.#split.get(`${window} ${stable}`);
    if (!own || !others) return arms;
    return {
      ...arms,
      routes: routesOf(own, others, { window, hostOf }),
      hosts: hostsOf(own, others, hostOf),
    };
  }

  /** What control asked of either side itself. */
  #syntheticIn(window: number, canary: string, stable: string): Pick<CanaryWindow, "synthetic"> {
    const of = (release: string) => this.#synthetic.get(`${window} ${release}`) ?? 0;
    const synthetic = { canary: of(canary), baseline: of(stable), isJudged: this.#isSyntheticJudged };
    return synthetic.canary + synthetic.baseline > 0 ? { synthetic } : {};
  }

  #arm(release: string, window: number): ArmWindow {
    const judged = this.#judged.get(`${window} ${release}`);
    if (!judged) return { n: 0, errors: 0, distinctErrors: 0 };
    const { requests, synthetic, errors, latency, visitors } = judged;
    // A lost batch may have taken the requests of which another counts the errors.
    const n = Math.max(requests, errors);
    return {
      n,
      ...(synthetic !== undefined && { synthetic }),
      errors,
      distinctErrors: Math.min(bits(visitors), errors),
      hist: [...latency],
    };
  }

  /** A release's latency histogram over the windows from `from` up to, not including, `to`. */
  latency(release: string, from: number, to: number): number[] {
    const sum = new Array<number>(HISTOGRAM_BUCKETS).fill(0);
    for (let window = from; window < to; window += WINDOW_MS)
      for (const [bucket, count] of (this.#judged.get(`${window} ${release}`)?.latency ?? []).entries())
        sum[bucket] = (sum[bucket] ?? 0) + count;
    return sum;
  }

  history(release: string, from: number, to: number): HistoryWindow[] {
    const windows: HistoryWindow[] = [];
    for (let window = from; window < to; window += WINDOW_MS) {
      const { n, errors, distinctErrors } = this.#arm(release, window);
      windows.push({ n, errors, distinctErrors });
    }
    return windows;
  }

  /** Visitors' requests by release. */
  byRelease(): Record<string, Totals> {
    return Object.fromEntries(this.#totalsBy(({ release }) => release));
  }

  /** All of the environment's requests per window, oldest first. */
  byWindow(): (Totals & { window: number })[] {
    return [...this.#totalsBy(({ window }) => window)]
      .map(([window, totals]) => ({ window, ...totals }))
      .sort((a, b) => a.window - b.window);
  }

  #totalsBy<K>(keyOf: (counted: Counted) => K): Map<K, Totals> {
    const totals = new Map<K, Totals>();
    for (const counted of this.#counted) {
      const { requests, failed } = totals.get(keyOf(counted)) ?? { requests: 0, failed: 0 };
      totals.set(keyOf(counted), { requests: requests + counted.requests, failed: failed + counted.failed });
    }
    return totals;
  }
}

const requestsIn = ({ instances }: Split): number =>
  [...instances.values()].reduce((sum, { requests }) => sum + requests, 0);

function routesOf(
  canary: Split,
  stable: Split,
  { window, hostOf }: { window: number; hostOf: (instance: string) => string },
): RouteWindow[] {
  const names = new Set([...canary.routes.keys(), ...stable.routes.keys()]);
  return [...names].map((route) => ({
    route,
    ...failedIn(canary.routes.get(route), window),
    canary: countOf(canary.routes.get(route)),
    baseline: countOf(stable.routes.get(route)),
    hosts: [...group(canary.routes.get(route)?.on ?? [], hostOf)].map(([host, parts]) => ({
      host,
      n: parts.reduce((sum, { requests }) => sum + requests, 0),
      errors: parts.reduce((sum, { errors }) => sum + errors, 0),
    })),
  }));
}

const failedIn = (counts: RouteCounts | undefined, since: number) =>
  counts?.failed ? { failed: { ...counts.failed, since } } : {};

function hostsOf(canary: Split, stable: Split, hostOf: (instance: string) => string): HostWindow[] {
  const own = group(canary.instances, hostOf);
  const others = group(stable.instances, hostOf);
  const hosts = new Set([...own.keys(), ...others.keys()]);
  return [...hosts].map((host) => ({
    host,
    canary: armOf(own.get(host)),
    baseline: armOf(others.get(host)),
  }));
}

function group<T>(byInstance: Iterable<readonly [string, T]>, hostOf: (instance: string) => string) {
  const hosts = new Map<string, T[]>();
  for (const [instance, counts] of byInstance)
    hosts.set(hostOf(instance), [...(hosts.get(hostOf(instance)) ?? []), counts]);
  return hosts;
}

function countOf(counts: RouteCounts | undefined) {
  if (!counts) return { n: 0, errors: 0, distinctErrors: 0 };
  const { requests, errors } = counts;
  // As with the arms: a lost batch may have taken the requests.
  return { n: Math.max(requests, errors), errors, distinctErrors: distinctErrors(counts) };
}

function armOf(parts: readonly InstanceCounts[] = []): ArmWindow {
  const hist = new Array<number>(HISTOGRAM_BUCKETS).fill(0);
  const sum = { n: 0, errors: 0, distinctErrors: 0 };
  for (const part of parts) {
    sum.n += Math.max(part.requests, part.errors);
    sum.errors += part.errors;
    sum.distinctErrors += distinctErrors(part);
    for (const [bucket, count] of part.latency)
      if (bucket in hist) hist[bucket] = (hist[bucket] ?? 0) + count;
  }
  return { ...sum, hist };
}

function bits(bytes: Uint8Array): number {
  let count = 0;
  for (const byte of bytes) for (let rest = byte; rest > 0; rest &= rest - 1) count += 1;
  return count;
}
