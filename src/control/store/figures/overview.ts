import { and, asc, desc, eq, inArray, isNull, type SQL, sql } from "drizzle-orm";
import type { EnvironmentSpec } from "../../../domain/spec.ts";
import type { Db } from "../db.ts";
import { selectLastRuns } from "../processes/runs.ts";
import { apps } from "../schema/apps.ts";
import { environments } from "../schema/environments.ts";
import { hostnames } from "../schema/hostnames.ts";
import { hosts } from "../schema/hosts.ts";
import { instances } from "../schema/instances.ts";
import { releases, verdicts } from "../schema/releases.ts";
import { runs } from "../schema/runs.ts";

/** What the reader may see; null is everything. */
interface Scope {
  readonly app: string | null;
  readonly environment: string | null;
}
export type Overview = Awaited<ReturnType<typeof readOverview>>;
export type OverviewEnvironment = Overview["environments"][number];
export type OverviewRelease = Overview["releases"][number];

/** All environments at a glance, in one trip: no specs, no instances one by one. */
export async function readOverview(db: Db, scope: Scope) {
  const mine = and(
    isNull(environments.deletedAt),
    scope.app === null ? undefined : eq(apps.name, scope.app),
    scope.environment === null ? undefined : eq(environments.name, scope.environment),
  );
  const isOpen = isNull(releases.endedAt);
  const [environmentRows, releaseRows, instanceRows, verdictRows, hostRows, foreign, runRows] =
    await db.batch([
      selectEnvironments(db, mine),
      selectReleases(db, mine),
      selectCounts(db),
      db
        .select({
          releaseId: verdicts.releaseId,
          verdict: verdicts.verdict,
          words: verdicts.words,
          at: verdicts.at,
        })
        .from(verdicts)
        .innerJoin(releases, and(eq(releases.id, verdicts.releaseId), isOpen, eq(releases.state, "shifting")))
        .where(
          sql`${verdicts.window} = (SELECT max(window) FROM verdicts w WHERE w.release_id = ${verdicts.releaseId})`,
        ),
      db
        .select({ name: hosts.name, lastSeenAt: hosts.lastSeenAt })
        .from(hosts)
        .where(isNull(hosts.removedAt)),
      db
        .select({
          environmentId: hostnames.environmentId,
          hostname: hostnames.hostname,
          cause: hostnames.routeCause,
        })
        .from(hostnames)
        .where(eq(hostnames.routeState, "foreign")),
      selectLastRuns(db, inArray(runs.state, ["failed", "lost"])),
    ]);
  return {
    environments: environmentRows,
    releases: releaseRows,
    instances: instanceRows,
    verdicts: verdictRows,
    hosts: scope.app === null ? hostRows : [],
    foreign,
    failedRuns: runRows,
  };
}

const selectEnvironments = (db: Db, mine: SQL | undefined) =>
  db
    .select({
      id: environments.id,
      // In a batch D1 answers by column name: two of one name would be one.
      app: sql<string>`${apps.name}`.as("app_name"),
      name: environments.name,
      mode: environments.mode,
      held: environments.held,
      ending: environments.ending,
      stableReleaseId: environments.stableReleaseId,
    })
    .from(environments)
    .innerJoin(apps, eq(apps.id, environments.appId))
    .where(mine)
    .orderBy(asc(apps.name), asc(environments.name));

/** Those that are not over or serve, and the newest of each environment however it ended. */
const selectReleases = (db: Db, mine: SQL | undefined) =>
  db
    .select({
      id: releases.id,
      environmentId: releases.environmentId,
      version: releases.version,
      state: releases.state,
      weightBp: releases.weightBp,
      stepIndex: releases.stepIndex,
      stepSince: releases.stepSince,
      deadlineAt: releases.deadlineAt,
      endedAt: releases.endedAt,
      paused: releases.paused,
      approval: releases.approval,
      workerTroubles: releases.workerTroubles,
      failure: sql<string | null>`${releases.failure} ->> '$.message'`.as("failure_message"),
      strategy: sql<EnvironmentSpec["strategy"]>`${releases.spec} -> '$.strategy'`
        .mapWith(JSON.parse)
        .as("strategy"),
    })
    .from(environments)
    .innerJoin(apps, eq(apps.id, environments.appId))
    .innerJoin(
      releases,
      and(
        eq(releases.environmentId, environments.id),
        sql`(${releases.endedAt} IS NULL OR ${releases.weightBp} > 0 OR ${releases.id} = (SELECT n.id FROM releases n
          WHERE n.environment_id = ${environments.id} ORDER BY n.created_at DESC LIMIT 1))`,
      ),
    )
    .where(mine)
    .orderBy(desc(releases.createdAt));

/** How many there are of each release, and how many of them are ready. */
const selectCounts = (db: Db) =>
  db
    .select({
      releaseId: instances.releaseId,
      all: sql<number>`count(*)`.as("n_all"),
      ready: sql<number>`sum(${instances.reportState} IS 'ready')`.as("n_ready"),
    })
    .from(instances)
    .where(and(isNull(instances.stoppedAt), isNull(instances.process), sql`${instances.state} <> 'stopping'`))
    .groupBy(instances.releaseId);
