import { type AnalysisLimits, type CanaryConfig, canaryConfig, watchConfig } from "../../canary/index.ts";
import { WINDOW_MS } from "../../routing/meter.ts";
import { FULL_WEIGHT } from "../../routing/table.ts";
import type { AnalysisSpec, EnvironmentSpec } from "../../spec.ts";
import { isUp } from "../carry.ts";
import type { Analysis, EnvironmentFacts } from "../facts.ts";
import type { ReleaseFacts } from "../release.ts";
import { begunWeight } from "../steps.ts";
import { rollbackTarget } from "../target.ts";

/** Which release is judged by what the edge counts, and against whom. */
export interface Judged {
  readonly release: ReleaseFacts;
  /** The release that it is compared with. */
  readonly against: string;
  /** `beside`: both have traffic now. `before`: the other one had it before the switch, and is warm. */
  readonly how: Analysis["how"];
}

type Facts = Pick<EnvironmentFacts, "releases" | "instances" | "stableReleaseId">;

/** Undefined: nobody is. A canary on its way is also judged while its weight is 0 for a moment. */
export function judgedIn(facts: Facts): Judged | undefined {
  const shifting = facts.releases.find(({ state }) => state === "shifting");
  const { stableReleaseId: stable } = facts;
  if (!shifting) return watchedIn(facts);
  if (!stable || stable === shifting.id || shifting.kind !== "deploy" || !isCompared(shifting.spec))
    return undefined;
  return { release: shifting, against: stable, how: "beside" };
}

/**
 * Whether there is something to be judged by right now. Where both share the traffic each window counts; what has switched already
 * is looked at when its instances are, or it hurries.
 */
export function isJudgedNow(facts: Facts): boolean {
  const judged = judgedIn(facts);
  return judged?.how === "beside" && isCounted(judged.release);
}

/** It has traffic, or copies of stable's are compared. */
export const isCounted = (release: ReleaseFacts): boolean =>
  release.weightBp > 0 || begunWeight(release)?.compare !== undefined;

/** Whether a release is judged while it shares the traffic with what it replaces. */
export const isCompared = ({ strategy, watch }: EnvironmentSpec): boolean =>
  strategy.kind === "canary" ? strategy.analysis.enabled : strategy.kind === "rolling" && isWatched(watch);

/** What has all traffic, for as long as what it took over from is warm. */
function watchedIn({ releases, instances, stableReleaseId }: Facts): Judged | undefined {
  const release = releases.find(({ id }) => id === stableReleaseId);
  if (!release || !isWatched(release.spec.watch) || !hasSwitched(release)) return undefined;
  const target = rollbackTarget({ releases }, release);
  const isWarm = target && instances.some((one) => one.releaseId === target.id && isUp(one));
  return isWarm ? { release, against: target.id, how: "before" } : undefined;
}

const isWatched = (watch: EnvironmentSpec["watch"]): boolean => watch === "on" || watch === "alert";

/**
 * Traffic came to it by its own switch. What got its own back is not compared with an older one: it was good enough before, and in
 * an outage each release would hand its traffic to the one before it.
 */
const hasSwitched = ({ kind, state, weightBp, servingAt, timings }: ReleaseFacts): boolean =>
  kind === "deploy" &&
  (state === "settling" || state === "live") &&
  weightBp === FULL_WEIGHT &&
  servingAt !== null &&
  timings.superseded === undefined &&
  timings.rolling_back === undefined;

/** The limits that a release is judged by. */
export function analysisOf({ strategy }: EnvironmentSpec): AnalysisSpec {
  return strategy.kind === "canary" && strategy.analysis.enabled ? strategy.analysis : WITHOUT_LIMITS;
}

const WITHOUT_LIMITS: AnalysisSpec = {
  enabled: true,
  warmUpMs: 0,
  onInconclusive: "promote",
  onFailure: "rollback",
  maxWaitMs: 0,
};

/** What a release is judged by. `other`: other limits than its own. */
export function configOf(
  spec: EnvironmentSpec,
  how: Judged["how"],
  other: Pick<AnalysisLimits, "errorRateMax" | "p95MaxMs"> = {},
): Partial<CanaryConfig> {
  const { errorRateMax, p95MaxMs, warmUpMs } = analysisOf(spec);
  const limits = {
    ...(errorRateMax === undefined ? {} : { errorRateMax }),
    ...(p95MaxMs === undefined ? {} : { p95MaxMs }),
    ...other,
    ignore: ignored(spec),
    warmUpWindows: Math.ceil(warmUpMs / WINDOW_MS),
    plannedWindows: Math.ceil(plannedMs(spec, how) / WINDOW_MS),
  };
  return how === "beside" ? canaryConfig(limits) : watchConfig(limits);
}

/** Of all steps: it is judged once, whatever step it is at. */
const ignored = ({ strategy }: EnvironmentSpec): readonly string[] =>
  strategy.kind === "canary"
    ? [...new Set(strategy.steps.flatMap((step) => (step.kind === "weight" ? (step.ignore ?? []) : [])))]
    : [];

/** How long it is judged at most, ms. */
function plannedMs({ strategy, keepMs, deadlines }: EnvironmentSpec, how: Judged["how"]): number {
  if (how === "before") return keepMs;
  if (strategy.kind !== "canary") return deadlines.releaseMs;
  const ms = strategy.steps.map((step) =>
    step.kind === "weight" ? step.bakeMs + strategy.analysis.maxWaitMs : (step.forMs ?? 0),
  );
  return ms.reduce((sum, one) => sum + one, 0);
}
