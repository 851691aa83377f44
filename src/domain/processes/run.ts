/** One command that runs to its end: at a time of its schedule, or because a person asked for it. Times are epoch ms. */

/**
 * `waiting`: for the one before, or for a host; `queued`: a host is to take it; `lost`: its host never said how it ended;
 * `stopping`: a person wants it to end; `skipped`: another one was still going; `stopped`: a person ended it.
 */
export const RUN_STATES = [
  "waiting",
  "queued",
  "running",
  "stopping",
  "done",
  "failed",
  "skipped",
  "stopped",
  "lost",
] as const;
export type RunState = (typeof RUN_STATES)[number];

export interface RunFacts {
  readonly id: string;
  readonly releaseId: string;
  /** Null: asked for by a person. */
  readonly process: string | null;
  readonly command: readonly string[];
  readonly by: string;
  /** The time of its schedule. */
  readonly dueAt: number | null;
  /** Times before it that passed while nobody could run them. */
  readonly missed: number;
  readonly state: RunState;
  readonly cause: string | null;
  readonly exitCode: number | null;
  readonly logs: readonly string[];
  readonly hostId: string | null;
  readonly jobId: string | null;
  /** Hosts it was given to so far. */
  readonly attempts: number;
  /** A person wants it to end. */
  readonly stopBy: string | null;
  readonly deadlineMs: number;
  readonly createdAt: number;
  readonly startedAt: number | null;
  readonly endedAt: number | null;
}

export type RunChange = Partial<Omit<RunFacts, "id" | "process" | "command" | "by" | "dueAt" | "createdAt">>;

/** When each schedule comes next: kept, so that a time is never taken twice, nor lost while nobody looked. */
export interface ScheduleMark {
  /** As it was when this was reckoned: another one is reckoned anew. */
  readonly schedule: string;
  /** Null: never. */
  readonly dueAt: number | null;
}
export type ScheduleMarks = Readonly<Record<string, ScheduleMark>>;
