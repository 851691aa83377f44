import { ok, type Result } from "../result.ts";
import { closedWords } from "../windows.ts";
import { failureOf, hostName, names } from "./causes.ts";
import type { Draft } from "./decision.ts";
import { fail } from "./ending.ts";
import type { EnvironmentFacts, JobFacts } from "./facts.ts";
import { housing, JOB_SLACK_MS, nextInstanceId, orderStart } from "./instances.ts";
import { heldNow } from "./lock.ts";
import { onlineHosts, type Placement, type PlacementProblem, place } from "./plan.ts";
import { isActive, type ReleaseFacts } from "./release.ts";
import { SMOKE_RETRY_MS } from "./settling.ts";

/** From `queued` to the moment before the first visitor: nothing here touches what serves. */

/** How often an instance that does not answer over its real path yet is asked again. */
export const PROBE_INTERVAL_MS = 500;

// --- queued → preparing ---------------------------------------------------------------------------------------------

export function startNext(draft: Draft): void {
  const { facts, now } = draft;
  const queued = facts.releases.filter((release) => release.state === "queued");
  if (queued.length === 0 || facts.releases.some(isMoving)) return;
  const release = queued.reduce((a, b) => (a.createdAt <= b.createdAt ? a : b));
  const held = heldNow(facts, now);
  if (held && release.kind !== "rollback") return draft.wakeAt(held.expiresAt);
  const closed = release.kind === "deploy" && !release.override ? closedWords(facts.spec.rules, now) : null;
  if (closed !== null) {
    // Refused and not kept waiting: nobody wants a deploy of Friday to begin on Monday by itself.
    const message = `its deploy window closed while it waited its turn: ${closed}`;
    return fail(draft, release, { code: "window_closed", message, logs: [] });
  }
  const placed = placements(facts, release, now);
  if (!placed.ok) {
    if (placed.error.code === "no_slots" && isFreeing(facts)) return;
    return fail(draft, release, { code: placed.error.code, message: placed.error.detail, logs: [] });
  }
  draft.decision.raiseFence = true;
  for (const slot of placed.value) {
    const id = nextInstanceId(draft, release);
    const { hostId, slotId } = slot;
    draft.decision.newInstances.push({ id, releaseId: release.id, hostId, slotId, state: "pending" });
    draft.decision.reserveSlots.push(slotId);
  }
  pull(draft, release, pullHosts(facts, release, placed.value, now));
}

/** On its way, or going back instance by instance: the next one waits. */
const isMoving = ({ state, spec }: ReleaseFacts): boolean =>
  isActive(state) || (state === "rolling_back" && spec.strategy.kind === "rolling");

/** A rolling release finds its slots as it goes; the others need all of them before anything moves. */
function placements(
  facts: EnvironmentFacts,
  release: ReleaseFacts,
  now: number,
): Result<readonly Placement[], PlacementProblem> {
  // By the spec it was made with, not by one applied since.
  const own = { ...facts, spec: release.spec };
  if (release.spec.strategy.kind !== "rolling") return place(own, now);
  const online = onlineHosts(own, now);
  return online.ok ? ok([]) : online;
}

/** Slots are about to be free: a release that finds none waits for them, up to its deadline. */
const isFreeing = (facts: EnvironmentFacts): boolean =>
  facts.instances.some((instance) => instance.state === "stopping");

function pullHosts(
  facts: EnvironmentFacts,
  release: ReleaseFacts,
  placed: readonly Placement[],
  now: number,
): ReadonlyMap<string, string> {
  if (release.spec.strategy.kind !== "rolling")
    return new Map(placed.map((slot) => [slot.hostId, slot.hostName]));
  const online = onlineHosts({ ...facts, spec: release.spec }, now);
  return new Map((online.ok ? online.value : []).map((host) => [host.id, host.name]));
}

function pull(draft: Draft, release: ReleaseFacts, hosts: ReadonlyMap<string, string>): void {
  const deadlineAt = draft.now + release.spec.deadlines.prepareMs;
  const message = `${release.version}: pulling ${release.image} on ${names([...hosts.values()])}`;
  draft.moveRelease(release, "preparing", message, { startedAt: draft.now, deadlineAt });
  for (const [index, hostId] of [...hosts.keys()].entries()) {
    draft.decision.jobs.push({
      // The wire allows 64 characters: too few for both ids.
      id: `pull-${release.id}-${index + 1}`,
      kind: "pull",
      hostId,
      releaseId: release.id,
      instanceId: null,
      payload: { image: release.pinnedImage ?? release.image },
      deadlineAt,
    });
  }
}

// --- preparing → starting -------------------------------------------------------------------------------------------

export function prepare(draft: Draft, release: ReleaseFacts): void {
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
  const pinned = { digest: result?.digest ?? null, pinnedImage: result?.image ?? release.image };
  if (!expand(draft, release, { host: pulls[0]?.hostId ?? "", image: pinned.pinnedImage })) return;
  begin(draft, release, pinned);
}

/** Runs the expand hook once, in the new image, before anything of the release starts. True: nothing left to do. */
function expand(draft: Draft, release: ReleaseFacts, where: { host: string; image: string }): boolean {
  const command = release.spec.hooks.expand;
  if (!command || release.kind === "rollback") return true;
  const [job] = jobsOf(draft, release, "run");
  if (!job) {
    orderHook(draft, release, { hook: "expand", command, ...where });
    return false;
  }
  if (job.state === "failed") fail(draft, release, failureOf(draft, job));
  return job.state === "done";
}

