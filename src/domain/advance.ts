import { failureOf, hostName, names, waitsFor } from "./causes.ts";
import { type Decision, Draft, hasChanges } from "./decision.ts";
import type { EnvironmentFacts, InstanceFacts, JobFacts } from "./facts.ts";
import { place, stepsOf } from "./plan.ts";
import { isActive, type ReleaseFacts, type ReleaseFailure } from "./release.ts";
import { FULL_WEIGHT } from "./routing.ts";
import { STALENESS_MS, shiftWeights } from "./shift.ts";

/** How often an instance that does not answer over its real path yet is asked again. */
const PROBE_INTERVAL_MS = 500;
/** How often a partial weight is renewed; the edge drops it after PARTIAL_LEASE_MS without renewal. */
const PARTIAL_RENEW_MS = 20_000;
export const PARTIAL_LEASE_MS = 60_000;
/** A stop that failed is tried again after this long, the next one after twice as long, and so on up to twenty times. */
const STOP_RETRY_MS = 30_000;
/** Beyond the startup deadline: for the job to reach the host and the answer to come back. */
const JOB_SLACK_MS = 30_000;

/**
 * One step of everything that is due in an environment now. Control applies the decision and asks again with fresh facts
 * until nothing changes; every rule is therefore safe to run twice, and a death between any two steps loses nothing.
 */
export function advance(facts: EnvironmentFacts, now: number): Decision {
  const draft = new Draft(facts, now);
  for (const instance of facts.instances) retire(draft, instance);
  for (const { id } of facts.releases) {
    const release = draft.release(id);
    if (release) progress(draft, release);
  }
  // What this step frees (a lock, slots) is seen by the next one, from fresh facts.
  if (!hasChanges(draft.decision)) startNext(draft);
  renewPartial(draft);
  return draft.decision;
}

function progress(draft: Draft, release: ReleaseFacts): void {
  if (release.deadlineAt !== null) {
    if (release.deadlineAt <= draft.now && pastDeadline(draft, release)) return;
    draft.wakeAt(release.deadlineAt);
  }
  if (release.state === "preparing") return prepare(draft, release);
  if (release.state === "starting") return start(draft, release);
  if (release.state === "verifying") return verify(draft, release);
  if (release.state === "shifting") return shift(draft, release);
  if (release.state === "settling") return settle(draft, release);
  if (release.state === "rolling_back") return endRollback(draft, release);
}

// --- queued → preparing ---------------------------------------------------------------------------------------------

function startNext(draft: Draft): void {
  const { facts, now } = draft;
  const queued = facts.releases.filter((release) => release.state === "queued");
  if (queued.length === 0 || facts.releases.some((release) => isActive(release.state))) return;
  const release = queued.reduce((a, b) => (a.createdAt <= b.createdAt ? a : b));
  const lock = facts.lock;
  if (lock && lock.holder !== release.id && lock.expiresAt > now) return draft.wakeAt(lock.expiresAt);
  const placed = place(withSpec(facts, release), now);
  if (!placed.ok) {
    if (placed.error.code === "no_slots" && isFreeing(facts)) return;
    const failure = { code: placed.error.code, message: placed.error.detail, logs: [] };
    return draft.moveRelease(release, "failed", `${release.version} failed: ${failure.message}`, {
      failure,
      endedAt: now,
    });
  }
  draft.decision.raiseFence = true;
  const hosts = [...new Map(placed.value.map((slot) => [slot.hostId, slot.hostName]))];
  draft.moveRelease(
    release,
    "preparing",
    `${release.version}: pulling ${release.image} on ${names(hosts.map(([, name]) => name))}`,
    {
      startedAt: now,
      deadlineAt: now + release.spec.deadlines.prepareMs,
    },
  );
  for (const [index, slot] of placed.value.entries()) {
    const id = `${release.id}-${index + 1}`;
    draft.decision.newInstances.push({ id, releaseId: release.id, hostId: slot.hostId, slotId: slot.slotId });
    draft.decision.reserveSlots.push(slot.slotId);
  }
  for (const [index, [hostId]] of hosts.entries()) {
    draft.decision.jobs.push({
      // The wire allows 64 characters: too few for both ids.
      id: `pull-${release.id}-${index + 1}`,
      kind: "pull",
      hostId,
      releaseId: release.id,
      instanceId: null,
      payload: { image: release.pinnedImage ?? release.image },
      deadlineAt: now + release.spec.deadlines.prepareMs,
    });
  }
}

