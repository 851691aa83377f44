import { eq, sql } from "drizzle-orm";
import type { BatchItem } from "drizzle-orm/batch";
import { publicHost } from "../../domain/hostnames.ts";
import { err, ok, type Result } from "../../domain/result.ts";
import type { Decision, InstanceChange, NewRelease } from "../../domain/rollout/decision.ts";
import type { EnvironmentFacts } from "../../domain/rollout/facts.ts";
import { talliesOf } from "../../domain/rollout/tally.ts";
import { deleteHostnames } from "./apps.ts";
import { type Db, runBatch, type Statement } from "./db.ts";
import { raise } from "./figures/tallies.ts";
import { environments } from "./schema/environments.ts";
import { events } from "./schema/events.ts";
import { instances } from "./schema/instances.ts";
import { jobs } from "./schema/jobs.ts";
import { outbox } from "./schema/outbox.ts";
import { releases } from "./schema/releases.ts";
import { runs } from "./schema/runs.ts";
import { slots } from "./schema/slots.ts";
import { secretVersionsOf } from "./secrets.ts";
import { renamed, restSlotsOf } from "./slots.ts";

/**
 * Why a batch wrote nothing: another writer was first (`stale`: read again), a label is taken (`label_taken`), or the same
 * request made its release before (`requested`).
 */
export type CommitMiss = "stale" | "label_taken" | "requested";

export interface Commit {
  readonly facts: EnvironmentFacts;
  readonly decision: Decision;
  /** The fence this writer holds; a lower one than the environment has seen is refused. */
  readonly fence: number;
  readonly now: number;
}

/**
 * Writes a decision in one batch: all of it or nothing. The first statement is the guard: where `rev` or `fence` moved on,
 * it sets the NOT NULL column `rev` to NULL, D1 refuses it, and with it the whole batch. `also`: what goes the same way, after
 * it; answers their rows.
 */
export async function commit(
  db: Db,
  input: Commit,
  also: readonly Statement[] = [],
): Promise<Result<readonly unknown[], CommitMiss>> {
  try {
    const rows = await runBatch(db, [guard(db, input), ...statements(db, input), ...also]);
    return ok(rows.slice(rows.length - also.length));
  } catch (error) {
    const miss = missOf(error);
    if (miss) return err(miss);
    throw error;
  }
}

/** drizzle wraps D1's error: its text stands in `cause`. */
function missOf(error: unknown): CommitMiss | undefined {
  const text = error instanceof Error ? `${error.message} ${String(error.cause)}` : String(error);
  if (/NOT NULL constraint failed: (environments\.rev|slots\.n)/.test(text)) return "stale";
  if (/UNIQUE constraint failed: instances\.slot_id/.test(text)) return "stale";
  if (/UNIQUE constraint failed: releases\.environment_id, releases\.request_key/.test(text))
    return "requested";
  if (/UNIQUE constraint failed: releases\.version, releases\.environment_id/.test(text))
    return "label_taken";
  return undefined;
}

function guard(db: Db, { facts, decision, fence }: Commit) {
  const holds = sql`${environments.rev} = ${facts.rev} AND ${environments.fence} <= ${fence}`;
  return db
    .update(environments)
    .set({
      ...decision.environment,
      rev: sql`CASE WHEN ${holds} THEN ${environments.rev} + 1 ELSE NULL END`,
      fence,
    })
    .where(eq(environments.id, facts.id));
}

