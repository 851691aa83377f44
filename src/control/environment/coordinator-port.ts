import type { Approve } from "../../domain/commands/approve.ts";
import type { CreateRelease } from "../../domain/commands/releases.ts";
import type { RollbackRequest } from "../../domain/commands/rollback.ts";
import type { CreateRun } from "../../domain/commands/runs.ts";
import type { Counts } from "../../domain/commands/scale.ts";
import type { SetWeights, Steer } from "../../domain/commands/steer.ts";
import type { Place } from "../../domain/doctor/places.ts";
import type { Result } from "../../domain/result.ts";
import type { TableAnswer, TrafficMode } from "../../domain/routing/table.ts";
import type { Refusal } from "../refusal.ts";

/**
 * What an environment's coordinator does for the rest of control. Over RPC a thrown error loses its type, so every
 * expected outcome is a Result; `Refusal` carries the problem's code and its facts in words.
 */
export interface CoordinatorPort {
  /** Queues a release. The same `requestKey` again answers the same release. */
  createRelease(input: CreateReleaseInput): Promise<Result<{ release: string; created: boolean }, Refusal>>;
  abort(input: { release: string; actor: string; reason: string | null }): Promise<Result<null, Refusal>>;
  rollback(input: RollbackRequest & { actor: string }): Promise<Result<RollbackOutcome, Refusal>>;
  /** Basis points by release id; every release not named gets 0. */
  setWeights(input: SetWeights): Promise<Result<null, Refusal>>;
  /** Ends the current step, or all of them. `step` (0-based): the one the caller saw. */
  promote(input: Steer & { full: boolean }): Promise<Result<null, Refusal>>;
  /** Lets a release that waits for it go on, if nobody else has to say yes. */
  approve(input: Approve): Promise<Result<null, Refusal>>;
  /** Ends a release that waits for an approval. */
  reject(input: { release: string; actor: string; reason: string | null }): Promise<Result<null, Refusal>>;
  pause(input: Steer): Promise<Result<null, Refusal>>;
  resume(input: Steer): Promise<Result<null, Refusal>>;
  /** No release begins while a person's lock holds. One lock at a time: `locked` names the holder. */
  lock(input: { actor: string; reason: string; expiresAt: number }): Promise<Result<null, Refusal>>;
  unlock(input: { actor: string }): Promise<Result<null, Refusal>>;
  /** What the edge does with requests. */
  setMode(input: { mode: TrafficMode; actor: string }): Promise<Result<null, Refusal>>;
  /** Runs a command once in the live image. Answers its run's id. */
  createRun(input: Omit<CreateRun, "id">): Promise<Result<{ run: string }, Refusal>>;
  stopRun(input: { run: string; actor: string }): Promise<Result<null, Refusal>>;
  /** Starts what is live anew. Answers the release that does it. */
  restart(input: { actor: string }): Promise<Result<{ release: string }, Refusal>>;
  /** Sets how many run of each process. Answers the release that does it, if one is needed. */
  scale(input: { actor: string; counts: Counts }): Promise<Result<{ release: string | null }, Refusal>>;
  /** Ends the environment, and all that is in it. Answers when it has begun; said again it changes nothing. */
  destroy(input: { actor: string }): Promise<Result<null, Refusal>>;
  /** Something changed in D1 that may let a release move: a job ended, an instance's health changed, a spec was applied. */
  poke(): Promise<void>;
  /** Many of a watched release's answers were errors. */
  judgeNow(): Promise<void>;
  table(hostname: string, known: number | null): Promise<TableAnswer>;
  /** What only the coordinator knows, for status answers. */
  inspect(): Promise<CoordinatorView>;
  /** Where it runs, for the doctor. */
  place(): Promise<Place>;
}

/** Without its id, which the coordinator gives. `requestKey` is scoped to the principal already. */
export type CreateReleaseInput = Omit<CreateRelease, "id">;

export interface RollbackOutcome {
  readonly how: "instant" | "restart";
  readonly from: string;
  readonly to: string;
  /** The release to follow: `from` when instant (it rolls back), the new one when restarted. */
  readonly release: string;
}

export interface CoordinatorView {
  readonly table: { readonly version: number; readonly publishedAt: number | null };
  /** Visitors' requests by release since it was first seen: all, and failed in the visitor's eyes. */
  readonly traffic: Readonly<Record<string, { readonly requests: number; readonly failed: number }>>;
  /** The judge's last word on the canary that is on its way. */
  readonly verdict: {
    readonly release: string;
    readonly verdict: string;
    readonly reason: string;
    readonly words: string;
    readonly at: number;
  } | null;
  /** Environment-wide totals per 10 s window start (epoch ms), newest last, at most the last hour. */
  readonly windows: readonly {
    readonly window: number;
    readonly requests: number;
    readonly failed: number;
  }[];
}
