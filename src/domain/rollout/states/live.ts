import { FULL_WEIGHT } from "../../routing/table.ts";
import { actOnWatch } from "../analysis/consequences.ts";
import { isHeard } from "../carry.ts";
import { failureOf } from "../causes.ts";
import type { Draft } from "../draft.ts";
import type { JobFacts } from "../facts.ts";
import { isHookRunning, orderHook } from "../hooks.ts";
import { isActive, type ReleaseFacts, type ReleaseFailure } from "../release.ts";
import { guard } from "../take-back.ts";
import { replace } from "../upkeep/replace.ts";
import type { StateRule } from "./state-rule.ts";

/** It serves, and is watched. When its rollback window is closed, what only the old release needed may go: once. */
export const live: StateRule = {
  work: (draft, release) => {
    const fate = release.weightBp > 0 ? guard(draft, release) : "sound";
    // Whoever can carry would have what is lost by now: the verdict adds nothing to what is told of it.
    if (fate === "given away" || (fate === "sound" && actOnWatch(draft, release))) return;
    replace(draft, release);
    if (fate === "sound") contract(draft, release);
  },
};

function contract(draft: Draft, release: ReleaseFacts): void {
  const command = release.spec.hooks.contract;
  if (!command || release.kind !== "deploy") return;
  if (release.contractedAt !== null) return report(draft, release, release.contractedAt);
  if (release.weightBp < FULL_WEIGHT) return;
  const opensAt = (release.servingAt ?? draft.now) + release.spec.keepMs;
  if (opensAt > draft.now) return draft.wakeAt(opensAt);
  // The tick that follows their end comes back to this.
  if (draft.facts.instances.some((instance) => instance.releaseId !== release.id)) return;
  if (draft.facts.releases.some(({ state }) => isActive(state)) || isHookRunning(draft, release)) return;
  // Nobody else would hear of it: the sweep comes back to this.
  const instance = draft.instancesOf(release.id).find((candidate) => isHeard(candidate, draft.now));
  if (!instance) return;
  const image = release.pinnedImage ?? release.image;
  orderHook(draft, release, { hook: "contract", command, host: instance.hostId, image });
  draft.changeRelease(release.id, { contractedAt: draft.now });
}

/** Says once how it ended. `timings.contract` is there from then on. */
function report(draft: Draft, release: ReleaseFacts, since: number): void {
  if (release.timings.contract !== undefined) return;
  const job = draft.facts.jobs.find(({ id }) => id === `contract-${release.id}`);
  if (!job) return;
  if (job.finishedAt === null) return waitFor(draft, job, since + release.spec.deadlines.hookMs);
  const timings = { ...release.timings, contract: Math.max(0, job.finishedAt - since) };
  const failure = job.state === "done" ? null : job.state === "cancelled" ? UNKNOWN : failureOf(draft, job);
  draft.changeRelease(release.id, { timings, ...(failure ? { failure } : {}) });
  const end = failure ? `failed, and is not run again: ${failure.message}` : "is done";
  const message = `${release.version}: the contract hook ${end}. Nothing older can serve any more`;
  const data = { contracted: true, ...(failure ? { failure } : {}) };
  draft.event("release.progress", release.id, message, data);
}

/** An agent that is gone never answers: then nobody knows how far it came. */
function waitFor(draft: Draft, job: JobFacts, deadlineAt: number): void {
  const patience = deadlineAt + LOST_AGENT_MS;
  if (patience > draft.now) return draft.wakeAt(patience);
  draft.cancel([job]);
}

/** For the agent's own word that the deadline has passed. */
const LOST_AGENT_MS = 30_000;

const UNKNOWN: ReleaseFailure = {
  code: "deadline",
  message: "its host never said how it ended: is its agent running?",
  logs: [],
};
