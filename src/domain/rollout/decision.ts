import type { RunChange, RunFacts, ScheduleMarks } from "../processes/run.ts";
import type { TrafficMode } from "../routing/table.ts";
import type { TraceContext } from "../tracing/context.ts";
import type { Ending, Held, InstanceFacts, InstanceState } from "./facts.ts";
import type { NewJob } from "./jobs.ts";
import type { ReleaseFacts } from "./release.ts";

/**
 * What is to be changed, as data: a draft (draft.ts) collects it, control applies it in one batch.
 * Ids are made from what they are for, so that the same decision taken twice writes the same rows.
 */
export interface Decision {
  readonly environment: EnvironmentChange;
  readonly releases: ReadonlyMap<string, ReleaseChange>;
  readonly newReleases: readonly NewRelease[];
  /** Of instances and of workers, by id. */
  readonly instances: ReadonlyMap<string, InstanceChange>;
  readonly newInstances: readonly NewInstance[];
  readonly newWorkers: readonly NewWorker[];
  readonly jobs: readonly NewJob[];
  /** Those that are not over yet, or were skipped. */
  readonly newRuns: readonly RunFacts[];
  readonly runs: ReadonlyMap<string, RunChange>;
  /** Jobs to be cancelled unless a host has taken them: what became of them is seen by the next decision. */
  readonly withdrawJobs: readonly string[];
  /** Jobs that nobody needs any more. */
  readonly cancelJobs: readonly string[];
  readonly reserveSlots: readonly string[];
  /** Slots whose port somebody else has: not tried again before a time. */
  readonly asideSlots?: readonly AsideSlot[];
  readonly events: readonly NewEvent[];
  /** Instances to be asked over their real path whether they answer. */
  readonly probes: readonly InstanceFacts[];
  /** Releases whose smoke checks are to be run now. */
  readonly smokes: readonly SmokeOrder[];
  /** A new release begins: the fence rises. */
  readonly raiseFence: boolean;
  /** When there is something to do next if nothing happens before. */
  readonly wakeAt: number | null;
}

export interface EnvironmentChange {
  readonly stableReleaseId?: string | null;
  readonly salt?: string;
  readonly nextVersion?: number;
  readonly held?: Held | null;
  readonly mode?: TrafficMode;
  readonly spec?: ReleaseFacts["spec"];
  readonly schedules?: ScheduleMarks;
  readonly ending?: Ending;
}

export type ReleaseChange = Partial<Omit<ReleaseFacts, "id" | "kind" | "version" | "createdAt">>;

export interface InstanceChange {
  readonly state?: InstanceState;
  readonly drainUntil?: number | null;
  readonly stoppedAt?: number;
  readonly verifiedAt?: number;
  readonly verifyCause?: string | null;
  readonly unreachableSince?: number | null;
  readonly outages?: InstanceFacts["outages"];
}

export interface NewInstance {
  readonly id: string;
  readonly releaseId: string;
  readonly hostId: string;
  readonly slotId: string;
  readonly state: "pending" | "starting";
}

/** A worker: it has a process's name, and no slot. */
export interface NewWorker {
  readonly id: string;
  readonly releaseId: string;
  readonly hostId: string;
  readonly process: string;
  readonly state: "starting";
}

export interface NewRelease {
  readonly id: string;
  readonly version: string;
  readonly kind: ReleaseFacts["kind"];
  readonly image: string;
  readonly spec: ReleaseFacts["spec"];
  readonly by: string;
  readonly git: {
    readonly sha: string;
    readonly branch?: string | undefined;
    readonly url?: string | undefined;
    /** ISO 8601 UTC. */
    readonly committedAt?: string | undefined;
    /** URL of the CI run that made it. */
    readonly run?: string | undefined;
  } | null;
  /** All by which it can be told who that is. */
  readonly startedAs?: readonly string[];
  readonly requestKey: string | null;
  /** Of whoever made it. */
  readonly trace?: TraceContext | undefined;
  readonly hold: boolean;
  readonly override: boolean;
  readonly deadlineAt: number;
  /** The release whose versions of the secrets it gets. Absent: those of today. */
  readonly secretsOf?: string;
}

export interface NewEvent {
  readonly type:
    | "release.state"
    | "release.progress"
    | "release.request"
    | "release.approval"
    | "instance.state"
    | "traffic.weights"
    | "traffic.alert"
    | "traffic.mode"
    | "worker.alert"
    | "run.state"
    | "scale.changed"
    | "lock.changed"
    | "environment.ending";
  readonly actor: string;
  readonly releaseId: string | null;
  readonly message: string;
  readonly data: Record<string, unknown>;
}

export interface AsideSlot {
  readonly slotId: string;
  readonly cause: string;
  readonly until: number;
}

export interface SmokeOrder {
  readonly release: ReleaseFacts;
  readonly when: "before" | "after";
}

/** True when there is something to write. Probes and the alarm alone are not. */
export function hasChanges(decision: Decision): boolean {
  return (
    decision.releases.size > 0 ||
    decision.instances.size > 0 ||
    decision.newReleases.length > 0 ||
    decision.newInstances.length > 0 ||
    decision.newWorkers.length > 0 ||
    decision.newRuns.length > 0 ||
    decision.runs.size > 0 ||
    decision.withdrawJobs.length > 0 ||
    decision.jobs.length > 0 ||
    decision.cancelJobs.length > 0 ||
    decision.events.length > 0 ||
    (decision.asideSlots?.length ?? 0) > 0 ||
    Object.keys(decision.environment).length > 0
  );
}
