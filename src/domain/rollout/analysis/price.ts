import {
  type Fault,
  type Found,
  forecast,
  proofMs,
  type Stretch,
  type Traffic,
} from "../../canary/forecast.ts";
import { FULL_WEIGHT } from "../../routing/table.ts";
import type { EnvironmentSpec, Step, WeightStep } from "../../spec.ts";
import { configOf } from "./judged.ts";

/** What a release that is bad would cost by an environment's traffic, and how long a good one takes to be proven. */
export interface Price {
  readonly faults: readonly (Found & { readonly what: FaultName })[];
  /** Of a canary's steps that are judged. */
  readonly steps: readonly StepPrice[];
  /** Nobody judges it. */
  readonly unjudged: boolean;
}

export interface StepPrice {
  /** Its place among all steps of the strategy, from 1. */
  readonly number: number;
  readonly weightBp: number;
  readonly bakeMs: number;
  readonly waitMs: number;
  /** Until a good one is proven no worse, ms; null: more than an hour. */
  readonly proofMs: number | null;
  /** Its requests within bake and wait, and what a verdict needs at least. */
  readonly requests: number;
  readonly needed: number;
  /** A weight at which it is proven within its bake, basis points; null: as it is, or there is none. */
  readonly betterBp: number | null;
}

export const FAULTS = {
  "fails every request": { errorRate: 1 },
  "fails 5 % of its requests": { errorRate: 0.05 },
  "fails 1 % of its requests": { errorRate: 0.01 },
  "takes twice as long": { slower: 2 },
} as const satisfies Record<string, Fault>;
export type FaultName = keyof typeof FAULTS;

const NEEDED = 300;
const WEIGHTS = [1_000, 2_000, 2_500, 3_300, 5_000];

/** `from`: the first step of the strategy that counts, from 0; those before are over. */
export function priceOf(spec: EnvironmentSpec, visitors: Traffic, from = 0): Price {
  const traffic = withLoad(spec, visitors);
  const judged = judgedSteps(spec, from);
  const course = courseOf(spec, traffic, judged);
  if (!course) return { faults: [], steps: [], unjudged: true };
  const share = visitors.rate / Math.max(traffic.rate, Number.MIN_VALUE);
  const faults = Object.entries(FAULTS).map(([what, fault]) => {
    const found = forecast(course.traffic, { fault: fault as Fault, ...course });
    const [requests, failed] = [found.requests, found.failed].map((all) => Math.round(all * share));
    return { what: what as FaultName, ...found, requests: requests ?? 0, failed: failed ?? 0 };
  });
  const proofAt = proofs(traffic, configOf(spec, "beside"));
  return { faults, steps: judged.map((step) => stepPrice(step, traffic, proofAt)), unjudged: false };
}

/** What control asks itself, where that is judged: the rate is never less, and whom it hurts is nobody. */
function withLoad({ strategy, load }: EnvironmentSpec, traffic: Traffic): Traffic {
  const isFilled = load?.judge && strategy.kind === "canary" && strategy.analysis.enabled;
  return isFilled ? { ...traffic, rate: Math.max(traffic.rate, load.ratePerS) } : traffic;
}

/** What the judge is shown, of whom. After a switch it compares all of the traffic with as much of before. */
function courseOf(spec: EnvironmentSpec, traffic: Traffic, judged: readonly JudgedStep[]) {
  const { watch } = spec;
  if (judged.length > 0) return { traffic, steps: judged, config: configOf(spec, "beside") };
  if (watch !== "on" && watch !== "alert") return undefined;
  const twice = { ...traffic, rate: traffic.rate * 2 };
  const steps = [{ weightBp: FULL_WEIGHT / 2, bakeMs: spec.keepMs, waitMs: 0 }];
  return { traffic: twice, steps, config: configOf(spec, "before") };
}

type JudgedStep = Stretch & Pick<StepPrice, "number">;

function judgedSteps({ strategy }: EnvironmentSpec, from: number): JudgedStep[] {
  if (strategy.kind !== "canary" || !strategy.analysis.enabled) return [];
  const { steps, analysis } = strategy;
  return steps.flatMap((step, index) =>
    index >= from && isShared(step)
      ? [{ ...step, number: index + 1, waitMs: step.bakeMs > 0 ? analysis.maxWaitMs : 0 }]
      : [],
  );
}

const isShared = (step: Step): step is WeightStep =>
  step.kind === "weight" && step.weightBp < FULL_WEIGHT && step.weightBp > 0;

type ProofAt = (weightBp: number) => number | null;

/** How long a good one takes at a weight: reckoned once for all steps that ask. */
function proofs(traffic: Traffic, config: Parameters<typeof proofMs>[2]): ProofAt {
  const known = new Map<number, number | null>();
  return (weightBp) => {
    const found = known.get(weightBp);
    if (found !== undefined) return found;
    const proof = proofMs(traffic, weightBp, config);
    known.set(weightBp, proof);
    return proof;
  };
}

function stepPrice(
  { number, weightBp, bakeMs, waitMs }: JudgedStep,
  traffic: Traffic,
  proofAt: ProofAt,
): StepPrice {
  const requests = (traffic.rate * weightBp * (bakeMs + waitMs)) / FULL_WEIGHT / 1_000;
  const proof = proofAt(weightBp);
  const isLate = proof === null || proof > bakeMs;
  const heavier = isLate ? WEIGHTS.filter((weight) => weight > weightBp) : [];
  const better = heavier.find((weight) => (proofAt(weight) ?? Infinity) <= bakeMs);
  const told = {
    number,
    weightBp,
    bakeMs,
    waitMs,
    proofMs: proof,
    requests: Math.floor(requests),
    needed: NEEDED,
  };
  return { ...told, betterBp: better ?? null };
}
