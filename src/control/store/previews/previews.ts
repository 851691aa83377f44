import { and, asc, eq, getTableColumns, isNull, sql } from "drizzle-orm";
import type { Db, Statement } from "../db.ts";
import { apps } from "../schema/apps.ts";
import { environments } from "../schema/environments.ts";
import { hostnames } from "../schema/hostnames.ts";
import { previews } from "../schema/previews.ts";

export type PreviewRow = typeof previews.$inferSelect;

export const readPreview = (db: Db, app: string, number: number): Promise<PreviewRow | undefined> =>
  db
    .select()
    .from(previews)
    .where(and(eq(previews.app, app), eq(previews.number, number)))
    .get();

/** Of an app, with how far each one's environment is. */
export const listPreviews = (db: Db, app: string) =>
  db
    .select({
      ...getTableColumns(previews),
      ending: environments.ending,
      deletedAt: environments.deletedAt,
      spec: environments.spec,
      stableReleaseId: environments.stableReleaseId,
    })
    .from(previews)
    .innerJoin(environments, eq(environments.id, previews.environmentId))
    .where(
      and(eq(previews.app, app), sql`(${previews.closedAt} IS NULL OR ${environments.deletedAt} IS NULL)`),
    )
    .orderBy(asc(previews.number))
    .all();

export const countOpen = (db: Db, app: string): Promise<number> =>
  db.$count(previews, and(eq(previews.app, app), isNull(previews.closedAt)));

/**
 * Opens a preview, or renews it, which takes no other's place. Fails its batch when there are as many by now as there may be, or
 * when it is not as it was read.
 */
export function putPreview(
  db: Db,
  row: PreviewRow,
  { max, before }: { readonly max: number; readonly before: PreviewRow | undefined },
): Statement {
  const others = sql`(SELECT count(*) FROM previews p WHERE p.app = ${row.app} AND p.closed_at IS NULL AND p.number <> ${row.number})`;
  const room = sql<string>`CASE WHEN ${others} < ${max} THEN ${row.app} END`;
  if (!before) return db.insert(previews).values({ ...row, app: room }) satisfies Statement;
  const place = before.closedAt === null ? row.app : room;
  return db
    .update(previews)
    .set({ ...row, app: sql`CASE WHEN ${previews.updatedAt} = ${before.updatedAt} THEN ${place} END` })
    .where(and(eq(previews.app, row.app), eq(previews.number, row.number))) satisfies Statement;
}

/** From now on nothing of before counts: not a job that is on its way. */
export const closePreview = (
  db: Db,
  at: Pick<PreviewRow, "app" | "number">,
  closed: { closedAt: number; closedCause: string; run: number | null },
) =>
  db
    .update(previews)
    .set({
      ...closed,
      run: sql`max(coalesce(${previews.run}, ${closed.run}), coalesce(${closed.run}, ${previews.run}))`,
      updatedAt: sql`max(${closed.closedAt}, ${previews.updatedAt} + 1)`,
    })
    .where(
      and(eq(previews.app, at.app), eq(previews.number, at.number), isNull(previews.closedAt)),
    ) satisfies Statement;

/** What a preview is made after: the app's environment that has a rule for it. */
export async function readTemplate(db: Db, app: string) {
  const row = await db
    .select({ appId: apps.id, environment: environments })
    .from(environments)
    .innerJoin(apps, eq(apps.id, environments.appId))
    .where(
      and(
        eq(apps.name, app),
        isNull(environments.deletedAt),
        isNull(environments.ending),
        isNull(apps.ending),
        sql`${environments.spec} ->> '$.previews.hostname' IS NOT NULL`,
      ),
    )
    .get();
  return row;
}
export type Template = NonNullable<Awaited<ReturnType<typeof readTemplate>>>;

/** The living environment of that name, whatever it is. */
export const readNamed = (db: Db, appId: string, name: string) =>
  db
    .select()
    .from(environments)
    .where(and(eq(environments.appId, appId), eq(environments.name, name)))
    .get();

/** Whose a hostname is. */
export const readOwner = (db: Db, hostname: string) =>
  db
    .select({ environmentId: hostnames.environmentId, app: apps.name, environment: environments.name })
    .from(hostnames)
    .innerJoin(environments, eq(environments.id, hostnames.environmentId))
    .innerJoin(apps, eq(apps.id, environments.appId))
    .where(eq(hostnames.hostname, hostname))
    .get();
