import { and, eq, isNull, lte, sql } from "drizzle-orm";
import type { Db, Statement } from "./db.ts";
import { runBatch } from "./db.ts";
import { accessories } from "./schema/accessories.ts";
import { hosts } from "./schema/hosts.ts";
import { instances } from "./schema/instances.ts";
import { jobs } from "./schema/jobs.ts";
import { runs } from "./schema/runs.ts";

/** A host that may have lines for a stream. */
export interface LogHost {
  readonly id: string;
  readonly name: string;
  readonly lastSeenAt: number | null;
}

export interface LogScope {
  readonly environmentId: string;
  /** Id of a release. */
  readonly release: string | null;
  /** Name of an accessory: its lines instead of the instances'. */
  readonly accessory: string | null;
  /** Id of a run: its lines instead of the instances'. Absent in streams from before. */
  readonly run?: string | null;
  /** Name of a host. */
  readonly host: string | null;
}

/** The hosts with instances (or the accessory) that a stream is about. */
export async function findLogHosts(db: Db, scope: LogScope): Promise<LogHost[]> {
  const host = { id: hosts.id, name: hosts.name, lastSeenAt: hosts.lastSeenAt };
  const isThere = and(isNull(hosts.removedAt), scope.host === null ? undefined : eq(hosts.name, scope.host));
  if (scope.accessory !== null) {
    return db
      .select(host)
      .from(accessories)
      .innerJoin(hosts, eq(hosts.id, accessories.hostId))
      .where(
        and(
          eq(accessories.environmentId, scope.environmentId),
          eq(accessories.name, scope.accessory),
          isThere,
        ),
      );
  }
  if (scope.run) {
    return db
      .select(host)
      .from(runs)
      .innerJoin(hosts, eq(hosts.id, runs.hostId))
      .where(and(eq(runs.environmentId, scope.environmentId), eq(runs.id, scope.run), isThere));
  }
  return db
    .selectDistinct(host)
    .from(instances)
    .innerJoin(hosts, eq(hosts.id, instances.hostId))
    .where(
      and(
        eq(instances.environmentId, scope.environmentId),
        isNull(instances.stoppedAt),
        scope.release === null ? undefined : eq(instances.releaseId, scope.release),
        isThere,
      ),
    )
    .orderBy(hosts.name);
}

export interface NewLogJob {
  readonly id: string;
  readonly hostId: string;
  readonly environmentId: string;
  readonly payload: Record<string, unknown>;
  readonly deadlineAt: number;
  readonly now: number;
}

export async function insertLogJobs(db: Db, rows: readonly NewLogJob[]): Promise<void> {
  const inserts = rows.map(
    ({ now, ...row }) =>
      db
        .insert(jobs)
        .values({ ...row, kind: "logs", fence: 0, state: "queued", attempts: 0, createdAt: now })
        .onConflictDoNothing() satisfies Statement,
  );
  await runBatch(db, inserts);
}

/** Takes back what no host has begun: one that was away must not be handed it hours later. */
export async function dropQueuedLogJobs(db: Db, ids: readonly string[]): Promise<void> {
  await db
    .delete(jobs)
    .where(
      sql`${jobs.id} IN (SELECT value FROM json_each(${JSON.stringify(ids)})) AND ${jobs.state} = 'queued'`,
    );
}

/** A log stream leaves no trace: its jobs go when their time is over, however they ended. */
export const dropLogJobsBefore = (db: Db, now: number) =>
  db.delete(jobs).where(and(eq(jobs.kind, "logs"), lte(jobs.deadlineAt, now)));