/** Slots are about to be free: a release that finds none waits for them, up to its deadline. */
const isFreeing = (facts: EnvironmentFacts): boolean =>
  facts.instances.some((instance) => instance.state === "stopping");

/** A release is placed by the spec it was made with, not by one applied since. */
const withSpec = (facts: EnvironmentFacts, release: ReleaseFacts): EnvironmentFacts => ({
  ...facts,
  spec: release.spec,
});

// --- preparing → starting -------------------------------------------------------------------------------------------

function prepare(draft: Draft, release: ReleaseFacts): void {
  const pulls = jobsOf(draft, release, "pull");
  const failed = pulls.find((job) => job.state === "failed");
  if (failed) return fail(draft, release, failureOf(draft, failed));
  if (pulls.length === 0 || pulls.some((job) => job.state !== "done")) return;
  const digests = new Map(pulls.map((job) => [job.result?.digest ?? "", job]));
  if (digests.size > 1) {
    const seen = [...digests]
      .map(([digest, job]) => `${hostName(draft, job.hostId)} has ${digest}`)
      .join(", ");
    const message = `${release.image} is not the same image on every host: ${seen}. Deploy by digest, or push the tag again`;
    return fail(draft, release, { code: "image_differs", message, logs: [] });
  }
  const result = pulls[0]?.result;
  const image = result?.image ?? release.image;
  const { startup } = release.spec.health;
  const instances = draft.instancesOf(release.id);
  const spread = names(instances.map((instance) => instance.hostName));
  draft.moveRelease(
    release,
    "starting",
    `${release.version}: starting ${count(instances.length, "instance")} on ${spread}`,
    {
      digest: result?.digest ?? null,
      pinnedImage: image,
      deadlineAt: draft.now + startup.deadlineMs + JOB_SLACK_MS,
    },
  );
  for (const instance of instances) {
    draft.changeInstance(instance, { state: "starting" });
    draft.decision.jobs.push({
      id: `start-${instance.id}`,
      kind: "start",
      hostId: instance.hostId,
      releaseId: release.id,
      instanceId: instance.id,
      payload: { spec: startSpec(release, instance, image) },
      deadlineAt: draft.now + startup.deadlineMs + JOB_SLACK_MS / 2,
    });
  }
}

/** The wire's InstanceSpec, but for the fence, which is the lease's. */
function startSpec(release: ReleaseFacts, instance: InstanceFacts, image: string): Record<string, unknown> {
  const { spec } = release;
  return {
    instance: instance.id,
    release: release.id,
    version: release.version,
    app: spec.app,
    environment: spec.environment,
    slot: instance.slot,
    hostPort: instance.hostPort,
    image,
    containerPort: spec.port,
    ...(spec.command ? { command: spec.command } : {}),
    env: spec.env,
    health: spec.health,
    resources: spec.resources,
    logging: spec.logging,
    stopGraceMs: spec.stopGraceMs,
  };
}

// --- starting → verifying → shifting --------------------------------------------------------------------------------

function start(draft: Draft, release: ReleaseFacts): void {
  const jobs = jobsOf(draft, release, "start");
  const failed = jobs.find((job) => job.state === "failed");
  if (failed) return fail(draft, release, failureOf(draft, failed));
  const instances = draft.instancesOf(release.id);
  for (const instance of instances) {
    const done = jobs.some((job) => job.instanceId === instance.id && job.state === "done");
    if (done && instance.state === "starting") {
      draft.changeInstance(
        instance,
        { state: "ready" },
        `${release.version} on ${instance.hostName} is ready`,
      );
    }
  }
  if (jobs.length < instances.length || jobs.some((job) => job.state !== "done")) return;
  draft.moveRelease(release, "verifying", `${release.version}: all ready, asking each over its real path`, {
    deadlineAt: draft.now + release.spec.deadlines.verifyMs,
  });
}

