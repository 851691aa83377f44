import { constants } from "node:os";
import type { AccessorySpec } from "../../src/protocol/agent/accessory.ts";
import type { RegistryLogin } from "../../src/protocol/agent/image.ts";
import type { InstanceSpec } from "../../src/protocol/agent/instance.ts";
import type { JobResult } from "../../src/protocol/agent/job-results.ts";
import type { Job } from "../../src/protocol/agent/jobs.ts";
import type { LogLine } from "../../src/protocol/agent/logs.ts";
import type { Space } from "../host/disk.ts";
import type { Outcome } from "../outcome.ts";

/** An image as `start` wants it, and the digest of what is in it. */
export interface PulledImage {
  image: string;
  digest: string;
  /** It was not on this host before. */
  downloaded?: boolean;
}

/** What `pull` is asked for. */
export interface ImageSource {
  image: string;
  /** For its registry; absent: the host's own. */
  login?: RegistryLogin | undefined;
  /** The repository that it is pulled from in the place of its own: one that is in no registry. */
  from?: string | undefined;
}

/** How an instance ended. `gone`: the runtime no longer has it, so nobody knows how. */
export interface Exit {
  exitCode?: number;
  /** Name of the signal, or `OOMKilled`. */
  signal?: string;
  gone?: true;
  /** The runtime itself was restarted, and ended it. */
  withEngine?: true;
  /** It was prepared, but never began. */
  unstarted?: true;
}

/** What a runtime has of one instance, running or not, from its own records (labels, pid file). */
export interface Found {
  instance: string;
  runtimeId: string;
  running: boolean;
  /** Epoch ms. */
  startedAt: number;
  /** It was made, but never began. */
  unstarted?: true;
  /** What the instance was started from, without its environment variables; absent when the record can't be read. */
  spec?: InstanceSpec;
}

/** What something of ours was started with. */
export interface Injected {
  app: string;
  environment: string;
  env: Record<string, string>;
}

type OfJob = "kind" | "id" | "lease" | "environmentId" | "deadlineAt" | "leaseExpiresAt" | "login" | "hook";

/** A command to be run to its end, once: what a `run` or a `command` job says of it. */
export type RunSpec = Omit<Extract<Job, { kind: "run" }>, OfJob> & {
  /** Empty: it is no hook. */
  hook: string;
  /** Of a command: the process it is of; empty: a person's. */
  process?: string;
};

export interface Started {
  runtimeId: string;
  /** Epoch ms. */
  startedAt: number;
}

export interface Stopped {
  runtimeId?: string;
  /** Whether SIGKILL was needed after the grace. */
  killed: boolean;
}

/**
 * The image's own verdict (Docker's HEALTHCHECK). `unhealthy`: it fails now, and has used up its retries; without a start
 * period Docker counts them from the first moment, so an app that boots may still turn. `broken`: it calls a program that
 * the image lacks.
 */
export interface ImageHealth {
  state: "none" | "healthy" | "failing" | "unhealthy" | "broken";
  output: string;
}

/** How a command inside an instance ended, and what it printed. */
export interface Executed {
  exitCode?: number | undefined;
  output: string;
}

/** Whose log: an instance's, an accessory's, or a run's. */
export type LogSource = { instance: string } | { accessory: string } | { run: string };

/** Which lines of a log. */
export interface Reading {
  /** Only what comes after this cursor; the two below then count for nothing. */
  after?: string;
  /** Epoch ms. */
  since?: number;
  /** So many last lines; absent: all. */
  tail?: number;
  /** Go on with what is written from now on, until there is nothing left that could write. */
  follow: boolean;
}

/** A line with where it ends; or, for a log that was rotated away before it was read, how much is missing here. */
export type LogItem = Omit<LogLine, "instance" | "version"> | { droppedBytes: number };

/** A longer line is cut. */
export const MAX_LINE_BYTES = 16_384;

/**
 * Runs instances on this host. Two implementations, one contract suite (test/agent/runtime/runtime.contract.ts).
 *
 * Every call is idempotent by instance id: an agent that died half-way is handed the same job again.
 * Nothing an implementation does on its own account may stop or restart an instance.
 */
