import { and, asc, eq, isNotNull, isNull, type SQL, sql } from "drizzle-orm";
import type { Db } from "../db.ts";
import { apps } from "../schema/apps.ts";
import { environments } from "../schema/environments.ts";
import { hosts } from "../schema/hosts.ts";
import { instances } from "../schema/instances.ts";
import { jobs } from "../schema/jobs.ts";
import { releases } from "../schema/releases.ts";

/** What runs beside the instances that visitors reach: workers, and commands that are on their way to an end. */

export type WorkerOnHost = Awaited<ReturnType<typeof listWorkers>>[number];
export type RunOnHost = Awaited<ReturnType<typeof listRunning>>[number];

/** Workers that are not stopped. */
export const listWorkers = (db: Db, where: SQL) =>
  db
    .select({
      hostId: instances.hostId,
      hostName: hosts.name,
      environmentId: instances.environmentId,
      id: instances.id,
      app: apps.name,
      environment: environments.name,
      version: releases.version,
      process: sql<string>`${instances.process}`.as("process_name"),
      state: instances.state,
    })
    .from(instances)
    .innerJoin(hosts, eq(hosts.id, instances.hostId))
    .innerJoin(releases, eq(releases.id, instances.releaseId))
    .innerJoin(environments, eq(environments.id, instances.environmentId))
    .innerJoin(apps, eq(apps.id, environments.appId))
    .where(and(where, isNull(instances.stoppedAt), isNotNull(instances.process)))
    .orderBy(asc(apps.name), asc(environments.name), asc(instances.process), asc(instances.id));

/** Hooks, runs of schedules and people's commands that a host has begun. */
export const listRunning = (db: Db, where: SQL) =>
  db
    .select({
      hostId: jobs.hostId,
      hostName: hosts.name,
      environmentId: jobs.environmentId,
      app: apps.name,
      environment: environments.name,
      version: releases.version,
      what: sql<string>`coalesce(${jobs.payload} ->> '$.hook', nullif(${jobs.payload} ->> '$.process', ''), 'a command')`.as(
        "what",
      ),
    })
    .from(jobs)
    .innerJoin(hosts, eq(hosts.id, jobs.hostId))
    .innerJoin(releases, eq(releases.id, jobs.releaseId))
    .innerJoin(environments, eq(environments.id, jobs.environmentId))
    .innerJoin(apps, eq(apps.id, environments.appId))
    .where(
      and(where, isNull(jobs.finishedAt), eq(jobs.state, "leased"), sql`${jobs.kind} IN ('run', 'command')`),
    )
    .orderBy(asc(jobs.createdAt), asc(jobs.id));