function verify(draft: Draft, release: ReleaseFacts): void {
  const waiting = draft.instancesOf(release.id).filter((instance) => instance.verifiedAt === null);
  if (waiting.length > 0) {
    draft.decision.probes.push(...waiting);
    return draft.wakeAt(draft.now + PROBE_INTERVAL_MS);
  }
  draft.moveRelease(
    release,
    "shifting",
    `${release.version}: answers on its real path, traffic begins to shift`,
    {
      stepIndex: 0,
      deadlineAt: draft.now + release.spec.deadlines.releaseMs,
    },
  );
  draft.decision.environment.salt = release.id;
}

// --- shifting → settling → live -------------------------------------------------------------------------------------

function shift(draft: Draft, release: ReleaseFacts): void {
  const step = stepsOf(release.spec)[release.stepIndex ?? 0];
  if (!step) throw new Error(`release ${release.id} has no step ${release.stepIndex}`);
  shiftWeights(draft, new Map([[release.id, step.weightBp]]));
  if (step.weightBp === FULL_WEIGHT) takeOver(draft, release);
}

/** The release has all traffic: the others drain, and the next release may begin. */
function takeOver(draft: Draft, release: ReleaseFacts): void {
  draft.moveRelease(release, "settling", `${release.version} serves 100 %`, {
    servingAt: draft.now,
    weightBp: FULL_WEIGHT,
  });
  draft.decision.environment.stableReleaseId = release.id;
}

function settle(draft: Draft, release: ReleaseFacts): void {
  const due = draft.facts.instances
    .filter((instance) => instance.releaseId !== release.id && instance.state === "draining")
    .map((instance) => instance.drainUntil ?? 0);
  const last = Math.max((release.servingAt ?? 0) + STALENESS_MS, ...due);
  if (last > draft.now) return draft.wakeAt(last);
  draft.moveRelease(release, "live", `${release.version} is live`, { endedAt: draft.now });
}

function endRollback(draft: Draft, release: ReleaseFacts): void {
  const busy = draft.instancesOf(release.id).filter((instance) => instance.state !== "stopping");
  if (busy.length > 0) return;
  draft.moveRelease(release, "rolled_back", `${release.version} is rolled back`, { endedAt: draft.now });
}

// --- draining → warm → stopping → stopped ---------------------------------------------------------------------------

function retire(draft: Draft, instance: InstanceFacts): void {
  const release = draft.release(instance.releaseId);
  if (!release) throw new Error(`instance ${instance.id} is of unknown release ${instance.releaseId}`);
  if (instance.state === "stopping") return confirmStop(draft, instance);
  // Never had traffic, so there is nothing to drain.
  if (instance.state === "ready" && release.state === "rolling_back") return stop(draft, instance);
  if (instance.state !== "draining" && instance.state !== "warm") return;
  const keptUntil = release.state === "superseded" ? (release.warmUntil ?? 0) : 0;
  const until = Math.max(keptUntil, instance.drainUntil ?? 0);
  if (until <= draft.now) return stop(draft, instance);
  if (instance.state === "draining" && (instance.drainUntil ?? 0) <= draft.now) {
    draft.changeInstance(
      instance,
      { state: "warm" },
      `${release.version} on ${instance.hostName} is kept warm`,
    );
  }
  draft.wakeAt(instance.state === "warm" ? until : (instance.drainUntil ?? until));
}

/** Asks the host to stop the container; the slot stays taken until the host says that it is gone. */
function stop(draft: Draft, instance: InstanceFacts): void {
  const release = draft.release(instance.releaseId);
  const attempt =
    draft.facts.jobs.filter((job) => job.kind === "stop" && job.instanceId === instance.id).length + 1;
  const graceMs = release?.spec.stopGraceMs ?? 0;
  draft.changeInstance(instance, { state: "stopping" }, `${release?.version} on ${instance.hostName} stops`);
  draft.decision.jobs.push({
    id: `stop-${instance.id}-${attempt}`,
    kind: "stop",
    hostId: instance.hostId,
    releaseId: instance.releaseId,
    instanceId: instance.id,
    payload: { instance: instance.id, graceMs },
    // A host that is away gets it when it is back; a week later a person has to look.
    deadlineAt: draft.now + 7 * 86_400_000,
  });
}

