import type { Approval } from "../approval/approval.ts";
import type { FailedRequest } from "../canary/index.ts";
import type { Sight } from "../doctor/front-page.ts";
import type { EnvironmentSpec } from "../spec.ts";
import type { ReleaseTrace } from "../tracing/context.ts";

/**
 * A release's life, told by its states:
 *
 *   queued → preparing → starting → verifying → shifting → settling → live → superseded
 *
 * or on the way `rolling_back` → `rolled_back`, `failed` (never received traffic), `aborted` (a person), `superseded`
 * (a newer one took its place).
 */
export const RELEASE_STATES = [
  "queued",
  "preparing",
  "starting",
  "verifying",
  "shifting",
  "settling",
  "live",
  "rolling_back",
  "rolled_back",
  "failed",
  "aborted",
  "superseded",
] as const;
export type ReleaseState = (typeof RELEASE_STATES)[number];

/**
 * Every move a release can make. `superseded → live` is an instant rollback's target taking the traffic again,
 * `rolling_back → live` a release that was given it back before its instances were stopped. The end of its environment
 * aborts also one that has traffic.
 */
const MOVES: Readonly<Record<ReleaseState, readonly ReleaseState[]>> = {
  queued: ["preparing", "failed", "aborted", "superseded"],
  preparing: ["starting", "shifting", "failed", "aborted", "superseded"],
  starting: ["verifying", "failed", "aborted", "superseded"],
  verifying: ["shifting", "failed", "aborted", "superseded"],
  shifting: ["settling", "rolling_back", "aborted"],
  settling: ["live", "superseded", "rolling_back"],
  live: ["superseded", "rolling_back"],
  rolling_back: ["rolled_back", "live", "aborted"],
  superseded: ["live"],
  rolled_back: [],
  failed: [],
  aborted: [],
};

export const canMove = (from: ReleaseState, to: ReleaseState): boolean => MOVES[from].includes(to);

/** Those in which something may still happen to it by itself. */
const OPEN_STATES = [
  "queued",
  "preparing",
  "starting",
  "verifying",
  "shifting",
  "settling",
  "live",
  "rolling_back",
] as const satisfies readonly ReleaseState[];
export type OpenState = (typeof OPEN_STATES)[number];

export const isOpen = (state: ReleaseState): state is OpenState => OPEN_STATES.some((open) => open === state);

/** On its way: holds the environment's lock, and the next one waits. */
export const isActive = (state: ReleaseState): boolean =>
  state === "preparing" || state === "starting" || state === "verifying" || state === "shifting";

/** Nothing more will happen to it by itself that a person who deployed it waits for. */
export const isAtRest = (state: ReleaseState): boolean =>
  !isActive(state) && state !== "queued" && state !== "rolling_back";

/** Has all its traffic, or had: a release that a rollback may return to. */
export const hasServed = (release: {
  readonly state: ReleaseState;
  readonly servingAt: number | null;
}): boolean => release.servingAt !== null && ["settling", "live", "superseded"].includes(release.state);

/**
 * Whether its label is its own: while it is on its way, and for ever once it was let to visitors. As the index
 * `releases_label` has it. So of those that have a label, the newest is the one that holds it, if any does.
 */
export const holdsLabel = (release: Pick<ReleaseFacts, "endedAt" | "servingAt" | "timings">): boolean =>
  release.endedAt === null || release.servingAt !== null || release.timings.shifting !== undefined;

/** The one of this id, or the newest of this label. */
export function namedRelease<R extends Pick<ReleaseFacts, "id" | "version" | "createdAt">>(
  releases: readonly R[],
  name: string,
): R | undefined {
  const newest = (a: R, b: R) => b.createdAt - a.createdAt || (a.id < b.id ? 1 : -1);
  return releases.filter(({ id, version }) => id === name || version === name).sort(newest)[0];
}

/** Why a release ended without serving, in words a person can act on. */
export interface ReleaseFailure {
  readonly code: string;
  readonly message: string;
  readonly check?: { readonly name: string; readonly value: string; readonly limit: string };
  readonly host?: string;
  readonly instance?: string;
  readonly logs: readonly string[];
}

