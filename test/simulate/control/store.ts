import type { RunFacts } from "../../../src/domain/processes/run.ts";
import {
  type Decision,
  hasChanges,
  type NewEvent,
  type NewInstance,
} from "../../../src/domain/rollout/decision.ts";
import type {
  AccessoryHome,
  EnvironmentFacts,
  Held,
  HostFacts,
  InstanceFacts,
  InstanceState,
  JobFacts,
  WorkerFacts,
} from "../../../src/domain/rollout/facts.ts";
import type { ReleaseFacts } from "../../../src/domain/rollout/release.ts";
import type { EnvironmentSpec } from "../../../src/domain/spec.ts";
import { aSpec } from "../../domain/rollout/spec.ts";

export type Mutable<T> = { -readonly [K in keyof T]: T[K] };
export type Release = Mutable<ReleaseFacts>;
export type Instance = Omit<Mutable<InstanceFacts>, "state"> & {
  state: InstanceState;
  stoppedAt: number | null;
};
export type Job = Mutable<JobFacts> & { deadlineAt: number; payload: Record<string, unknown> };

const ENVIRONMENT_ID = "env-1";

/** What D1 holds of one environment, in memory: reads it as `loadEnvironment` does, writes decisions as `commit` does. */
export class Store {
  /** Epoch ms, by control's clock. */
  now = 1_700_000_000_000;
  spec: EnvironmentSpec = aSpec();
  rev = 0;
  fence = 0;
  stable: string | null = null;
  salt = "";
  nextVersion = 1;
  held: Held | null = null;
  ending: EnvironmentFacts["ending"] = null;
  /** What the judge says of the canary on its way. */
  analysis: EnvironmentFacts["analysis"] = null;
  releases: Release[] = [];
  instances: Instance[] = [];
  runs: RunFacts[] = [];
  schedules: EnvironmentFacts["schedules"] = null;
  workers: (Mutable<WorkerFacts> & { stoppedAt: number | null })[] = [];
  jobs: Job[] = [];
  hosts: (Mutable<HostFacts> & { alive: boolean })[] = [];
  /** Accessories that were started, and where. */
  accessories: AccessoryHome[] = [];
  events: NewEvent[] = [];

  addHost(name: string, slots: number): void {
    const slot = (_: unknown, n: number) => ({
      id: `${name}/${n}`,
      n,
      hostPort: 20_000 + n,
      origin: `http://${name}.test:${20_000 + n}`,
      environmentId: null,
      occupied: false,
    });
    const list = Array.from({ length: slots }, slot);
    this.hosts.push({ id: `host-${name}`, name, lastSeenAt: this.now, slots: list, alive: true });
  }