export interface HookOrder {
  readonly hook: "expand" | "contract";
  readonly command: readonly string[];
  readonly host: string;
  readonly image: string;
}

/** One job per release and hook, by its id: no decision can order it twice. */
export function orderHook(draft: Draft, release: ReleaseFacts, order: HookOrder): void {
  const { spec } = release;
  const deadlineAt = draft.now + spec.deadlines.hookMs;
  draft.decision.jobs.push({
    id: `${order.hook}-${release.id}`,
    kind: "run",
    hostId: order.host,
    releaseId: release.id,
    instanceId: null,
    payload: {
      run: `${release.id}-${order.hook}`,
      hook: order.hook,
      release: release.id,
      version: release.version,
      app: spec.app,
      environment: spec.environment,
      image: order.image,
      command: order.command,
      env: spec.env,
      resources: spec.resources,
      ...housing(spec),
      secrets: spec.secrets ?? [],
    },
    deadlineAt,
  });
  if (release.deadlineAt !== null) draft.changeRelease(release.id, { deadlineAt: deadlineAt + JOB_SLACK_MS });
  draft.event(
    "release.progress",
    release.id,
    `${release.version}: ${order.hook} hook runs (${order.command.join(" ")})`,
    {
      hook: order.hook,
    },
  );
}

function begin(
  draft: Draft,
  release: ReleaseFacts,
  pinned: { digest: string | null; pinnedImage: string },
): void {
  if (release.spec.strategy.kind === "rolling") {
    draft.changeRelease(release.id, pinned);
    return openShift(draft, release, `${release.version}: rolling, a few at a time`);
  }
  const instances = draft.instancesOf(release.id);
  const spread = names(instances.map((instance) => instance.hostName));
  const message = `${release.version}: starting ${count(instances.length, "instance")} on ${spread}`;
  const deadlineAt = draft.now + release.spec.health.startup.deadlineMs + JOB_SLACK_MS;
  draft.moveRelease(release, "starting", message, { ...pinned, deadlineAt });
  for (const instance of instances) {
    draft.changeInstance(instance, { state: "starting" });
    orderStart(draft, release, instance);
  }
}

// --- starting → verifying → shifting --------------------------------------------------------------------------------

export function start(draft: Draft, release: ReleaseFacts): void {
  const jobs = jobsOf(draft, release, "start");
  const failed = jobs.find((job) => job.state === "failed");
  if (failed) return fail(draft, release, failureOf(draft, failed));
  if (jobs.length < draft.instancesOf(release.id).length || jobs.some((job) => job.state !== "done")) return;
  draft.moveRelease(release, "verifying", `${release.version}: all ready, asking each over its real path`, {
    deadlineAt: draft.now + release.spec.deadlines.verifyMs,
  });
}

/** An instance is ready when its start job is done, whatever its release does meanwhile. */
export function markReady(draft: Draft): void {
  for (const instance of draft.facts.instances) {
    if (instance.state !== "starting") continue;
    const done = draft.facts.jobs.some(
      (job) => job.kind === "start" && job.instanceId === instance.id && job.state === "done",
    );
    const version = draft.release(instance.releaseId)?.version;
    if (done)
      draft.changeInstance(instance, { state: "ready" }, `${version} on ${instance.hostName} is ready`);
  }
}

export function verify(draft: Draft, release: ReleaseFacts): void {
  const waiting = draft.instancesOf(release.id).filter((instance) => instance.verifiedAt === null);
  if (waiting.length > 0) {
    draft.decision.probes.push(...waiting);
    return draft.wakeAt(draft.now + PROBE_INTERVAL_MS);
  }
  if (release.spec.smoke.length > 0) {
    const outcome = release.smoke?.before;
    if (!outcome) {
      draft.decision.smokes.push({ release, when: "before" });
      return draft.wakeAt(draft.now + SMOKE_RETRY_MS);
    }
    if (outcome.failure) return fail(draft, release, outcome.failure);
  }
  openShift(draft, release, `${release.version}: answers on its real path, traffic begins to shift`);
}

function openShift(draft: Draft, release: ReleaseFacts, message: string): void {
  const { pauseMs, releaseMs } = release.spec.deadlines;
  const held = { at: draft.now, by: "sluice", reason: "prepared and held at 0 %, as asked", until: null };
  draft.moveRelease(
    release,
    "shifting",
    release.hold ? `${release.version}: prepared, held at 0 %` : message,
    {
      stepIndex: 0,
      stepSince: null,
      paused: release.hold ? held : null,
      deadlineAt: draft.now + (release.hold ? pauseMs : releaseMs),
    },
  );
  draft.decision.environment.salt = release.id;
}

export const jobsOf = (draft: Draft, release: ReleaseFacts, kind: JobFacts["kind"]): JobFacts[] =>
  draft.facts.jobs.filter((job) => job.releaseId === release.id && job.kind === kind);

const count = (n: number, noun: string): string => `${n} ${noun}${n === 1 ? "" : "s"}`;
