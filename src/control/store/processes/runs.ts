import { and, desc, eq, isNull, lt, or, type SQL, sql } from "drizzle-orm";
import type { Db } from "../db.ts";
import { environments } from "../schema/environments.ts";
import { hosts } from "../schema/hosts.ts";
import { releases } from "../schema/releases.ts";
import { runs } from "../schema/runs.ts";

export type LastRun = Awaited<ReturnType<typeof selectLastRuns>>[number];
export type RunRow = Awaited<ReturnType<typeof listRuns>>[number];

export interface RunPage {
  readonly environmentId: string;
  /** Only of this process; null: of all. */
  readonly process: string | null;
  readonly before: { readonly createdAt: number; readonly id: string } | null;
  readonly limit: number;
}

const select = (db: Db) =>
  db
    .select({ run: runs, version: releases.version, host: hosts.name })
    .from(runs)
    .innerJoin(releases, eq(releases.id, runs.releaseId))
    .leftJoin(hosts, eq(hosts.id, runs.hostId))
    .$dynamic();

/** Newest first. */
export const listRuns = (db: Db, { environmentId, process, before, limit }: RunPage) =>
  select(db)
    .where(
      and(
        eq(runs.environmentId, environmentId),
        process === null ? undefined : eq(runs.process, process),
        before
          ? or(
              lt(runs.createdAt, before.createdAt),
              and(eq(runs.createdAt, before.createdAt), lt(runs.id, before.id)),
            )
          : undefined,
      ),
    )
    .orderBy(desc(runs.createdAt), desc(runs.id))
    .limit(limit);

/** How each schedule's last run ended: a row of the index `runs_due` for each. */
export const selectLastRuns = (db: Db, where: SQL | undefined) =>
  db
    .select({
      environmentId: environments.id,
      process: runs.process,
      state: runs.state,
      cause: runs.cause,
      endedAt: runs.endedAt,
    })
    .from(environments)
    .innerJoin(
      runs,
      sql`${runs.id} IN (SELECT (SELECT r.id FROM runs r WHERE r.environment_id = ${environments.id} AND r.process = s.key
        AND r.due_at IS NOT NULL AND r.ended_at IS NOT NULL ORDER BY r.due_at DESC LIMIT 1) FROM json_each(${environments.schedules}) s)`,
    )
    .where(and(isNull(environments.deletedAt), where));

export const readRun = (db: Db, environmentId: string, id: string): Promise<RunRow | undefined> =>
  select(db)
    .where(and(eq(runs.id, id), eq(runs.environmentId, environmentId)))
    .get();
