/** A canary beside stable with traffic on many routes, one of which may be at fault: is it found, and is it named? */
import {
  type CanaryWindow,
  canaryConfig,
  decide,
  init,
  type Judgement,
  type RouteWindow,
  update,
} from "../../src/domain/canary/index.ts";
import { RouteNames } from "../../src/domain/routing/route-name.ts";
import { type Random, random } from "./random.ts";

const WINDOW_S = 10;

export interface RouteScenario {
  /** Requests per second, both sides together. */
  readonly rate: number;
  /** The canary's share of them. */
  readonly weight: number;
  readonly minutes: number;
  readonly baseError: number;
  /** Each route's share of the traffic. */
  readonly shares: readonly number[];
  /** The share of requests that fail on the canary on the route at fault, which chance picks of `among`; null: a good canary. */
  readonly fault: { readonly errorRate: number; readonly among: readonly number[] } | null;
  /** Errors come this many to a visitor. */
  readonly burst?: number;
}

export interface RouteOutcome {
  /** Seconds into the rollout; null: not rolled back. */
  readonly rolledBackS: number | null;
  readonly reason: string;
  readonly atFault: string | null;
  /** The first culprit after 60 s, or at the rollback if that came sooner. */
  readonly named: string | null;
}

const nameOf = (index: number): string => `GET /route-${index}`;

export function simulateRoutes(scenario: RouteScenario, seed: number, run: number): RouteOutcome {
  const chance = random(seed, run);
  const { fault, minutes } = scenario;
  const atFault = fault ? (fault.among[Math.floor(chance.uniform() * fault.among.length)] ?? 0) : -1;
  const names = new RouteNames();
  let state = init(undefined, canaryConfig({}), history(scenario, chance));
  let named: string | null = null;
  const outcome = (at: number | null, decision: Judgement | null): RouteOutcome => ({
    rolledBackS: at,
    reason: decision?.reason ?? "",
    atFault: atFault < 0 ? null : nameOf(atFault),
    named,
  });
  for (let start = 0; start < minutes * 60; start += WINDOW_S) {
    state = update(state, windowOf(scenario, atFault, { chance, names, at: start }));
    const decision = decide(state);
    if (start < 60) named = decision.culprits[0]?.route ?? null;
    if (decision.verdict === "rollback") return outcome(start + WINDOW_S, decision);
  }
  return outcome(null, null);
}

/** Half an hour of stable's counts before. */
function history({ rate, baseError }: RouteScenario, chance: Random) {
  return Array.from({ length: 180 }, () => {
    const errors = chance.poisson(rate * WINDOW_S * baseError);
    return { n: chance.poisson(rate * WINDOW_S) + errors, errors };
  });
}

interface Count {
  n: number;
  errors: number;
  distinctErrors: number;
}

/** One window as control tells it: no more routes by name than it keeps, a failing one before others. */
function windowOf(
  scenario: RouteScenario,
  atFault: number,
  { chance, names, at }: { chance: Random; names: RouteNames; at: number },
): CanaryWindow {
  const { rate, weight, baseError, fault, shares } = scenario;
  const sum = { canary: none(), baseline: none() };
  const routes = new Map<string, { canary: Count; baseline: Count }>();
  const order = shares.map((_, index) => ({ index, at: chance.uniform() })).sort((a, b) => a.at - b.at);
  for (const { index } of order) {
    const mean = rate * WINDOW_S * (shares[index] ?? 0);
    const own = index === atFault ? (fault?.errorRate ?? baseError) : baseError;
    const canary = count(mean * weight, own, scenario, chance);
    const baseline = count(mean * (1 - weight), baseError, scenario, chance);
    if (canary.n + baseline.n === 0) continue;
    const failed = canary.errors + baseline.errors > 0;
    const name = names.admit(nameOf(index), failed, at * 1_000, canary.n + baseline.n);
    const told = routes.get(name) ?? { canary: none(), baseline: none() };
    routes.set(name, told);
    for (const [side, counted] of [
      ["canary", canary],
      ["baseline", baseline],
    ] as const) {
      add(sum[side], counted);
      add(told[side], counted);
    }
  }
  const told: RouteWindow[] = [...routes].map(([route, arms]) => ({ route, ...arms, hosts: [] }));
  return { ...sum, routes: told };
}

function count(mean: number, errorRate: number, { burst = 1 }: RouteScenario, chance: Random): Count {
  const faults = chance.poisson((mean * errorRate) / burst);
  let errors = 0;
  for (let i = 0; i < faults; i++) errors += burst > 1 ? 1 + chance.poisson(burst - 1) : 1;
  return { n: chance.poisson(mean * (1 - errorRate)) + errors, errors, distinctErrors: faults };
}

const none = (): Count => ({ n: 0, errors: 0, distinctErrors: 0 });
function add(sum: Count, part: Count): void {
  sum.n += part.n;
  sum.errors += part.errors;
  sum.distinctErrors += part.distinctErrors;
}

/** Forty routes of the same traffic each: more than are told apart by name at a time. */
export const FORTY: readonly number[] = new Array<number>(40).fill(1 / 40);
/** One with 2 % of the traffic; the rest on twenty others. */
export const RARE: readonly number[] = [0.02, ...new Array<number>(20).fill(0.98 / 20)];