  /** Rows are copied, so that a decision keeps what it was made from whatever is written after it. */
  facts(): EnvironmentFacts {
    const live = this.instances.filter((instance) => instance.stoppedAt === null);
    const workers = this.workers.filter((worker) => worker.stoppedAt === null);
    const ids = new Set([...live, ...workers].map(({ id }) => id));
    const taken = new Set(live.map(({ slotId }) => slotId));
    const ofLive = new Set(live.map(({ releaseId }) => releaseId));
    const open = new Set(this.releases.filter(({ endedAt }) => endedAt === null).map(({ id }) => id));
    const inView = (job: Job): boolean =>
      job.finishedAt === null ||
      open.has(job.releaseId) ||
      this.runs.some(({ jobId, endedAt }) => jobId === job.id && endedAt === null) ||
      ids.has(job.instanceId ?? "") ||
      (job.kind === "run" && ofLive.has(job.releaseId));
    return {
      id: ENVIRONMENT_ID,
      app: "shop",
      name: "production",
      spec: this.spec,
      rev: this.rev,
      fence: this.fence,
      nextVersion: this.nextVersion,
      held: this.held,
      ending: this.ending ?? null,
      analysis: this.analysis,
      stableReleaseId: this.stable,
      releases: this.releases.toReversed().map(copy),
      instances: live.map((instance) => ({ ...instance, ...this.#hostOf(instance) })),
      runs: this.runs.filter(({ endedAt }) => endedAt === null).map(copy),
      schedules: this.schedules ?? null,
      workers: workers.map((worker) => ({ ...worker, ...this.#hostOf(worker) })),
      jobs: this.jobs.filter(inView).map(copy),
      hosts: this.hosts.map((host) => ({
        ...host,
        slots: host.slots.map((slot) => ({ ...slot, occupied: taken.has(slot.id) })),
      })),
      accessories: [...this.accessories],
    };
  }

  /** A host that was taken out of the list was removed. */
  #hostOf({
    hostId,
  }: {
    readonly hostId: string;
  }): Pick<InstanceFacts, "hostSeenAt" | "hostRemoved" | "hostDraining"> {
    const host = this.hosts.find(({ id }) => id === hostId);
    const hostDraining = host?.draining ?? false;
    return { hostSeenAt: host?.lastSeenAt ?? null, hostRemoved: host === undefined, hostDraining };
  }

  /** Writes a decision, all of it. */
  apply(decision: Decision): void {
    if (!hasChanges(decision)) return;
    this.rev += 1;
    if (decision.raiseFence) this.fence += 1;
    const { environment } = decision;
    if (environment.held !== undefined) this.held = environment.held;
    this.ending = environment.ending ?? this.ending ?? null;
    if (environment.stableReleaseId !== undefined) this.stable = environment.stableReleaseId;
    this.salt = environment.salt ?? this.salt;
    this.schedules = environment.schedules ?? this.schedules;
    this.spec = environment.spec ?? this.spec;
    this.nextVersion = environment.nextVersion ?? this.nextVersion;
    for (const release of decision.newReleases) this.releases.push(newRelease(release, this.now));
    for (const [id, change] of decision.releases) Object.assign(this.releaseById(id), change);
    for (const id of decision.reserveSlots) Object.assign(this.slot(id), { environmentId: ENVIRONMENT_ID });
    for (const { slotId, until } of decision.asideSlots ?? [])
      Object.assign(this.slot(slotId), { asideUntil: until });
    for (const made of decision.newInstances) this.#addInstance(made);
    for (const [id, change] of decision.instances) {
      const row = [...this.instances, ...this.workers].find((one) => one.id === id);
      if (!row) throw new Error(`no instance ${id}`);
      Object.assign(row, change, change.state ? { stateSince: this.now } : {});
    }
    for (const made of decision.newWorkers) this.#addWorker(made);
    this.#writeJobs(decision);
    this.events.push(...decision.events);
  }

  #addInstance(made: NewInstance): void {
    const slot = this.slot(made.slotId);
    const hostName = this.hosts.find(({ id }) => id === made.hostId)?.name ?? "?";
    this.instances.push({
      ...made,
      ...{ hostName, slot: slot.n, hostPort: slot.hostPort, origin: slot.origin },
      drainUntil: null,
      verifiedAt: null,
      verifyCause: null,
      unreachableSince: null,
      reportState: null,
      reportCause: null,
      reportAt: null,
      exits: [],
      outages: [],
      hostSeenAt: this.now,
      hostRemoved: false,
      stateSince: this.now,
      stoppedAt: null,
    });
  }

  #addWorker(made: Decision["newWorkers"][number]): void {
    const hostName = this.hosts.find(({ id }) => id === made.hostId)?.name ?? "?";
    this.workers.push({
      ...made,
      hostName,
      stateSince: this.now,
      reportState: null,
      reportCause: null,
      reportAt: null,
      hostSeenAt: this.now,
      hostRemoved: false,
      exits: [],
      stoppedAt: null,
    });
  }

  #writeJobs(decision: Decision): void {
    for (const run of decision.newRuns) {
      if (this.runs.some(({ id }) => id === run.id)) throw new Error(`${run.id} is run twice`);
      this.runs.push(run);
    }
    this.runs = this.runs.map((run) => ({ ...run, ...decision.runs.get(run.id) }));
    for (const job of this.jobs)
      if (decision.withdrawJobs.includes(job.id) && job.state === "queued")
        Object.assign(job, { state: "cancelled", finishedAt: this.now });
    for (const job of this.jobs)
      if (decision.cancelJobs.includes(job.id))
        Object.assign(job, { state: "cancelled", finishedAt: this.now });
    for (const job of decision.jobs) {
      if (this.jobs.some(({ id }) => id === job.id)) continue;
      const { state, createdAt } = { state: "queued", createdAt: this.now } as const;
      this.jobs.push({
        ...job,
        state,
        createdAt,
        progress: null,
        result: null,
        error: null,
        finishedAt: null,
      });
    }
  }

  releaseById(id: string): Release {
    const found = this.releases.find((release) => release.id === id);
    if (!found) throw new Error(`no release ${id}`);
    return found;
  }

  slot(id: string) {
    const found = this.hosts.flatMap((host) => host.slots).find((slot) => slot.id === id);
    if (!found) throw new Error(`no slot ${id}`);
    return found;
  }
}

const copy = <T extends object>(row: T): T => ({ ...row });

const newRelease = (release: Decision["newReleases"][number], now: number): Release => ({
  ...release,
  ...{ state: "queued", weightBp: 0, stepIndex: null, pinnedImage: null, digest: null, failure: null },
  ...{ createdAt: now, stateSince: now, startedAt: null, servingAt: null, endedAt: null, warmUntil: null },
  ...{
    workerTroubles: null,
    stepSince: null,
    paused: null,
    instancesMade: 0,
    smoke: null,
    contractedAt: null,
    startFailures: [],
  },
  timings: {},
});
