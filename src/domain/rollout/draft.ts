import { isGiven } from "../approval/approval.ts";
import type { RunChange, RunFacts } from "../processes/run.ts";
import type {
  AsideSlot,
  Decision,
  EnvironmentChange,
  InstanceChange,
  NewEvent,
  NewInstance,
  NewRelease,
  NewWorker,
  ReleaseChange,
  SmokeOrder,
} from "./decision.ts";
import { hasChanges } from "./decision.ts";
import type { EnvironmentFacts, InstanceFacts, JobFacts, SlotFacts, WorkerFacts } from "./facts.ts";
import type { JobKind, NewJob } from "./jobs.ts";
import type { Placement } from "./placing/placement.ts";
import { canMove, type ReleaseFacts, type ReleaseFailure, type ReleaseState } from "./release.ts";

/** Who was never let in has shifted no traffic: only `shifting` says that visitors may have met it. */
function timingOf({ state, approval }: ReleaseFacts): string {
  return approval?.gate === "traffic" && !isGiven(approval) && state === "shifting" ? "approval" : state;
}

/** Collects one decision about one environment at one moment, and shows the facts as it has changed them so far. */
export class Draft {
  readonly facts: EnvironmentFacts;
  readonly now: number;
  readonly actor: string;
  #environment: EnvironmentChange = {};
  readonly #releases = new Map<string, ReleaseChange>();
  readonly #newReleases: NewRelease[] = [];
  readonly #instances = new Map<string, InstanceChange>();
  readonly #newInstances: NewInstance[] = [];
  readonly #newWorkers: NewWorker[] = [];
  readonly #jobs: NewJob[] = [];
  readonly #newRuns: RunFacts[] = [];
  readonly #runs = new Map<string, RunChange>();
  readonly #withdrawJobs: string[] = [];
  readonly #cancelJobs: string[] = [];
  readonly #reserveSlots: string[] = [];
  readonly #asideSlots: AsideSlot[] = [];
  readonly #events: NewEvent[] = [];
  readonly #probes = new Map<string, InstanceFacts>();
  readonly #smokes: SmokeOrder[] = [];
  #raiseFence = false;
  #wakeAt: number | null = null;

  constructor(facts: EnvironmentFacts, now: number, actor = "sluice") {
    this.facts = facts;
    this.now = now;
    this.actor = actor;
  }