/** A request that failed on the route a verdict names: what the app wrote of it is asked for, once its traffic has moved. */
export interface AskedRequest extends FailedRequest {
  readonly route: string;
  /** Name of its instance's host; null: the instance is gone. */
  readonly host: string | null;
  /** Its host is waited for until then, epoch ms. */
  readonly until: number;
  /** Null: nothing is known yet. */
  readonly found: FoundLines | null;
}
export interface FoundLines {
  /** Oldest first. Without secrets, and of bounded size. */
  readonly lines: readonly string[];
  /** Why they are not lines that hold its id, in words; null: they are. */
  readonly note: string | null;
}

export interface Paused {
  readonly at: number;
  readonly by: string;
  readonly reason: string;
  /** When it goes on by itself; null: until told. */
  readonly until: number | null;
}

/** What the smoke checks said before and after the switch; `failure` null: all as wanted. */
export interface SmokeOutcomes {
  readonly before?: SmokeOutcome;
  readonly after?: SmokeOutcome;
}
export interface SmokeOutcome {
  readonly at: number;
  readonly failure: ReleaseFailure | null;
  /** What a visitor would have met; absent: nobody looked. */
  readonly look?: readonly Sight[];
}

export interface StartFailure {
  readonly hostId: string;
  readonly at: number;
}

/** What is wrong with a release's worker, by the process's name. */
export interface WorkerTrouble {
  readonly code: string;
  readonly message: string;
  readonly logs: readonly string[];
  readonly at: number;
  /** Starts that failed in a row. */
  readonly count: number;
  /** Of the worker, and not of the hosts. */
  readonly isOwn: boolean;
}

/** A release as the domain sees it. Times are epoch ms. */
export interface ReleaseFacts {
  readonly id: string;
  readonly version: string;
  readonly state: ReleaseState;
  /** `restart`: of what was live already. Like a rollback it has no hooks, and goes to what has served before. */
  readonly kind: "deploy" | "rollback" | "restart";
  readonly spec: EnvironmentSpec;
  readonly image: string;
  readonly pinnedImage: string | null;
  readonly digest: string | null;
  readonly weightBp: number;
  readonly stepIndex: number | null;
  /** When the step began; null: not entered yet. */
  readonly stepSince: number | null;
  /** Holds where it is. */
  readonly paused: Paused | null;
  /** Prepared and kept at 0 % until someone promotes it. */
  readonly hold: boolean;
  /** A person let it begin outside the deploy windows. */
  readonly override: boolean;
  /** What it waits for at its last gate, or was given there. */
  readonly approval?: Approval | null;
  /** All by which it can be told who started it. Absent or null: of before that was noted. */
  readonly startedAs?: readonly string[] | null;
  /** Instances ever made of it: numbers the next one. */
  readonly instancesMade: number;
  /** By process; null or absent: none. */
  readonly workerTroubles?: Readonly<Record<string, WorkerTrouble>> | null;
  /** Where it was built from. */
  readonly git?: { readonly sha: string } | null;
  /** What is asked on its behalf is part of it; null or absent: nobody is told of traces. */
  readonly trace?: ReleaseTrace | null | undefined;
  /** Starts that failed on the way back, oldest first: where, and when. */
  readonly startFailures: readonly StartFailure[];
  readonly smoke: SmokeOutcomes | null;
  /** When its contract hook was ordered: from then on nothing older can serve, however the hook ended. */
  readonly contractedAt: number | null;
  readonly createdAt: number;
  readonly startedAt: number | null;
  readonly servingAt: number | null;
  readonly endedAt: number | null;
  readonly stateSince: number;
  readonly deadlineAt: number | null;
  readonly warmUntil: number | null;
  readonly timings: Readonly<Record<string, number>>;
  readonly failure: ReleaseFailure | null;
  /** Null or absent: no verdict named one. */
  readonly failedRequest?: AskedRequest | null;
  /** Replacements of lost instances: how many in a row, and when the last one was ordered. */
  readonly replacing?: Replacing | null;
}

export interface Replacing {
  readonly tries: number;
  readonly at: number;
}
