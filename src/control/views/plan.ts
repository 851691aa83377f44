import type { EnvironmentFacts } from "../../domain/rollout/facts.ts";
import { heldNow } from "../../domain/rollout/lock.ts";
import { onlineHosts, type Placement, place } from "../../domain/rollout/placement.ts";
import { isActive, type ReleaseFacts } from "../../domain/rollout/release.ts";
import { rollLimits } from "../../domain/rollout/roll.ts";
import { spell } from "../../domain/rollout/steps.ts";
import type { EnvironmentSpec } from "../../domain/spec.ts";
import { closedWords } from "../../domain/windows.ts";
import type { PlanView } from "../../protocol/api.ts";
import { iso } from "../iso.ts";
import { leastMs, stepView, stepViews } from "./step-views.ts";

export interface PlannedRelease {
  readonly version: string | null;
  readonly hold: boolean;
  readonly override: boolean;
}
interface PlanInput {
  readonly facts: EnvironmentFacts;
  readonly asked: PlannedRelease;
  readonly accessories: PlanView["accessories"];
  readonly now: number;
}
type PlanProblem = PlanView["problems"][number];

/** What a release would do now: where it would run, which steps it takes, what stands in its way. */
export function planRelease(input: PlanInput): PlanView {
  const { facts, asked, now } = input;
  const { spec } = facts;
  const stable = servingStable(facts);
  const placed = placement(facts, stable, now);
  const steps = planSteps(spec, stable);
  return {
    instances: placed.slots.map(({ hostName, slot }) => ({ host: hostName, slot })),
    steps,
    atLeastMs: asked.hold ? null : leastMs(steps),
    hooks: planHooks(spec),
    replaces: stable ? { release: stable.id, version: stable.version } : null,
    keepMs: spec.keepMs,
    rollback: rollbackWords(spec, stable),
    problems: [
      ...windowProblem(input),
      ...lockProblem(input),
      ...progressProblem(facts),
      ...labelProblem(input),
      ...placed.problems,
    ],
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

interface Placed {
  readonly slots: readonly Placement[];
  readonly problems: readonly PlanProblem[];
}

function placement(facts: EnvironmentFacts, stable: ReleaseFacts | undefined, now: number): Placed {
  if (facts.spec.strategy.kind === "rolling") return rollingPlacement(facts, stable, now);
  const placed = place(facts, now);
  return placed.ok ? { slots: placed.value, problems: [] } : { slots: [], problems: [placed.error] };
}

/** A rolling release begins with what its surge allows, and finds the other slots as old instances leave. */
function rollingPlacement(facts: EnvironmentFacts, stable: ReleaseFacts | undefined, now: number): Placed {
  const { spec } = facts;
  if (spec.strategy.kind !== "rolling") throw new Error(`${spec.strategy.kind} is placed whole`);
  const online = onlineHosts(facts, now);
  if (!online.ok) return { slots: [], problems: [online.error] };
  const left = facts.instances.filter((i) => i.releaseId === stable?.id && i.state === "serving").length;
  const { maxSurge, maxUnavailable } = rollLimits(spec.strategy, spec.replicas);
  const first = Math.min(spec.replicas, spec.replicas + maxSurge - left);
  const problems: PlanProblem[] = [];
  for (let count = first; count > 0; count--) {
    const placed = place({ ...facts, spec: { ...spec, replicas: count } }, now);
    if (placed.ok) return { slots: placed.value, problems: [] };
    // Fewer are enough to begin; not even one is not, unless old ones may go first.
    if (count === 1 && maxUnavailable === 0) problems.push(placed.error);
  }
  return { slots: [], problems };
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

// --- what would stop it ---------------------------------------------------------------------------------------------

function windowProblem({ facts, asked, now }: PlanInput): PlanProblem[] {
  const detail = asked.override ? null : closedWords(facts.spec.rules, now);
  return detail === null ? [] : [{ code: "window_closed", detail }];
}

function lockProblem({ facts, now }: PlanInput): PlanProblem[] {
  const held = heldNow(facts, now);
  if (!held) return [];
  const detail = `locked by ${held.holder} until ${iso(held.expiresAt)}: ${held.reason}. It would wait; \`sluice unlock\` ends the lock`;
  return [{ code: "locked", detail }];
}

function progressProblem({ releases }: EnvironmentFacts): PlanProblem[] {
  const active = releases.find(({ state }) => isActive(state));
  if (!active) return [];
  const detail = `${active.version} is ${active.state}${active.paused ? ` and paused (${active.paused.reason})` : ""}: this one would wait for it`;
  return [{ code: "release_in_progress", detail }];
}

function labelProblem({ facts, asked }: PlanInput): PlanProblem[] {
  if (asked.version === null || !facts.releases.some(({ version }) => version === asked.version)) return [];
  return [
    { code: "conflict", detail: `a release named ${asked.version} exists already: pick another --version` },
  ];
}