export interface Runtime {
  readonly name: "docker" | "process";
  /** Has the image on this host and pins it. Aborting gives `image_pull_failed`. */
  pull(
    source: ImageSource,
    onProgress: (message: string) => void,
    signal: AbortSignal,
  ): Promise<Outcome<PulledImage>>;
  /** Starts the instance; one that runs already is answered as it is, one that ended is replaced. */
  start(spec: InstanceSpec): Promise<Outcome<Started>>;
  /** Stops what is left of the instance and starts it anew, with the settings it was started with. Nothing: `instance_gone`. */
  restart(instance: string, graceMs: number): Promise<Outcome<Started>>;
  /** Undoes what others did to the instance without ending it; answers what that was, in words. */
  mend?(instance: string): Promise<string | undefined>;
  /** SIGTERM, wait `graceMs`, SIGKILL, remove. Succeeds when there is nothing to stop. */
  stop(instance: string, graceMs: number): Promise<Outcome<Stopped>>;
  /** Everything this host's agent ever started and did not remove. */
  list(): Promise<Outcome<Found[]>>;
  /** The variables of everything that this host's agent started and that is still there, accessories among it. */
  injected(): Promise<Outcome<Injected[]>>;
  /** Resolves when the instance ends (at once when it has); `undefined` when the signal aborts first. */
  waitExit(instance: string, signal: AbortSignal): Promise<Exit | undefined>;
  /** The app's last lines, oldest first, each at most 1,000 characters. Empty when there are none to be had. */
  logs(instance: string, lines: number): Promise<string[]>;
  /**
   * A log's lines, one after the other, read no faster than they are taken. Ends when the instance is gone, or the signal
   * aborts; one that is restarted is read on. Throws when the runtime can't be asked and `follow` is false.
   */
  follow(source: LogSource, reading: Reading, signal: AbortSignal): AsyncIterable<LogItem>;
  /** Whether anything accepts connections on a port of the instance (its own by default); `undefined`: can't be told in time. */
  listens(spec: InstanceSpec, port?: number, withinMs?: number): Promise<boolean | undefined>;
  /** Where this host reaches the instance's own ports, as a URL's host; `undefined`: nowhere. */
  addressOf(instance: string): Promise<string | undefined>;
  /** Runs a command inside the instance. Without an exit code it could not be run, or did not end before the abort. */
  execute(instance: string, command: readonly string[], signal: AbortSignal): Promise<Executed>;
  /** Runs or reads the image's own health check. */
  imageHealth(instance: string, signal: AbortSignal): Promise<ImageHealth>;
  /**
   * What the runtime knows of why an app that wrote these lines ended: a wall that the spec put up, an image for another
   * kind of machine. Absent: nothing.
   */
  explain(spec: Explained, lines: readonly string[]): Promise<string | undefined>;
  /** Clears away what is left of ours, doesn't run, and is of no use to anybody; answers what it was. */
  sweep?(known: Known, now: number): Promise<Outcome<string[]>>;
  readonly runs: Runs;
  /** Absent: the runtime has none to offer. */
  readonly accessories?: Accessories;
  /** Images on this host's disk; absent: the runtime keeps none. */
  readonly images?: ImageStore;
}

export interface AccessoryOrder {
  readonly spec: AccessorySpec;
  /** Of the job: the same again goes on with what it left half-done. */
  readonly job: string;
  /** Epoch ms by this host's clock. */
  readonly deadlineAt: number;
  readonly signal: AbortSignal;
  /** The agent ends: everything stays as it is, and the job is handed to the next one. */
  isLeaving(): boolean;
  progress(message: string): void;
  /** Has the image here, pinned. */
  pull(): Promise<Outcome<Pick<PulledImage, "image">>>;
}

/**
 * Containers beside the instances that outlive every agent, and that nothing here touches but these four. Each may be called
 * again by an agent that was handed the same job. No volume is ever removed.
 */
export interface Accessories {
  /** Runs what is there as it is, or makes it. */
  start(order: AccessoryOrder): Promise<Outcome<JobResult>>;
  /** Ends it and keeps it. */
  stop(order: AccessoryOrder): Promise<Outcome<JobResult>>;
  /** Puts a container of the spec in the place of what is there, and that back if the new one does not stay up. */
  upgrade(order: AccessoryOrder): Promise<Outcome<JobResult>>;
  /** Succeeds when there is nothing to remove. */
  remove(order: AccessoryOrder): Promise<Outcome<JobResult>>;
  /** Why it can't be used now, in words that go on its name; undefined: it is up, and healthy by its own check. */
  lackOf(accessory: string, signal: AbortSignal): Promise<string | undefined>;
  /** All of this host's, and what is wrong with them. Throws when the engine can't be asked. */
  list(): Promise<ListedAccessory[]>;
}

