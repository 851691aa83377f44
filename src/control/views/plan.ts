import { type Asked, obstacles } from "../../domain/commands/obstacles.ts";
import type { EnvironmentFacts } from "../../domain/rollout/facts.ts";
import { mostVisits } from "../../domain/rollout/load.ts";
import { firstPlaces } from "../../domain/rollout/placing/first-places.ts";
import type { ReleaseFacts } from "../../domain/rollout/release.ts";
import type { EnvironmentSpec } from "../../domain/spec.ts";
import { spell } from "../../domain/times.ts";
import type { PlanView } from "../../protocol/api/plans.ts";
import { leastMs, stepView, stepViews } from "./step-views.ts";

export interface PlannedRelease extends Asked {
  readonly hold: boolean;
}
interface PlanInput {
  readonly facts: EnvironmentFacts;
  readonly asked: PlannedRelease;
  readonly accessories: PlanView["accessories"];
  readonly now: number;
}

/** What a release would do now: where it would run, which steps it takes, what stands in its way. */
export function planRelease(input: PlanInput): PlanView {
  const { facts, asked, now } = input;
  const { spec } = facts;
  const stable = servingStable(facts);
  const steps = planSteps(spec, stable);
  return {
    instances: firstPlaces(facts, now).slots.map(({ hostName, slot }) => ({ host: hostName, slot })),
    steps,
    atLeastMs: asked.hold ? null : leastMs(steps),
    hooks: planHooks(spec),
    replaces: stable ? { release: stable.id, version: stable.version } : null,
    keepMs: spec.keepMs,
    rollback: rollbackWords(spec, stable),
    problems: obstacles(facts, asked, now).map(({ code, detail }) => ({ code, detail })),
    price: null,
    load: stable ? loadWords(spec) : null,
    accessories: input.accessories,
  };
}

/** The plan that a release was made with, as far as it still can be told. */
export function planOfRelease(
  spec: EnvironmentSpec,
  instances: PlanView["instances"],
  stable: { readonly version: string } | null,
): PlanView {
  const steps = stepViews(spec);
  return {
    instances,
    steps,
    atLeastMs: leastMs(steps),
    hooks: planHooks(spec),
    replaces: null,
    keepMs: spec.keepMs,
    rollback: rollbackWords(spec, stable),
    problems: [],
    price: null,
    load: stable ? loadWords(spec) : null,
    accessories: [],
  };
}

const servingStable = (facts: EnvironmentFacts): ReleaseFacts | undefined =>
  facts.releases.find(({ id, weightBp }) => id === facts.stableReleaseId && weightBp > 0);

/** A first release has nobody to be compared with: it takes all traffic at once. */
function planSteps(spec: EnvironmentSpec, stable: ReleaseFacts | undefined): PlanView["steps"] {
  if (stable || spec.strategy.kind !== "canary") return stepViews(spec);
  const all = stepView({ kind: "weight", weightBp: 10_000, bakeMs: 0, match: null, mirrorBp: 0 });
  return [{ ...all, label: "100 % at once: there is no release to compare it with" }];
}

function planHooks({ hooks, keepMs }: EnvironmentSpec): PlanView["hooks"] {
  const { expand, contract } = hooks;
  const before = "once, in the new image, before anything of it starts";
  const after = `once, in the new image, ${spell(keepMs)} after it has all traffic and nothing older runs; nothing older can serve from then on`;
  return [
    ...(expand ? [{ hook: "expand" as const, command: [...expand], when: before }] : []),
    ...(contract ? [{ hook: "contract" as const, command: [...contract], when: after }] : []),
  ];
}

function loadWords(spec: EnvironmentSpec): string | null {
  const most = mostVisits(spec);
  if (!spec.load) return null;
  if (most === null)
    return "none: `load` asks only while a canary with analysis, or a watched rolling release, shares the traffic";
  const { paths, ratePerS, judge } = spec.load;
  const fewer = ratePerS < 1 ? `${toPlaces(ratePerS * 60)} a minute` : `${toPlaces(ratePerS)} a second`;
  const counted = judge ? "judged as theirs" : "not judged";
  return `up to ${most.toLocaleString("en-US")} GETs of ${paths.join(", ")} by control, while visitors are fewer than ${fewer}; ${counted}. None is a Worker request where control is in the zone of the hosts' slots, else up to 2 each`;
}
const toPlaces = (figure: number): number => Number(figure.toFixed(2));

function rollbackWords(
  spec: EnvironmentSpec,
  stable: { readonly version: string } | null | undefined,
): string {
  if (!stable) return "the first release here: there is nothing to go back to";
  const { version } = stable;
  const keep = spell(spec.keepMs);
  const during =
    spec.strategy.kind === "rolling"
      ? "while it rolls: back the way it came, a few instances at a time; then "
      : "";
  const instant = `instant for ${keep} after it has all traffic, while ${version} is kept warm`;
  const later = spec.hooks.contract
    ? "then its contract migration makes going back impossible"
    : "later by starting the old image again";
  return `${during}${instant}; ${later}`;
}
