import type { ContainerSpec, EnvironmentSpec, ImageRule, MountSpec } from "../spec.ts";
import type { ReleaseTrace } from "../tracing/context.ts";

/**
 * Work for one host, as a decision orders it. The payload is the kind's own part of the wire's job (protocol/agent/jobs.ts):
 * control adds the lease, the fence and what it opens for the agent. test/protocol/orders.test.ts holds the two together.
 */
export type NewJob = PullJob | StartJob | StopJob | RunJob | CommandJob;
export type JobKind = NewJob["kind"];

interface Order {
  /** Made from what it is for, within the wire's 64 characters. */
  readonly id: string;
  readonly hostId: string;
  readonly releaseId: string;
  readonly deadlineAt: number;
}

export interface PullJob extends Order {
  readonly kind: "pull";
  readonly instanceId: null;
  readonly payload: { readonly image: string; readonly verify?: ImageRule };
}

export interface StartJob extends Order {
  readonly kind: "start";
  readonly instanceId: string;
  readonly payload: {
    readonly spec: StartSpec | WorkerStartSpec;
    /** Names only: control opens the values for the agent that claims the job. */
    readonly secrets: readonly string[];
  };
}

export interface StopJob extends Order {
  readonly kind: "stop";
  readonly instanceId: string;
  readonly payload: { readonly instance: string; readonly graceMs: number };
}

export interface RunJob extends Order {
  readonly kind: "run";
  readonly instanceId: null;
  readonly payload: RunPayload;
}

export interface CommandJob extends Order {
  readonly kind: "command";
  readonly instanceId: null;
  readonly payload: CommandPayload;
}

/** Where an environment's containers live. A type, as the payloads: they are stored as records. */
export type Housing = {
  readonly volumes: readonly MountSpec[];
  readonly container?: ContainerSpec;
  readonly network?: string;
  readonly verify?: ImageRule;
};

type Startable = Housing & {
  readonly instance: string;
  readonly release: string;
  readonly version: string;
  readonly app: string;
  readonly environment: string;
  readonly image: string;
  readonly command?: readonly string[];
  readonly env: EnvironmentSpec["env"];
  readonly health: EnvironmentSpec["health"];
  readonly resources: EnvironmentSpec["resources"];
  readonly logging: EnvironmentSpec["logging"];
  readonly stopGraceMs: number;
  readonly needs?: readonly { readonly name: string; readonly accessory: string }[];
};

/** The wire's InstanceSpec, but for the fence, which is the lease's. */
export type StartSpec = Startable & {
  readonly slot: number;
  readonly hostPort: number;
  readonly containerPort: number;
};

/** The same of a worker, which has neither slot nor port. */
export type WorkerStartSpec = Startable & {
  readonly worker: {
    readonly process: string;
    readonly steadyMs?: number;
  };
};

/** A hook. */
export type RunPayload = CommandBase & {
  readonly hook: "expand" | "contract";
  /** Control's note: the trace that it is part of. */
  readonly trace?: ReleaseTrace;
};

/** A scheduled process, or what a person asked for: then `process` is empty. */
export type CommandPayload = CommandBase & { readonly process: string };

type CommandBase = Housing & {
  readonly run: string;
  readonly release: string;
  readonly version: string;
  readonly app: string;
  readonly environment: string;
  readonly image: string;
  readonly command: readonly string[];
  readonly env: EnvironmentSpec["env"];
  readonly resources: EnvironmentSpec["resources"];
  readonly secrets: readonly string[];
};
