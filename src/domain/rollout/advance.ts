import { tendRuns } from "../processes/runs.ts";
import { tendWorkers } from "../processes/workers.ts";
import { FULL_WEIGHT } from "../routing/table.ts";
import type { Decision } from "./decision.ts";
import { Draft } from "./draft.ts";
import type { EnvironmentFacts } from "./facts.ts";
import { isHookRunning } from "./hooks.ts";
import { isOpen, type OpenState, type ReleaseFacts } from "./release.ts";
import { retire } from "./retire.ts";
import { live } from "./states/live.ts";
import { preparing } from "./states/preparing.ts";
import { queued } from "./states/queued.ts";
import { rollingBack } from "./states/rolling-back.ts";
import { settling } from "./states/settling.ts";
import { shifting } from "./states/shifting.ts";
import { markReady, starting } from "./states/starting.ts";
import type { StateRule } from "./states/state-rule.ts";
import { verifying } from "./states/verifying.ts";
import { avoidTakenPorts } from "./upkeep/taken-ports.ts";
import { noteOutages } from "./watch.ts";

/** How often a partial weight is renewed; the edge drops it after PARTIAL_LEASE_MS without renewal. */
const PARTIAL_RENEW_MS = 20_000;
export const PARTIAL_LEASE_MS = 60_000;

const RULES = {
  queued,
  preparing,
  starting,
  verifying,
  shifting,
  settling,
  live,
  rolling_back: rollingBack,
} satisfies Record<OpenState, StateRule>;

/**
 * One step of everything that is due in an environment now. Control applies the decision and asks again with fresh facts
 * until nothing changes; every rule is therefore safe to run twice, and a death between any two steps loses nothing.
 */
export function advance(facts: EnvironmentFacts, now: number): Decision {
  const draft = new Draft(facts, now);
  markReady(draft);
  noteOutages(draft);
  avoidTakenPorts(draft);
  for (const instance of facts.instances) retire(draft, instance);
  for (const { id } of inTurn(facts.releases)) {
    const release = draft.release(id);
    if (release) progress(draft, release);
  }
  // An end waits for the hooks that have begun (control/environment/ending.ts), and no longer than anybody else.
  if (facts.ending) isHookRunning(draft);
  tendWorkers(draft);
  tendRuns(draft);
  renewPartial(draft);
  return draft.decision;
}

/** Those that wait come last, the oldest of them first: they see what the others still hold. */
function inTurn(releases: readonly ReleaseFacts[]): readonly ReleaseFacts[] {
  const waiting = releases.filter(({ state }) => state === "queued");
  const others = releases.filter(({ state }) => state !== "queued");
  return [...others, ...waiting.sort((a, b) => a.createdAt - b.createdAt)];
}

function progress(draft: Draft, release: ReleaseFacts): void {
  const { state, deadlineAt } = release;
  if (!isOpen(state)) return;
  const rule: StateRule = RULES[state];
  if (deadlineAt !== null && deadlineAt <= draft.now && rule.overdue) return rule.overdue(draft, release);
  if (deadlineAt !== null && deadlineAt > draft.now) draft.wakeAt(deadlineAt);
  rule.work(draft, release);
}

/** A partial weight is a lease that each tick renews (an edge that hears nothing more of it drops it). */
function renewPartial(draft: Draft): void {
  const partial = draft.facts.releases.some(
    (release) => release.weightBp > 0 && release.weightBp < FULL_WEIGHT,
  );
  if (partial) draft.wakeAt(draft.now + PARTIAL_RENEW_MS);
}
