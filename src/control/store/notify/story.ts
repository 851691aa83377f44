import { asc, desc, eq, sql } from "drizzle-orm";
import type { Story } from "../../../domain/tracing/spans.ts";
import type { Db } from "../db.ts";
import { apps } from "../schema/apps.ts";
import { environments } from "../schema/environments.ts";
import { events } from "../schema/events.ts";
import { hosts } from "../schema/hosts.ts";
import { instances } from "../schema/instances.ts";
import { jobs } from "../schema/jobs.ts";
import { releases, verdicts } from "../schema/releases.ts";

/** Of each kind, the newest: of a canary that took days nobody looks at each judgement. */
const MOST = 500;
const MOST_EVENTS = 2_000;

type ReleaseRow = typeof releases.$inferSelect;

/** All that was written of a release, as its trace tells it, with its row. Undefined: it was dropped. One trip. */
export async function readStory(
  db: Db,
  releaseId: string,
): Promise<{ story: Story; release: ReleaseRow } | undefined> {
  const [rows, eventRows, jobRows, probes, verdictRows] = await db.batch([
    db
      .select({
        app: apps.name,
        environment: sql<string>`${environments.name}`.as("environment_name"),
        release: releases,
      })
      .from(releases)
      .innerJoin(environments, eq(environments.id, releases.environmentId))
      .innerJoin(apps, eq(apps.id, environments.appId))
      .where(eq(releases.id, releaseId)),
    db
      .select()
      .from(events)
      .where(eq(events.releaseId, releaseId))
      .orderBy(asc(events.id))
      .limit(MOST_EVENTS),
    selectJobs(db, releaseId),
    selectProbes(db, releaseId),
    db
      .select()
      .from(verdicts)
      .where(eq(verdicts.releaseId, releaseId))
      .orderBy(desc(verdicts.window))
      .limit(MOST),
  ]);
  const row = rows[0];
  if (!row) return undefined;
  const { smoke } = row.release;
  const release = { ...row.release, smoke: smoke && { before: smoke.before, after: smoke.after } };
  const story = { ...row, release, events: eventRows, jobs: jobRows, probes, verdicts: verdictRows };
  return { story, release: row.release };
}

const selectJobs = (db: Db, releaseId: string) =>
  db
    .select({
      id: jobs.id,
      kind: jobs.kind,
      host: sql<string>`coalesce(${hosts.name}, ${jobs.hostId})`.as("host_name"),
      instance: jobs.instanceId,
      hook: sql<string | null>`${jobs.payload} ->> '$.hook'`.as("hook"),
      attempts: jobs.attempts,
      state: jobs.state,
      error: jobs.error,
      createdAt: jobs.createdAt,
      finishedAt: jobs.finishedAt,
    })
    .from(jobs)
    .leftJoin(hosts, eq(hosts.id, jobs.hostId))
    // What a schedule runs is no part of how the release came.
    .where(
      sql`${jobs.releaseId} = ${releaseId} AND ${jobs.kind} <> 'command' AND ${jobs.finishedAt} IS NOT NULL`,
    )
    .orderBy(desc(jobs.createdAt))
    .limit(MOST);

const selectProbes = (db: Db, releaseId: string) =>
  db
    .select({
      instance: instances.id,
      host: sql<string>`coalesce(${hosts.name}, ${instances.hostId})`.as("host_name"),
      verifiedAt: instances.verifiedAt,
      cause: instances.verifyCause,
    })
    .from(instances)
    .leftJoin(hosts, eq(hosts.id, instances.hostId))
    .where(sql`${instances.releaseId} = ${releaseId} AND ${instances.slotId} IS NOT NULL`)
    .limit(MOST);