function statements(db: Db, input: Commit): BatchItem<"sqlite">[] {
  const { facts, decision, now } = input;
  const batch: BatchItem<"sqlite">[] = [];
  for (const release of decision.newReleases)
    batch.push(db.insert(releases).values(newRelease(facts, release, now)));
  for (const [id, change] of decision.releases)
    batch.push(db.update(releases).set(change).where(eq(releases.id, id)));
  for (const id of decision.reserveSlots) batch.push(reserveSlot(db, id, facts));
  for (const { slotId, cause, until } of decision.asideSlots ?? [])
    batch.push(db.update(slots).set({ asideCause: cause, asideUntil: until }).where(eq(slots.id, slotId)));
  for (const instance of decision.newInstances) {
    const row = {
      ...instance,
      environmentId: facts.id,
      stateSince: now,
      reportSeq: -1,
      createdAt: now,
    } as const;
    batch.push(db.insert(instances).values(row));
  }
  for (const worker of decision.newWorkers) {
    const row = { ...worker, environmentId: facts.id, stateSince: now, reportSeq: -1, createdAt: now };
    batch.push(db.insert(instances).values(row));
  }
  for (const [id, change] of decision.instances) {
    batch.push(db.update(instances).set(instanceChange(change, now)).where(eq(instances.id, id)));
  }
  // From the moment an end begins they are anybody's again.
  if (decision.environment.ending) batch.push(deleteHostnames(db, facts.id, []));
  const left = [...decision.instances].flatMap(([id, { stoppedAt }]) =>
    stoppedAt === undefined ? [] : [id],
  );
  if (left.length > 0) batch.push(restSlotsOf(db, left, now));
  for (const run of decision.newRuns) batch.push(db.insert(runs).values({ ...run, environmentId: facts.id }));
  for (const [id, change] of decision.runs) batch.push(db.update(runs).set(change).where(eq(runs.id, id)));
  if (decision.withdrawJobs.length > 0) {
    const ids = JSON.stringify(decision.withdrawJobs);
    const untaken = sql`${jobs.id} IN (SELECT value FROM json_each(${ids})) AND ${jobs.state} = 'queued'`;
    batch.push(db.update(jobs).set({ state: "cancelled", finishedAt: now }).where(untaken));
  }
  if (decision.cancelJobs.length > 0) {
    const cancelled = { state: "cancelled", finishedAt: now } as const;
    // As one value, however many they are: D1 binds a hundred at most.
    const ids = JSON.stringify(decision.cancelJobs);
    batch.push(
      db.update(jobs).set(cancelled).where(sql`${jobs.id} IN (SELECT value FROM json_each(${ids}))`),
    );
  }
  batch.push(...jobStatements(db, input));
  for (const event of decision.events) {
    const row = { ...event, at: now, app: facts.app, environment: facts.name, environmentId: facts.id };
    batch.push(db.insert(events).values(row));
  }
  for (const tally of talliesOf(facts, decision, now)) batch.push(raise(db, facts.id, tally));
  return batch;
}

/** The jobs, and the wake-ups of the hosts that are to do them. */
function jobStatements(db: Db, { facts, decision, fence, now }: Commit): BatchItem<"sqlite">[] {
  const batch: BatchItem<"sqlite">[] = [];
  for (const job of decision.jobs) {
    const row = {
      ...job,
      environmentId: facts.id,
      fence,
      state: "queued",
      attempts: 0,
      createdAt: now,
    } as const;
    batch.push(db.insert(jobs).values(row).onConflictDoNothing());
  }
  for (const host of new Set(decision.jobs.map((job) => job.hostId))) {
    const row = {
      environmentId: facts.id,
      kind: "wake",
      payload: { host },
      attempts: 0,
      createdAt: now,
      nextAttemptAt: now,
    } as const;
    batch.push(db.insert(outbox).values(row));
  }
  return batch;
}

const instanceChange = (change: InstanceChange, now: number) =>
  change.state ? { ...change, stateSince: now } : change;

/**
 * Fails the batch when another environment took the slot since it was read. Its tunnel has to be told of another name only when
 * that is another than its last.
 */
function reserveSlot(db: Db, slotId: string, { id: environmentId, spec }: EnvironmentFacts) {
  const mine = sql`${slots.environmentId} IS NULL OR ${slots.environmentId} = ${environmentId}`;
  const n = sql`CASE WHEN ${mine} THEN ${slots.n} ELSE NULL END`;
  return db
    .update(slots)
    .set({ n, environmentId, restUntil: null, ...renamed(publicHost(spec.hostnames)) })
    .where(eq(slots.id, slotId));
}

/** One of its own, where anybody is told of traces. */
const OWN_TRACE = sql<null>`(SELECT '{}' FROM webhooks WHERE kind = 'otlp' AND disabled_at IS NULL LIMIT 1)`;

const newRelease = (facts: EnvironmentFacts, { secretsOf, ...release }: NewRelease, now: number) => ({
  ...release,
  secretVersions: secretVersionsOf(facts.id, secretsOf),
  trace: release.trace ?? OWN_TRACE,
  environmentId: facts.id,
  state: "queued" as const,
  weightBp: 0,
  instancesMade: 0,
  createdAt: now,
  stateSince: now,
  timings: {},
});
