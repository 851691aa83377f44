import { HISTOGRAM_BUCKETS } from "../routing/meter.ts";
import type { CanaryConfig } from "./config.ts";
import { decide, type Judgement } from "./decide.ts";
import type { Arms } from "./errors.ts";
import { mostAsked, routesElsewhere } from "./hosts.ts";
import { type PlannedState, planFrom } from "./planned.ts";
import { type CanaryState, type Dispersion, init } from "./state.ts";
import { update } from "./update.ts";
import type { ArmWindow, CanaryWindow, HostWindow, RouteWindow } from "./window.ts";

/** One side's counts as they are kept with a verdict; the histogram sparse, as [bucket, count]. */
interface KeptArm {
  readonly n: number;
  /** Absent: none. */
  readonly synthetic?: number;
  readonly errors: number;
  readonly distinctErrors: number | null;
  readonly hist: readonly (readonly [bucket: number, count: number])[];
}

type KeptCount = readonly [n: number, errors: number, distinctErrors: number | null];
interface KeptHost {
  readonly host: string;
  /** Absent: all of the window was there. */
  readonly arms?: Pick<KeptWindow, "canary" | "baseline">;
}

/** What one window's verdict was reached from. Plain JSON. */
export interface KeptWindow {
  readonly canary: KeptArm;
  readonly baseline: KeptArm;
  /** As many as the edge tells apart, without what hosts that stand apart had. Not by host: a verdict reached from them names the route alone. */
  readonly routes?: readonly (readonly [route: string, canary: KeptCount, baseline: KeptCount])[];
  /** By host, where they were told apart; absent of windows from before it was kept. */
  readonly hosts?: readonly KeptHost[];
  /** What was known of stable before the first window; with that one alone. */
  readonly learned?: {
    readonly reference: KeptArm["hist"];
    readonly dispersion: Dispersion;
    /** Stable's counts, where traffic was thin. */
    readonly planned?: PlannedState["stable"];
  };
}

/** `before`: the state that the window is folded into. */
export function keepWindow(window: CanaryWindow, before: CanaryState): KeptWindow {
  const { hosts } = window;
  const routes = routesElsewhere(window, before.hosts);
  const kept = {
    ...keepArms(window),
    ...(routes && {
      routes: routes.map((one) => [one.route, keepCount(one.canary), keepCount(one.baseline)] as const),
    }),
    ...(hosts && { hosts: mostAsked(hosts).map((one) => keepHost(one, window)) }),
  };
  if (before.k > 0) return kept;
  const { reference, dispersion, planned } = before;
  return {
    ...kept,
    learned: { reference: sparse(reference), dispersion, ...(planned && { planned: planned.stable }) },
  };
}

function keepHost({ host, ...arms }: HostWindow, { canary, baseline }: CanaryWindow): KeptHost {
  const isAll = arms.canary.n === canary.n && arms.baseline.n === baseline.n;
  return isAll ? { host } : { host, arms: keepArms(arms) };
}

const keepArms = ({ canary, baseline }: Arms) => ({ canary: keepArm(canary), baseline: keepArm(baseline) });

const keepArm = ({ n, synthetic, errors, distinctErrors, hist }: ArmWindow): KeptArm => ({
  n,
  ...(synthetic !== undefined && { synthetic }),
  errors,
  distinctErrors: distinctErrors ?? null,
  hist: sparse(hist ?? []),
});

const keepCount = ({ n, errors, distinctErrors }: RouteWindow["canary"]): KeptCount => [
  n,
  errors,
  distinctErrors ?? null,
];

const sparse = (hist: readonly number[]): KeptArm["hist"] =>
  hist.flatMap((count, bucket) => (count > 0 ? [[bucket, count] as const] : []));

/** How a rollout whose windows were kept would have come out. */
export interface Replayed {
  /** The verdict that ends it, or the last one; null: no window was kept. */
  readonly decision: Judgement | null;
  /** Windows until then. */
  readonly windows: number;
  /** Windows until it was first proven no worse; null: never. */
  readonly provenAfter: number | null;
}

/** Judges kept windows, oldest first, by other settings. Between two of them nobody looks: a dead canary is found a window later. */
export function replay(kept: readonly KeptWindow[], config: Partial<CanaryConfig>): Replayed {
  const learned = kept[0]?.learned;
  let state = init(learned ? dense(learned.reference) : undefined, config);
  if (learned) {
    const { dispersion, planned } = learned;
    state = { ...state, dispersion, ...(planned && { planned: planFrom(planned) }) };
  }
  let decision: Judgement | null = null;
  let provenAfter: number | null = null;
  for (const [n, window] of kept.entries()) {
    state = update(state, toWindow(window));
    decision = decide(state);
    if (decision.verdict === "pass") provenAfter ??= n + 1;
    if (decision.verdict === "rollback") return { decision, windows: n + 1, provenAfter };
  }
  return { decision, windows: kept.length, provenAfter };
}

const toArms = ({ canary, baseline }: Pick<KeptWindow, "canary" | "baseline">): Arms => ({
  canary: toArm(canary),
  baseline: toArm(baseline),
});

const toWindow = ({ routes, hosts, ...arms }: KeptWindow): CanaryWindow => ({
  ...toArms(arms),
  ...(routes && {
    routes: routes.map(([route, own, other]) => ({
      route,
      canary: toCount(own),
      baseline: toCount(other),
      hosts: [],
    })),
  }),
  ...(hosts && { hosts: hosts.map((one) => ({ host: one.host, ...toArms(one.arms ?? arms) })) }),
});

const toArm = ({ n, synthetic, errors, distinctErrors, hist }: KeptArm): ArmWindow => ({
  ...toCount([n, errors, distinctErrors]),
  ...(synthetic !== undefined && { synthetic }),
  hist: dense(hist),
});

const toCount = ([n, errors, distinctErrors]: KeptCount): RouteWindow["canary"] => ({
  n,
  errors,
  ...(distinctErrors === null ? {} : { distinctErrors }),
});

function dense(hist: KeptArm["hist"]): number[] {
  const full = new Array<number>(HISTOGRAM_BUCKETS).fill(0);
  for (const [bucket, count] of hist) if (bucket in full) full[bucket] = count;
  return full;
}
