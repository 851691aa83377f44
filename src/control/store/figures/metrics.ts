import { and, asc, eq, isNull, type SQL, sql } from "drizzle-orm";
import type { Judgement } from "../../../domain/canary/index.ts";
import type { Db } from "../db.ts";
import { apps } from "../schema/apps.ts";
import { environments } from "../schema/environments.ts";
import { hosts } from "../schema/hosts.ts";
import { instances } from "../schema/instances.ts";
import { jobs } from "../schema/jobs.ts";
import { outbox } from "../schema/outbox.ts";
import { releases, verdicts } from "../schema/releases.ts";
import { tallies } from "../schema/tallies.ts";

/** Null: all of them. */
export interface MetricsScope {
  readonly app: string | null;
  readonly environment: string | null;
}

export type MetricsRows = Awaited<ReturnType<typeof readMetrics>>;
const count = sql<number>`count(*)`;

/**
 * The rows that metrics are made from: of living things and of counters, never of history, so that a scrape costs the same
 * after a year. Two trips.
 */
export async function readMetrics(db: Db, scope: MetricsScope, most: number) {
  const found = await readScope(db, scope, most + 1);
  const shown = found.slice(0, most);
  const ids = sql`(SELECT value FROM json_each(${JSON.stringify(shown.map(({ id }) => id))}))`;
  const isWhole = scope.app === null;
  const left = found.length > most ? (await countScope(db, scope)) - most : 0;
  const [releaseRows, instanceRows, jobRows, tallyRows, verdictRows, hostRows, outboxRows] = await db.batch([
    selectReleases(db, ids),
    db
      .select({ environmentId: instances.environmentId, state: instances.state, count })
      .from(instances)
      .where(sql`${instances.environmentId} IN ${ids} AND stopped_at IS NULL`)
      .groupBy(instances.environmentId, instances.state),
    db
      .select({ environmentId: jobs.environmentId, state: jobs.state, count })
      .from(jobs)
      .where(sql`${jobs.environmentId} IN ${ids} AND finished_at IS NULL`)
      .groupBy(jobs.environmentId, jobs.state),
    db.select().from(tallies).where(sql`${tallies.environmentId} IN ${ids}`),
    selectVerdicts(db, ids),
    db
      .select()
      .from(hosts)
      .where(isWhole ? isNull(hosts.removedAt) : sql`0`)
      .orderBy(asc(hosts.name)),
    db.select({ count }).from(outbox),
  ]);
  return {
    environments: shown,
    left,
    isWhole,
    releases: releaseRows,
    instances: instanceRows,
    jobs: jobRows,
    tallies: tallyRows,
    verdicts: verdictRows,
    hosts: hostRows,
    outboxDepth: outboxRows[0]?.count ?? 0,
  };
}

const living = isNull(environments.deletedAt);

const isIn = ({ app, environment }: MetricsScope) =>
  and(
    living,
    app === null ? undefined : eq(apps.name, app),
    environment === null ? undefined : eq(environments.name, environment),
  );

const readScope = (db: Db, scope: MetricsScope, limit: number) =>
  db
    .select({
      id: environments.id,
      app: sql<string>`${apps.name}`.as("app_name"),
      name: environments.name,
      stableReleaseId: environments.stableReleaseId,
      fence: environments.fence,
      strategy: sql<string>`json_extract(${environments.spec}, '$.strategy.kind')`.as("strategy_kind"),
      held: environments.held,
    })
    .from(environments)
    .innerJoin(apps, eq(apps.id, environments.appId))
    .where(isIn(scope))
    .orderBy(asc(apps.name), asc(environments.name))
    .limit(limit);

async function countScope(db: Db, scope: MetricsScope): Promise<number> {
  const row = await db
    .select({ count })
    .from(environments)
    .innerJoin(apps, eq(apps.id, environments.appId))
    .where(isIn(scope))
    .get();
  return row?.count ?? 0;
}

/** On their way, or with traffic: never all that ever were. */
const selectReleases = (db: Db, ids: SQL) =>
  db
    .select({
      id: releases.id,
      environmentId: releases.environmentId,
      version: releases.version,
      state: releases.state,
      weightBp: releases.weightBp,
      startedAt: releases.startedAt,
      createdAt: releases.createdAt,
      deadlineAt: releases.deadlineAt,
    })
    .from(releases)
    .where(
      sql`${releases.id} IN (SELECT id FROM releases WHERE environment_id IN ${ids} AND weight_bp > 0
        UNION SELECT id FROM releases WHERE environment_id IN ${ids} AND ended_at IS NULL)`,
    );

/** The last word on each canary that is on its way. */
const selectVerdicts = (db: Db, ids: SQL) =>
  db
    .select({
      environmentId: releases.environmentId,
      version: releases.version,
      verdict: verdicts.verdict,
      // As the judge's `Judgement`, without the verdict itself.
      numbers: sql<Judgement>`${verdicts.numbers}`.mapWith((text: string) => JSON.parse(text) as Judgement),
    })
    .from(releases)
    .innerJoin(verdicts, eq(verdicts.releaseId, releases.id))
    .where(
      sql`${releases.environmentId} IN ${ids} AND ended_at IS NULL AND ${releases.state} = 'shifting' AND ${verdicts.window} =
        (SELECT max(v."window") FROM verdicts v WHERE v.release_id = ${releases.id})`,
    );
