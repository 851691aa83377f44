import type { Price, StepPrice } from "../../domain/rollout/analysis/price.ts";
import { percent } from "../../domain/rollout/steps.ts";
import type { AnalysisSpec, EnvironmentSpec } from "../../domain/spec.ts";
import { spell } from "../../domain/times.ts";
import type { PriceView } from "../../protocol/api/plans.ts";
import type { UsualTraffic } from "../meter/forecast.ts";

/** What a bad release would cost, in figures and words. */
export function priceView(spec: EnvironmentSpec, traffic: UsualTraffic, price: Price): PriceView {
  const { rate, errorRate, overMs } = traffic;
  const analysis = spec.strategy.kind === "canary" ? spec.strategy.analysis : undefined;
  return {
    traffic: { rate: Number(rate.toPrecision(3)), errorRate: Number(errorRate.toPrecision(3)), overMs },
    faults: price.faults.map((fault) => ({ ...fault, words: faultWords(fault) })),
    says: price.unjudged
      ? [
          `nobody compares it with the release before: ${analysis?.enabled ? "no shared step is left, and watch is off" : "analysis and watch are off"}`,
        ]
      : price.steps.flatMap((step) => (step.bakeMs > 0 ? [stepWords(step, analysis)] : [])),
  };
}

function faultWords({ what, afterMs, requests, failed }: Price["faults"][number]): string {
  const [n, hurt] = failed > 0 ? [failed, "failed"] : [requests, "slower"];
  const gone = afterMs === null ? "not found by itself" : `gone after some ${spell(afterMs)}`;
  return `${what}: ${gone}, ${n.toLocaleString("en-US")} request${n === 1 ? "" : "s"} ${hurt}`;
}

function stepWords(step: StepPrice, analysis: AnalysisSpec | undefined): string {
  const { number, weightBp, bakeMs, waitMs, proofMs, requests, needed, betterBp } = step;
  const head = `step ${number}, ${percent(weightBp)} for ${spell(bakeMs)}`;
  const better =
    betterBp === null ? "give it more weight or time" : `at ${percent(betterBp)} it would be within its time`;
  if (requests < needed)
    return `${head}: too little traffic to judge, ${requests} of the ${needed} requests that a verdict needs; then \`onInconclusive: ${analysis?.onInconclusive ?? "ask"}\` decides; ${better}`;
  if (proofMs === null || proofMs > bakeMs + waitMs)
    return `${head}: a good release is not proven in time; then \`onInconclusive: ${analysis?.onInconclusive ?? "ask"}\` decides; ${better}`;
  const about = spell(Math.ceil(proofMs / 60_000) * 60_000);
  return proofMs > bakeMs
    ? `${head}: a good release is proven after some ${about}, so that the step is prolonged; ${better}`
    : `${head}: a good release is proven after some ${about}`;
}
