import type { Decision } from "../../../src/domain/rollout/decision.ts";
import type { EnvironmentFacts, JobErrorFacts } from "../../../src/domain/rollout/facts.ts";
import type { RoutingTable } from "../../../src/domain/routing/table.ts";
import type { Job, Store } from "./store.ts";

type Soon<T> = T | Promise<T>;

/** What an agent says of an instance. */
export interface Report {
  readonly seq: number;
  readonly state: "starting" | "ready" | "unready" | "exited" | "gone";
  readonly cause: string | null;
  readonly exits: readonly number[];
}

/** What a poll lists, after so many reports. */
export interface Inventory {
  readonly seq: number;
  readonly instances: ReadonlyMap<string, Report>;
  /** Jobs that it has, at work or ended. */
  readonly jobs: readonly string[];
}

export type Outcome = { readonly ok: true } | { readonly error: JobErrorFacts };
export interface LeasedJob {
  readonly id: string;
  readonly kind: Job["kind"];
  readonly releaseId: string;
  readonly instanceId: string | null;
  readonly slotId: string | null;
  /** It is one of a process beside the web. */
  readonly worker: { readonly process: string; readonly isAlone: boolean } | null;
  /** It is one of a command: how long it may take, by its own word. */
  readonly run: string | null;
  readonly lease: string;
  /** Epoch ms, by control's clock. */
  readonly deadlineAt: number;
}

/** Why a decision was made: what somebody asked for, or nothing but time. */
export interface Cause {
  readonly who: string;
  readonly what: string;
}
/** A decision that was written. */
export interface Commit {
  readonly before: EnvironmentFacts;
  readonly decision: Decision;
  readonly cause: Cause;
}

/** Control as the rest of the world meets it: the double in memory, or the real one. */
export interface ControlPort {
  /** Epoch ms, by its own clock. */
  readonly now: number;
  isUp: boolean;
  /** What is written. */
  readonly store: Pick<Store, "releases" | "instances" | "workers" | "runs" | "hosts" | "stable" | "ending">;
  readonly table: RoutingTable | undefined;
  jump(byMs: number): void;
  /** A tick soon. */
  poke(): void;
  addHost(name: string, slots: number): void;
  removeHost(id: string): Soon<void>;
  /** Null: unreachable, or not this host any more. */
  poll(hostId: string, boot: string, inventory: Inventory): Soon<LeasedJob[] | null>;
  done(jobId: string, lease: string, outcome: Outcome): Soon<"done" | "lease lost" | "unreachable">;
  /** True: taken, or known already. */
  report(hostId: string, boot: string, instance: string, report: Report): Soon<boolean>;
}
