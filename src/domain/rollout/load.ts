import { FULL_WEIGHT } from "../routing/table.ts";
import type { EnvironmentSpec, LoadSpec } from "../spec.ts";
import { isCompared, judgedIn } from "./analysis/judged.ts";
import type { EnvironmentFacts } from "./facts.ts";
import type { ReleaseFacts } from "./release.ts";

/**
 * Synthetic visits: while a release on its way shares the traffic with what it replaces, and both have fewer visitors than the
 * manifest's `load` asks for, control makes up for what is missing.
 */

/** Whom synthetic visits go to. */
export interface LoadOrder {
  readonly release: ReleaseFacts;
  /** The release that it is compared with. */
  readonly against: string;
  readonly load: LoadSpec;
}

/** Synthetic visits of one step: past them it has none. No forgotten canary visits itself for days. */
export const MOST_A_STEP = 10_000;
/** Visits dealt at once: what the fastest rate asks for between two ticks of a judged release. */
const MOST_AT_ONCE = 10;

type Facts = Pick<EnvironmentFacts, "releases" | "instances" | "stableReleaseId" | "ending">;

/** Undefined: none are to be made as of `now` (epoch ms). */
export function loadIn(facts: Facts, now: number): LoadOrder | undefined {
  const judged = judgedIn(facts);
  const load = judged?.release.spec.load;
  if (judged?.how !== "beside" || !load || facts.ending) return undefined;
  const { release, against } = judged;
  const isSplit = release.weightBp > 0 && release.weightBp < FULL_WEIGHT;
  if (!isSplit || release.paused || isSpent(release, load, now)) return undefined;
  return { release, against, load };
}

const isSpent = ({ stepSince, stateSince }: ReleaseFacts, { ratePerS }: LoadSpec, now: number): boolean =>
  (now - (stepSince ?? stateSince)) * ratePerS >= MOST_A_STEP * 1_000;

/** Visits that a release makes at the most, by what it may wait for; null: it makes none. */
export function mostVisits(spec: EnvironmentSpec): number | null {
  const { strategy, load, deadlines } = spec;
  if (!load || !isCompared(spec)) return null;
  const within = (ms: number) => Math.min(MOST_A_STEP, Math.ceil((ms * load.ratePerS) / 1_000));
  if (strategy.kind === "rolling") return within(deadlines.releaseMs);
  if (strategy.kind !== "canary") return null;
  const { steps, analysis } = strategy;
  const each = steps.map((step) => {
    if (step.kind === "analysis") return within(step.forMs);
    const isSplit = step.kind === "weight" && step.weightBp > 0 && step.weightBp < FULL_WEIGHT;
    return isSplit ? within(step.bakeMs + (step.bakeMs > 0 ? analysis.maxWaitMs : 0)) : 0;
  });
  return each.reduce((sum, one) => sum + one, 0);
}

/** How far visits have been dealt. */
export interface Pace {
  /** Epoch ms. */
  readonly at: number;
  /** The part of a visit that is due already, and whole ones that had no room. */
  readonly owed: number;
  /** Ever dealt. */
  readonly dealt: number;
}

export interface SyntheticVisit {
  /** Counts visits. */
  readonly number: number;
  readonly path: string;
  readonly side: "canary" | "stable";
  /** Counts the path's visits to the side: one up each time, from one that is another for each path. */
  readonly turn: number;
}

interface Moment {
  readonly load: LoadSpec;
  /** The new release's share, basis points. */
  readonly weightBp: number;
  /** Both releases' visitors, requests a second. */
  readonly visitorsPerS: number;
  /** Epoch ms. */
  readonly now: number;
}

/**
 * The visits that are due since `pace`, which null begins. What could not be dealt in time is not made up for.
 *
 * They go to both releases as visitors do, by weight, and each path alike: counted together with visitors, each side then has the
 * same share of them, and a slow path speaks against neither.
 */
export function dealVisits(
  pace: Pace | null,
  { load, weightBp, visitorsPerS, now }: Moment,
): { readonly pace: Pace; readonly visits: readonly SyntheticVisit[] } {
  const { at, owed: before, dealt } = pace ?? { at: now, owed: 0, dealt: 0 };
  const missing = Math.max(0, load.ratePerS - visitorsPerS);
  const owed = Math.min(MOST_AT_ONCE, before + (missing * Math.max(0, now - at)) / 1_000);
  const count = Math.floor(owed);
  const visits = Array.from({ length: count }, (_, n) => visitOf(dealt + n, load.paths, weightBp));
  return { pace: { at: now, owed: owed - count, dealt: dealt + count }, visits };
}

/** Round by round over the paths. Each has its share of each side by itself, and they don't all turn to the new one at once. */
function visitOf(number: number, paths: readonly string[], weightBp: number): SyntheticVisit {
  const at = number % paths.length;
  const round = Math.floor(number / paths.length);
  const sharesBy = (rounds: number) => Math.floor((rounds * weightBp) / FULL_WEIGHT + at / paths.length);
  const before = sharesBy(round);
  const isCanarys = sharesBy(round + 1) > before;
  const turn = at + (isCanarys ? before : round - before);
  return { number, path: paths[at] ?? "/", side: isCanarys ? "canary" : "stable", turn };
}
