import type { JobErrorFacts } from "../../src/domain/rollout/facts.ts";
import type { RoutingTable } from "../../src/domain/routing/table.ts";
import type { Inventory, Report } from "./host.ts";
import type { Job, Store } from "./store.ts";

type Soon<T> = T | Promise<T>;

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
