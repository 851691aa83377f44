import { and, eq, isNull, type SQL, sql } from "drizzle-orm";
import { settleAccessories } from "./accessories.ts";
import type { Db } from "./db.ts";
import { events } from "./schema/events.ts";
import { jobs } from "./schema/jobs.ts";

export type JobRow = typeof jobs.$inferSelect;

export const LEASE_MS = 30_000;
/** A hook that its agent has is ended by its agent, which says how: for so long after its deadline nobody else does. */
const HOOK_SLACK_MS = 30_000;
/** Most jobs one poll leases. */
const LEASES_PER_POLL = 10;

export const readJob = (db: Db, id: string): Promise<JobRow | undefined> =>
  db.select().from(jobs).where(eq(jobs.id, id)).get();

export interface LeaseRequest {
  readonly hostId: string;
  readonly boot: string;
  readonly now: number;
  /** Kinds of job that the agent has a place for. */
  readonly takes: readonly JobKind[];
  /** Jobs that the agent says it has; absent: it doesn't say. */
  readonly jobs: readonly string[] | undefined;
  /** When it was heard from before: only a job that ran out by then was not ended by its agent. Null: never. */
  readonly seenBeforeAt?: number | null;
}

type JobKind = JobRow["kind"];

/**
 * Leases what the host may work on: queued jobs, and those whose lease ran out, was held by an earlier process of the
 * same agent, or went out with an answer that the agent never got. A `logs` job is leased for as long as it may take: renewals would be writes. Jobs past their deadline are failed instead; their environments come back in `overdue`.
 */
export async function leaseJobs(
  db: Db,
  request: LeaseRequest,
): Promise<{ leased: JobRow[]; overdue: string[] }> {
  const { hostId, boot, now } = request;
  const error = { code: "deadline", message: "the job was not done before its deadline", logs: [] };
  const [failed, leased] = await db.batch([
    db
      .update(jobs)
      .set({ state: "failed", error, finishedAt: now })
      .where(sql`${jobs.hostId} = ${hostId} AND ${jobs.finishedAt} IS NULL
        AND ${jobs.deadlineAt} + iif(${jobs.kind} = 'run' AND ${jobs.state} = 'leased', ${HOOK_SLACK_MS}, 0) <= ${now}
        AND (${jobs.kind} IN ('logs', 'accessory') OR ${jobs.deadlineAt} <= ${request.seenBeforeAt === undefined ? now : request.seenBeforeAt})`)
      .returning({ environmentId: jobs.environmentId, kind: jobs.kind }),
    db
      .update(jobs)
      .set({
        state: "leased",
        lease: sql`lower(hex(randomblob(16)))`,
        leaseBoot: boot,
        leaseExpiresAt: sql`CASE WHEN ${jobs.kind} = 'logs' THEN ${jobs.deadlineAt} ELSE ${now + LEASE_MS} END`,
        attempts: sql`${jobs.attempts} + 1`,
        // What D1 holds is decided; the newest fence lets an agent that saw a newer release still do an older one's stop.
        fence: sql`(SELECT fence FROM environments WHERE environments.id = ${jobs.environmentId})`,
      })
      .where(sql`${jobs.id} IN (
        SELECT id FROM jobs WHERE host_id = ${hostId} AND finished_at IS NULL AND deadline_at > ${now} AND ${isLeasable(request)}
          AND kind IN (SELECT value FROM json_each(${JSON.stringify(request.takes)})) ${knownTo(request)}
        ORDER BY created_at, id LIMIT ${LEASES_PER_POLL})`)
      .returning(),
    ...settleAccessories(db, now),
  ]);
  // Nobody decides anything by how a log stream ended.
  const overdue = failed.flatMap(({ kind, environmentId }) => (kind === "logs" ? [] : [environmentId]));
  return { leased: leased.sort(byAge), overdue: [...new Set(overdue)] };
}

/** Agents know workers since they take commands; an older one drops the whole answer that has a worker's start in it. */
const knownTo = ({ takes }: LeaseRequest): SQL =>
  takes.includes("command")
    ? sql``
    : sql`AND NOT (kind = 'start' AND payload ->> '$.spec.worker' IS NOT NULL)`;

const isLeasable = ({ boot, now, jobs: held }: LeaseRequest) =>
  sql`(state = 'queued' OR (state = 'leased' AND (lease_expires_at <= ${now} OR lease_boot <> ${boot}
    OR ${isUnacknowledged(sql`id`, held)})))`;

/** The agent does not have it, so the answer that carried it was lost: it need not wait for the lease to run out. */
export const isUnacknowledged = (job: SQL, held: readonly string[] | undefined): SQL =>
  held === undefined ? sql`0` : sql`${job} NOT IN (SELECT value FROM json_each(${JSON.stringify(held)}))`;

const byAge = (a: JobRow, b: JobRow) => a.createdAt - b.createdAt || (a.id < b.id ? -1 : 1);

export interface HeldLease {
  readonly job: string;
  readonly hostId: string | SQL;
  readonly lease: string;
  readonly now: number;
}

const isHeld = ({ job, hostId, lease }: HeldLease) =>
  and(eq(jobs.id, job), eq(jobs.hostId, hostId), eq(jobs.lease, lease), isNull(jobs.finishedAt));

/** Renews the lease and notes what the agent says; new words become an event, if it is of a release. False: the lease is lost. */
export async function progressJob(db: Db, held: HeldLease, message: string, actor: string): Promise<boolean> {
  // Not a batch: drizzle can't put raw statements into one, and an event too many costs nothing.
  await db.run(sql`INSERT INTO ${events} (at, type, actor, app, environment, environment_id, release_id, message, data)
      SELECT ${held.now}, 'release.progress', ${actor}, a.name, e.name, e.id, j.release_id,
        r.version || ' on ' || h.name || ': ' || ${message},
        json_object('job', j.id, 'kind', j.kind, 'instance', j.instance_id)
      FROM jobs j JOIN environments e ON e.id = j.environment_id JOIN apps a ON a.id = e.app_id
        JOIN releases r ON r.id = j.release_id JOIN hosts h ON h.id = j.host_id
      WHERE j.id = ${held.job} AND j.host_id = ${held.hostId} AND j.lease = ${held.lease}
        AND j.finished_at IS NULL AND j.progress IS NOT ${message}`);
  const renewed = await db
    .update(jobs)
    .set({ progress: message, leaseExpiresAt: held.now + LEASE_MS })
    .where(isHeld(held))
    .returning({ id: jobs.id });
  return renewed.length === 1;
}

export type JobOutcome =
  | { readonly ok: true; readonly result: Record<string, unknown> }
  | { readonly ok: false; readonly error: Record<string, unknown> };

/**
 * Ends the job if the lease still holds it, and with it an accessory's move. Answers the environment to tell, or
 * undefined: the lease is lost.
 */
export async function finishJob(db: Db, held: HeldLease, outcome: JobOutcome): Promise<string | undefined> {
  const [[row]] = await db.batch([
    db
      .update(jobs)
      .set({
        state: outcome.ok ? "done" : "failed",
        ...(outcome.ok ? { result: outcome.result } : { error: outcome.error }),
        finishedAt: held.now,
      })
      .where(isHeld(held))
      .returning({ environmentId: jobs.environmentId }),
    ...settleAccessories(db, held.now),
  ]);
  return row?.environmentId;
}