export interface ListedAccessory {
  readonly accessory: string;
  /** Why it does not do its work, in words that go on its name; absent: as far as can be seen, it does. */
  readonly lack?: string;
}

/** What the agent still means to do something with. */
export interface Known {
  instance(instance: string): boolean;
  run(run: string): boolean;
}

export type Explained = Pick<InstanceSpec, "image" | "container">;

/** What a host has of a run. `unstarted`: it was prepared, but its command never began. */
export type RunState = "none" | "unstarted" | "begun";

/**
 * Commands that are run to their end, in an image, without ports and never again. They are no instances: `list` doesn't
 * show them. A run is kept, and its end can be asked for by any later agent, until it is removed.
 */
export interface Runs {
  find(run: string): Promise<Outcome<RunState>>;
  /** Begins it. One whose name this host has already is refused, whether it runs or not. */
  start(spec: RunSpec): Promise<Outcome<Started>>;
  /** As of an instance. An exit without code and signal: it ended, and nobody knows how. */
  waitExit(run: string, signal: AbortSignal): Promise<Exit | undefined>;
  /** SIGTERM, wait `graceMs`, SIGKILL. What it left is kept. */
  stop(run: string, graceMs: number): Promise<Outcome<Stopped>>;
  logs(run: string, lines: number): Promise<string[]>;
  /** Removes all of it. Succeeds when there is nothing. */
  remove(run: string): Promise<Outcome<void>>;
}

/** What became of an image that was to be removed. `used`: a container has it, running or not. */
export type Removal = "removed" | "used" | "gone";

export interface ImageStore {
  /** Removes an image, and those of the tags it was pulled by that still mean it. Never one that a container has. */
  remove(image: string, tags: readonly string[]): Promise<Outcome<Removal>>;
  /** Of the disk they are on; `undefined` when that can't be told. */
  space(): Promise<Space | undefined>;
}

/** Ids become file and container names, so they must be plain. */
export const isPlainId = (id: string): boolean => /^[A-Za-z0-9][A-Za-z0-9_.-]*$/.test(id);

/** What the app is told about itself, beside its own variables. */
export const identityEnv = (spec: InstanceSpec, port: number | undefined): Record<string, string> => ({
  ...spec.env,
  ...(port !== undefined && { PORT: String(port) }),
  SLUICE_RELEASE: spec.release,
  SLUICE_VERSION: spec.version,
  SLUICE_INSTANCE: spec.instance,
  SLUICE_PROCESS: spec.worker?.process ?? "web",
});

/** What a hook's or a process's command is told about itself: no port, since nobody may send it requests. */
export const runEnv = (spec: RunSpec): Record<string, string> => ({
  ...spec.env,
  SLUICE_RELEASE: spec.release,
  SLUICE_VERSION: spec.version,
  ...(spec.hook && { SLUICE_HOOK: spec.hook }),
  ...(spec.process && { SLUICE_PROCESS: spec.process }),
});

/** `the expand hook`, `nightly`, `the command`: what a run is, for people. */
export const runTitle = ({ hook, process }: { hook: string; process?: string | undefined }): string =>
  hook ? `the ${hook} hook` : process || "the command";

/** `exited with code 1`, in the words of whoever reads it at night. */
export function describeExit(exit: Exit): string {
  if (exit.gone) return "is gone: its container was removed from outside";
  if (exit.withEngine) return "was ended by a restart of the Docker engine";
  if (exit.unstarted) return "was never started";
  if (exit.signal === "OOMKilled") return "ran out of memory and was killed (OOMKilled)";
  if (exit.signal) return `was ended by ${exit.signal}`;
  if (exit.exitCode === undefined) return "ended; its exit code is unknown, the agent was not its parent";
  return `exited with code ${exit.exitCode}`;
}

/** Shells and init report a signal's death as 128 + its number. */
export function signalOf(exitCode: number): string | undefined {
  const number = exitCode - 128;
  return Object.entries(constants.signals).find(([, value]) => value === number)?.[0];
}

/** The last `count` lines of a text, each cut to what the protocol carries. */
export const lastLines = (text: string, count: number): string[] =>
  text
    .split("\n")
    .map((line) => line.replace(/\r$/, "").slice(0, 1_000))
    .filter((line) => line !== "")
    .slice(-count);