function confirmStop(draft: Draft, instance: InstanceFacts): void {
  const stops = draft.facts.jobs.filter((job) => job.kind === "stop" && job.instanceId === instance.id);
  if (stops.some((job) => job.state === "done")) {
    return draft.changeInstance(instance, { state: "stopped", stoppedAt: draft.now });
  }
  const last = stops.at(-1);
  if (stops.some((job) => job.state === "queued" || job.state === "leased")) return;
  const retryAt = (last?.finishedAt ?? instance.stateSince) + STOP_RETRY_MS * Math.min(stops.length, 20);
  if (retryAt <= draft.now) return stop(draft, instance);
  draft.wakeAt(retryAt);
}

// --- failing --------------------------------------------------------------------------------------------------------

/** Ends a release that has no traffic. What it started is stopped, what serves is left alone. */
function fail(draft: Draft, release: ReleaseFacts, failure: ReleaseFailure): void {
  endWithoutTraffic(draft, release, "failed", `${release.version} failed: ${failure.message}`, failure);
}

export function endWithoutTraffic(
  draft: Draft,
  release: ReleaseFacts,
  state: "failed" | "aborted" | "superseded",
  message: string,
  failure: ReleaseFailure | null = null,
): void {
  draft.moveRelease(release, state, message, {
    endedAt: draft.now,
    weightBp: 0,
    ...(failure ? { failure } : {}),
  });
  const open = draft.facts.jobs.filter((job) => job.releaseId === release.id && job.finishedAt === null);
  draft.decision.cancelJobs.push(...open.filter((job) => job.kind !== "stop").map((job) => job.id));
  for (const instance of draft.instancesOf(release.id)) {
    if (instance.state === "pending")
      draft.changeInstance(instance, { state: "stopped", stoppedAt: draft.now });
    else if (instance.state !== "stopping") stop(draft, instance);
  }
}

/** Ends a release that was taking traffic: what it has goes back to stable. */
export function giveBack(
  draft: Draft,
  release: ReleaseFacts,
  message: string,
  failure: ReleaseFailure,
): void {
  const { stableReleaseId } = draft.facts;
  draft.moveRelease(release, "rolling_back", message, { failure });
  if (release.weightBp > 0 && stableReleaseId) {
    shiftWeights(draft, new Map([[stableReleaseId, FULL_WEIGHT]]));
  }
}

/** True when the deadline ended it. */
function pastDeadline(draft: Draft, release: ReleaseFacts): boolean {
  if (release.state !== "queued" && !isActive(release.state)) return false;
  const message = `${release.state} took longer than ${seconds(draft.now - release.stateSince)}: ${waitsFor(draft, release)}`;
  const failure = { code: "deadline", message, logs: [] };
  if (release.state === "shifting")
    giveBack(draft, release, `${release.version} rolls back: ${message}`, failure);
  else fail(draft, release, failure);
  return true;
}

/** A partial weight is a lease that each tick renews (the dead-man rule, design §3). */
function renewPartial(draft: Draft): void {
  const partial = draft.facts.releases.some(
    (release) => release.weightBp > 0 && release.weightBp < FULL_WEIGHT,
  );
  if (partial) draft.wakeAt(draft.now + PARTIAL_RENEW_MS);
}

const jobsOf = (draft: Draft, release: ReleaseFacts, kind: JobFacts["kind"]): JobFacts[] =>
  draft.facts.jobs.filter((job) => job.releaseId === release.id && job.kind === kind);

const count = (n: number, noun: string): string => `${n} ${noun}${n === 1 ? "" : "s"}`;
const seconds = (ms: number): string => `${Math.round(ms / 1000)} s`;
