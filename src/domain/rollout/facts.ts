import type { Judgement } from "../canary/index.ts";
import type { RunFacts, ScheduleMarks } from "../processes/run.ts";
import type { EnvironmentSpec } from "../spec.ts";
import type { ReleaseFacts } from "./release.ts";

/** All that a decision about one environment is made from, read from D1 in one go. Times are epoch ms. */
export interface EnvironmentFacts {
  readonly id: string;
  readonly app: string;
  readonly name: string;
  readonly spec: EnvironmentSpec;
  readonly rev: number;
  readonly fence: number;
  readonly stableReleaseId: string | null;
  readonly nextVersion: number;
  /** A person's lock. */
  readonly held: Held | null;
  /** A person had the environment destroyed: everything of it is on its way out. */
  readonly ending?: Ending | null;
  /** Open ones, those with instances, and the ones a rollback could name. Newest first. */
  readonly releases: readonly ReleaseFacts[];
  /** Those not stopped. */
  readonly instances: readonly InstanceFacts[];
  /** Processes beside the web that run, or may. Absent: none. */
  readonly workers?: readonly WorkerFacts[];
  /** Those that have not ended. Absent: none. */
  readonly runs?: readonly RunFacts[];
  /** When its scheduled processes come next. */
  readonly schedules?: ScheduleMarks | null;
  /** Unfinished ones, and all of releases that are on their way. */
  readonly jobs: readonly JobFacts[];
  /** What the judge says of the release that is on its way, or has just switched. */
  readonly analysis: Analysis | null;
  /** Hosts that carry the labels the environment asks for, with their slots. */
  readonly hosts: readonly HostFacts[];
  /** Null: no table at rest may be in use any more than the one that is published. */
  readonly lastRest?: LastRest | null;
  /** Where its accessories live, of those that were ever started. Read when something is to be placed. */
  readonly accessories: readonly AccessoryHome[];
}

/** What the judge says of a release, compared with another that has traffic `beside` it, or had it `before` the switch. */
export interface Analysis {
  readonly release: string;
  readonly how: "beside" | "before";
  readonly decision: Judgement;
}

/** The last tables at rest, up to when something moved or was let go. Times are epoch ms. */
export interface LastRest {
  /** When the first of them was published, and when another took the last one's place: who served only outside is in none. */
  readonly beganAt: number;
  readonly endedAt: number;
  /** When the last edge has let go of them. */
  readonly outAt: number;
  /** When the last edge has let go of any table that was published at rest and replaced. */
  readonly heldUntil?: number;
}

/** Who ordered an end, and when. */
export interface Ending {
  /** Epoch ms. */
  readonly at: number;
  readonly by: string;
  /** Of an environment: volumes that stay, each with its host, in words. Absent: it was ordered before this was kept. */
  readonly keeps?: readonly string[];
}

export interface AccessoryHome {
  readonly name: string;
  readonly hostId: string;
  readonly hostName: string;
}

export interface Held {
  readonly holder: string;
  readonly reason: string;
  readonly since: number;
  readonly expiresAt: number;
}

/** `pending` = planned; `ready` = may serve, weight 0; `serving` = in the table; `warm` = drained, kept for a rollback. */
export type InstanceState =
  | "pending"
  | "starting"
  | "ready"
  | "serving"
  | "draining"
  | "warm"
  | "stopping"
  | "stopped";

/**
 * What its host says of it. `exited` is being started again; `gone` is no longer on the host, and the host can't make it
 * again: nothing brings it back but a replacement.
 */
export type ReportState = "starting" | "ready" | "unready" | "exited" | "gone";

