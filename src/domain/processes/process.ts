/**
 * What runs beside `web`, of the same image: workers, which run all the time, and scheduled processes, which run to their
 * end at set times. They follow the release; none has a port or a slot.
 */

/** The app itself, which has slots and visitors. No process of a manifest may be called so. */
export const WEB = "web";

export interface Resources {
  readonly cpus?: number;
  readonly memoryBytes?: number;
  readonly memoryReservationBytes?: number;
}

interface ProcessBase {
  readonly command: readonly string[];
  /** Added to the environment's own, and before them. */
  readonly env: Readonly<Record<string, string>>;
  /** Absent: the environment's. */
  readonly resources?: Resources;
}

export interface WorkerSpec extends ProcessBase {
  readonly kind: "worker";
  readonly replicas: number;
  readonly stopGraceMs: number;
  /** `live`: started when its release has all traffic. `start`: with its release's instances, before any traffic. */
  readonly at: "live" | "start";
  /** `stop-first`: never beside an older one, or beside one that may still run on a silent host. */
  readonly handover: "start-first" | "stop-first";
  readonly health: WorkerHealth;
}

export interface WorkerHealth {
  /** Run in the worker: exit code 0 is healthy. Absent: to stay up is all that is asked. */
  readonly command?: readonly string[];
  readonly intervalMs: number;
  readonly timeoutMs: number;
  readonly failures: number;
  /** How long it may take until it is healthy. */
  readonly deadlineMs: number;
}

export interface ScheduledSpec extends ProcessBase {
  readonly kind: "scheduled";
  readonly schedule: Schedule;
  /** What happens when its time comes while the last run still goes on. */
  readonly overlap: "skip" | "queue";
  /** One run may take so long. */
  readonly deadlineMs: number;
}

/** Five fields of cron, read in an IANA time zone. */
export interface Schedule {
  readonly cron: string;
  readonly zone: string;
}

export type ProcessSpec = WorkerSpec | ScheduledSpec;

interface OfSpec {
  readonly processes?: Readonly<Record<string, ProcessSpec>>;
}

/** A spec's workers by name. */
export const workersOf = ({ processes = {} }: OfSpec): readonly (readonly [string, WorkerSpec])[] =>
  Object.entries(processes).flatMap(([name, one]) => (one.kind === "worker" ? [[name, one] as const] : []));

export const workerOf = ({ processes = {} }: OfSpec, name: string): WorkerSpec | undefined => {
  const found = Object.hasOwn(processes, name) ? processes[name] : undefined;
  return found?.kind === "worker" ? found : undefined;
};