  get decision(): Decision {
    return {
      environment: this.#environment,
      releases: this.#releases,
      newReleases: this.#newReleases,
      instances: this.#instances,
      newInstances: this.#newInstances,
      newWorkers: this.#newWorkers,
      jobs: this.#jobs,
      newRuns: this.#newRuns,
      runs: this.#runs,
      withdrawJobs: this.#withdrawJobs,
      cancelJobs: this.#cancelJobs,
      reserveSlots: this.#reserveSlots,
      asideSlots: this.#asideSlots,
      events: this.#events,
      probes: [...this.#probes.values()],
      smokes: this.#smokes,
      raiseFence: this.#raiseFence,
      wakeAt: this.#wakeAt,
    };
  }

  get hasChanges(): boolean {
    return hasChanges(this.decision);
  }

  // --- what is so now ---------------------------------------------------------------------------------------------------

  release(id: string): ReleaseFacts | undefined {
    const release = this.facts.releases.find((candidate) => candidate.id === id);
    return release && { ...release, ...this.#releases.get(id) };
  }

  releases(): ReleaseFacts[] {
    return this.facts.releases.map((release) => ({ ...release, ...this.#releases.get(release.id) }));
  }

  /** The release that has, or last had, all traffic. */
  stable(): ReleaseFacts | undefined {
    const { stableReleaseId = this.facts.stableReleaseId } = this.#environment;
    return stableReleaseId === null ? undefined : this.release(stableReleaseId);
  }

  instances(): InstanceFacts[] {
    return this.facts.instances.map((instance) => {
      const change = this.#instances.get(instance.id);
      return change ? { ...instance, ...change, ...(change.state && { stateSince: this.now }) } : instance;
    });
  }

  instancesOf(releaseId: string): InstanceFacts[] {
    return this.instances().filter((instance) => instance.releaseId === releaseId);
  }

  /** Those not stopped. Those that this draft makes are not among them: they are seen by the next one. */
  workers(): WorkerFacts[] {
    const all = (this.facts.workers ?? []).map((worker) => {
      const change = this.#instances.get(worker.id);
      return change?.state ? { ...worker, state: change.state, stateSince: this.now } : worker;
    });
    return all.filter(({ state }) => state !== "stopped");
  }

  /** Workers that this draft makes. */
  get newWorkers(): readonly NewWorker[] {
    return this.#newWorkers;
  }

  /** Those that have not ended, as this draft leaves them; the new ones among them. */
  runs(): RunFacts[] {
    const known = [...(this.facts.runs ?? []), ...this.#newRuns];
    return known.map((run) => ({ ...run, ...this.#runs.get(run.id) }));
  }

  /** Their slots as this draft leaves them. */
  hosts(): EnvironmentFacts["hosts"] {
    if (this.#reserveSlots.length + this.#asideSlots.length === 0) return this.facts.hosts;
    const taken = new Set([...this.#reserveSlots, ...this.#asideSlots.map(({ slotId }) => slotId)]);
    const asLeft = (slot: SlotFacts) => (taken.has(slot.id) ? { ...slot, occupied: true } : slot);
    return this.facts.hosts.map((host) => ({ ...host, slots: host.slots.map(asLeft) }));
  }

  jobsOf(release: { readonly id: string }, kind: JobKind): JobFacts[] {
    return this.facts.jobs.filter((job) => job.releaseId === release.id && job.kind === kind);
  }

  // --- what is to change ------------------------------------------------------------------------------------------------

  changeEnvironment(change: EnvironmentChange): void {
    this.#environment = { ...this.#environment, ...change };
  }

  addRelease(release: NewRelease): void {
    this.#newReleases.push(release);
  }

  changeRelease(id: string, change: ReleaseChange): void {
    this.#releases.set(id, { ...this.#releases.get(id), ...change });
  }

  /** Moves a release on, keeps its times, tells the feed. An impossible move is a bug, not an outcome. */
  moveRelease(release: ReleaseFacts, state: ReleaseState, message: string, change: ReleaseChange = {}): void {
    const before = this.release(release.id) ?? release;
    if (!canMove(before.state, state))
      throw new Error(`release ${release.id} can't go from ${before.state} to ${state}`);
    const spentIn = timingOf(before);
    const spent = (before.timings[spentIn] ?? 0) + Math.max(0, this.now - before.stateSince);
    this.changeRelease(release.id, {
      state,
      stateSince: this.now,
      deadlineAt: null,
      timings: { ...before.timings, [spentIn]: spent },
      ...change,
    });
    const failure: ReleaseFailure | null = change.failure ?? null;
    this.event("release.state", release.id, message, {
      state,
      from: before.state,
      version: release.version,
      ...(failure ? { failure } : {}),
    });
  }

  /** A new instance in a slot, which becomes the environment's. Answers its id. */
  addInstance(release: ReleaseFacts, { hostId, slotId }: Placement, state: NewInstance["state"]): string {
    const id = this.#nextInstance(release);
    this.#newInstances.push({ id, releaseId: release.id, hostId, slotId, state });
    this.#reserveSlots.push(slotId);
    return id;
  }

  addWorker(release: ReleaseFacts, { hostId, process }: { hostId: string; process: string }): string {
    const id = this.#nextInstance(release);
    this.#newWorkers.push({ id, releaseId: release.id, hostId, process, state: "starting" });
    return id;
  }

  /** Never a number that was used before: a host's agent takes an id it knows for the instance it knew. */
  #nextInstance(release: ReleaseFacts): string {
    const made = (this.release(release.id) ?? release).instancesMade + 1;
    this.changeRelease(release.id, { instancesMade: made });
    return `${release.id}-${made}`;
  }

  changeWorker(worker: WorkerFacts, change: InstanceChange, message?: string): void {
    this.#instances.set(worker.id, { ...this.#instances.get(worker.id), ...change });
    if (!message) return;
    this.event("instance.state", worker.releaseId, message, {
      instance: worker.id,
      host: worker.hostName,
      process: worker.process,
      state: change.state ?? worker.state,
    });
  }

  /** Whether this draft has instances that no fact shows yet. */
  get startsAnew(): boolean {
    return this.#newInstances.length > 0;
  }

  setAside(slot: AsideSlot): void {
    this.#asideSlots.push(slot);
  }

  changeInstance(instance: InstanceFacts, change: InstanceChange, message?: string): void {
    this.#instances.set(instance.id, { ...this.#instances.get(instance.id), ...change });
    if (!message) return;
    this.event("instance.state", instance.releaseId, message, {
      instance: instance.id,
      host: instance.hostName,
      slot: instance.slot,
      state: change.state ?? instance.state,
    });
  }

  addRun(run: RunFacts): void {
    this.#newRuns.push(run);
  }

  changeRun({ id }: RunFacts, change: RunChange): void {
    this.#runs.set(id, { ...this.#runs.get(id), ...change });
  }

  /** Takes a job back unless its host has it by then. */
  withdraw({ id }: JobFacts): void {
    this.#withdrawJobs.push(id);
  }

  order(job: NewJob): void {
    this.#jobs.push(job);
  }

  cancel(jobs: readonly JobFacts[]): void {
    this.#cancelJobs.push(...jobs.map(({ id }) => id));
  }

  /** Asks instances over their real path. */
  probe(instances: readonly InstanceFacts[]): void {
    for (const instance of instances) this.#probes.set(instance.id, instance);
  }

  smoke(order: SmokeOrder): void {
    this.#smokes.push(order);
  }

  /** A new release begins: whoever decided before it can't act any more. */
  raiseFence(): void {
    this.#raiseFence = true;
  }

  event(
    type: NewEvent["type"],
    releaseId: string | null,
    message: string,
    data: NewEvent["data"] = {},
  ): void {
    this.#events.push({ type, actor: this.actor, releaseId, message, data });
  }

  /** The earliest of all asked-for times wins. */
  wakeAt(time: number | null): void {
    if (time === null) return;
    this.#wakeAt = this.#wakeAt === null ? time : Math.min(this.#wakeAt, time);
  }
}