export interface InstanceFacts {
  readonly id: string;
  readonly releaseId: string;
  readonly hostId: string;
  readonly hostName: string;
  readonly slotId: string;
  readonly slot: number;
  readonly hostPort: number;
  readonly origin: string;
  readonly state: InstanceState;
  readonly stateSince: number;
  readonly drainUntil: number | null;
  readonly verifiedAt: number | null;
  readonly verifyCause: string | null;
  /** Since when it does not answer over its real path any more, once it had; null: it does. */
  readonly unreachableSince: number | null;
  readonly reportState: ReportState | null;
  readonly reportCause: string | null;
  /** Since when it is ready, or is not, by the agent's word: one that is started again and again stays not ready. */
  readonly reportAt: number | null;
  /** When it was not ready or did not answer, of the last minute, as the coordinator saw it. */
  readonly outages: readonly Outage[];
  /** When its host was last heard from; null: never. */
  readonly hostSeenAt: number | null;
  /** What the tunnel of its slot is to give its app as `Host`. Absent or null: there is no tunnel. */
  readonly rule?: HostRule | null;
  /** The host was taken out: nothing runs on it any more. */
  readonly hostRemoved: boolean;
  /** The host is to be emptied: what runs there moves. */
  readonly hostDraining?: boolean;
  /** When it ended by itself or had to be restarted: the last few, oldest first. Removals by hand and stops are none. */
  readonly exits: readonly number[];
}

/** A container of a worker: like an instance it is started, reported on and stopped, but nobody is sent to it. */
export type WorkerFacts = Pick<
  InstanceFacts,
  | "id"
  | "releaseId"
  | "hostId"
  | "hostName"
  | "state"
  | "stateSince"
  | "reportState"
  | "reportCause"
  | "reportAt"
  | "hostSeenAt"
  | "hostRemoved"
  | "hostDraining"
  | "exits"
> & { readonly process: string };

export interface HostRule {
  readonly publicHost: string | null;
  /** Of the ingress rules that say so; null: not written yet. */
  readonly version: number | null;
  /** Of the rules that cloudflared runs there, as its agent says; null: it doesn't. */
  readonly running: number | null;
}

export interface Outage {
  readonly from: number;
  /** Null: it lasts. */
  readonly to: number | null;
}

export interface JobFacts {
  readonly id: string;
  readonly kind: "pull" | "start" | "stop" | "run" | "command";
  readonly hostId: string;
  readonly releaseId: string;
  readonly instanceId: string | null;
  readonly state: "queued" | "leased" | "done" | "failed" | "cancelled";
  readonly progress: string | null;
  readonly result: JobResultFacts | null;
  readonly error: JobErrorFacts | null;
  readonly createdAt: number;
  readonly deadlineAt: number;
  readonly finishedAt: number | null;
}
/** Of what an agent answers, as much as decides anything: an image's name is never taken from it. */
export interface JobResultFacts {
  readonly digest?: string;
  /** Of a stop: it had to be killed after its grace. */
  readonly killed?: boolean;
  /** Of a command: its last lines. */
  readonly logs?: readonly string[];
}
export interface JobErrorFacts {
  readonly code: string;
  readonly message: string;
  readonly exitCode?: number;
  readonly signal?: string;
  readonly probe?: { readonly url: string; readonly status?: number; readonly error?: string };
  readonly logs: readonly string[];
}

export interface HostFacts {
  readonly id: string;
  readonly name: string;
  readonly lastSeenAt: number | null;
  /** Releases of other times may have asked for other ones. */
  readonly labels?: Readonly<Record<string, string>>;
  /** It is to be emptied: nothing new is put on it. */
  readonly draining?: boolean;
  readonly slots: readonly SlotFacts[];
}
export interface SlotFacts {
  readonly id: string;
  readonly n: number;
  readonly hostPort: number;
  readonly origin: string;
  /** Environment it is reserved for. */
  readonly environmentId: string | null;
  /** Whose public name its tunnel gives as `Host`. */
  readonly publicHost?: string | null;
  /** A container is, or may still be, in it. */
  readonly occupied: boolean;
  /** Somebody else has its port: not tried before this. */
  readonly asideUntil?: number | null;
}
