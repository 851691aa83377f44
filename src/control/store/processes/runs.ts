import { and, desc, eq, lt, or } from "drizzle-orm";
import type { Db } from "../db.ts";
import { hosts } from "../schema/hosts.ts";
import { releases } from "../schema/releases.ts";
import { runs } from "../schema/runs.ts";

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

export const readRun = (db: Db, environmentId: string, id: string): Promise<RunRow | undefined> =>
  select(db)
    .where(and(eq(runs.id, id), eq(runs.environmentId, environmentId)))
    .get();
