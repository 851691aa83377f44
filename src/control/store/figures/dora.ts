import { and, asc, desc, eq, gte, isNull, sql } from "drizzle-orm";
import type { Delivered } from "../../../domain/dora.ts";
import type { EnvironmentSpec } from "../../../domain/spec.ts";
import type { Db } from "../db.ts";
import { apps } from "../schema/apps.ts";
import { environments } from "../schema/environments.ts";
import { releases } from "../schema/releases.ts";

/** Of all environments together, the newest: a year of ten releases a day. */
const MOST_RELEASES = 4_000;

const COLUMNS = {
  id: releases.id,
  environmentId: releases.environmentId,
  kind: releases.kind,
  state: releases.state,
  createdAt: releases.createdAt,
  servingAt: releases.servingAt,
  endedAt: releases.endedAt,
  stateSince: releases.stateSince,
  timings: releases.timings,
  weightBp: releases.weightBp,
  stepIndex: releases.stepIndex,
  stepSince: releases.stepSince,
  override: releases.override,
  approval: releases.approval,
  strategy: sql<EnvironmentSpec["strategy"]>`${releases.spec} -> '$.strategy'`
    .mapWith(JSON.parse)
    .as("strategy"),
  git: releases.git,
};

interface Asked {
  readonly app: string | null;
  readonly environment: string | null;
  /** Epoch ms. */
  readonly from: number;
}

/** Each living environment with its releases since then. */
export async function readDelivered(db: Db, { app, environment, from }: Asked) {
  const named = await db
    .select({
      id: environments.id,
      app: sql<string>`${apps.name}`.as("app_name"),
      environment: environments.name,
    })
    .from(environments)
    .innerJoin(apps, eq(apps.id, environments.appId))
    .where(
      and(
        isNull(environments.deletedAt),
        // What a pull request tries out is no delivery.
        sql`${environments.spec} ->> '$.preview.number' IS NULL`,
        app === null ? undefined : eq(apps.name, app),
        environment === null ? undefined : eq(environments.name, environment),
      ),
    )
    .orderBy(asc(apps.name), asc(environments.name));
  const ids = JSON.stringify(named.map(({ id }) => id));
  const rows = await db
    .select(COLUMNS)
    .from(releases)
    .where(
      and(
        sql`${releases.environmentId} IN (SELECT value FROM json_each(${ids}))`,
        gte(releases.createdAt, from),
      ),
    )
    .orderBy(desc(releases.createdAt))
    .limit(MOST_RELEASES);
  const byEnvironment = Map.groupBy(rows, (row) => row.environmentId);
  return named.map(({ id, ...names }) => ({
    ...names,
    releases: (byEnvironment.get(id) ?? []).map(
      ({ git, ...row }): Delivered => ({
        ...row,
        committedAt: git?.committedAt ? Date.parse(git.committedAt) : null,
      }),
    ),
  }));
}
