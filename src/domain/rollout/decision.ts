import type { TrafficMode } from "../routing/table.ts";
import type { EnvironmentFacts, Held, InstanceFacts, InstanceState } from "./facts.ts";
import { canMove, type ReleaseFacts, type ReleaseFailure, type ReleaseState } from "./release.ts";

/**
 * What is to be changed, as data: the rules (advance.ts, commands.ts) fill it, control applies it in one batch.
 * Ids are made from what they are for, so that the same decision taken twice writes the same rows.
 */
export interface Decision {
  readonly environment: {
    stableReleaseId?: string | null;
    salt?: string;
    nextVersion?: number;
    held?: Held | null;
    mode?: TrafficMode;
  };
  readonly releases: Map<string, ReleaseChange>;
  readonly newReleases: NewRelease[];
  readonly instances: Map<string, InstanceChange>;
  readonly newInstances: NewInstance[];
  readonly jobs: NewJob[];
  /** Jobs that nobody needs any more. */
  readonly cancelJobs: string[];
  readonly reserveSlots: string[];
  readonly events: NewEvent[];
  /** Instances to be asked over their real path whether they answer. */
  readonly probes: InstanceFacts[];
  /** Releases whose smoke checks are to be run now. */
  readonly smokes: { readonly release: ReleaseFacts; readonly when: "before" | "after" }[];
  /** A new release begins: the fence rises. */
  raiseFence: boolean;
  /** When there is something to do next if nothing happens before. */
  wakeAt: number | null;
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };
export type ReleaseChange = Partial<
  Mutable<Omit<ReleaseFacts, "id" | "spec" | "kind" | "version" | "createdAt">>
>;
export interface InstanceChange {
  state?: InstanceState;
  drainUntil?: number | null;
  stoppedAt?: number;
  verifiedAt?: number;
  verifyCause?: string | null;
  unreachableSince?: number | null;
}
export interface NewInstance {
  readonly id: string;
  readonly releaseId: string;
  readonly hostId: string;
  readonly slotId: string;
  readonly state: "pending" | "starting";
}
export interface NewJob {
  readonly id: string;
  readonly kind: "pull" | "start" | "stop" | "run";
  readonly hostId: string;
  readonly releaseId: string;
  readonly instanceId: string | null;
  readonly payload: Record<string, unknown>;
  readonly deadlineAt: number;
}
export interface NewRelease {
  readonly id: string;
  readonly version: string;
  readonly kind: "deploy" | "rollback";
  readonly image: string;
  readonly spec: ReleaseFacts["spec"];
  readonly by: string;
  readonly git: {
    readonly sha: string;
    readonly branch?: string | undefined;
    readonly url?: string | undefined;
  } | null;
  readonly requestKey: string | null;
  readonly hold: boolean;
  readonly override: boolean;
  readonly deadlineAt: number;
}
export interface NewEvent {
  readonly type:
    | "release.state"
    | "release.progress"
    | "instance.state"
    | "traffic.weights"
    | "traffic.mode"
    | "lock.changed";
  readonly actor: string;
  readonly releaseId: string | null;
  readonly message: string;
  readonly data: Record<string, unknown>;
}

export const emptyDecision = (): Decision => ({
  environment: {},
  releases: new Map(),
  newReleases: [],
  instances: new Map(),
  newInstances: [],
  jobs: [],
  cancelJobs: [],
  reserveSlots: [],
  events: [],
  probes: [],
  smokes: [],
  raiseFence: false,
  wakeAt: null,
});

/** True when there is something to write. Probes and the alarm alone are not. */
export function hasChanges(decision: Decision): boolean {
  return (
    decision.releases.size > 0 ||
    decision.instances.size > 0 ||
    decision.newReleases.length > 0 ||
    decision.newInstances.length > 0 ||
    decision.jobs.length > 0 ||
    decision.cancelJobs.length > 0 ||
    decision.events.length > 0 ||
    Object.keys(decision.environment).length > 0
  );
}

/** Collects one decision about one environment at one moment. */
export class Draft {
  readonly decision = emptyDecision();
  readonly facts: EnvironmentFacts;
  readonly now: number;
  readonly actor: string;

  constructor(facts: EnvironmentFacts, now: number, actor = "sluice") {
    this.facts = facts;
    this.now = now;
    this.actor = actor;
  }

  /** The release with what this draft has changed so far. */
  release(id: string): ReleaseFacts | undefined {
    const release = this.facts.releases.find((candidate) => candidate.id === id);
    return release && { ...release, ...this.decision.releases.get(id) };
  }

  instancesOf(releaseId: string): InstanceFacts[] {
    return this.facts.instances
      .filter((instance) => instance.releaseId === releaseId)
      .map((instance) => ({ ...instance, ...this.decision.instances.get(instance.id) }));
  }

  changeRelease(id: string, change: ReleaseChange): void {
    this.decision.releases.set(id, { ...this.decision.releases.get(id), ...change });
  }

  /** Moves a release on, keeps its times, tells the feed. An impossible move is a bug, not an outcome. */
  moveRelease(release: ReleaseFacts, state: ReleaseState, message: string, change: ReleaseChange = {}): void {
    const before = this.release(release.id) ?? release;
    if (!canMove(before.state, state))
      throw new Error(`release ${release.id} can't go from ${before.state} to ${state}`);
    const spent = (before.timings[before.state] ?? 0) + Math.max(0, this.now - before.stateSince);
    this.changeRelease(release.id, {
      state,
      stateSince: this.now,
      deadlineAt: null,
      timings: { ...before.timings, [before.state]: spent },
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

  changeInstance(instance: InstanceFacts, change: InstanceChange, message?: string): void {
    this.decision.instances.set(instance.id, { ...this.decision.instances.get(instance.id), ...change });
    if (!message) return;
    this.event("instance.state", instance.releaseId, message, {
      instance: instance.id,
      host: instance.hostName,
      slot: instance.slot,
      state: change.state ?? instance.state,
    });
  }

  event(
    type: NewEvent["type"],
    releaseId: string | null,
    message: string,
    data: NewEvent["data"] = {},
  ): void {
    this.decision.events.push({ type, actor: this.actor, releaseId, message, data });
  }

  /** The earliest of all asked-for times wins. */
  wakeAt(time: number | null): void {
    if (time === null) return;
    this.decision.wakeAt = this.decision.wakeAt === null ? time : Math.min(this.decision.wakeAt, time);
  }
}
