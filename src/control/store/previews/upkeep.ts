import { lt, type SQL, sql } from "drizzle-orm";
import type { Db } from "../db.ts";
import { environments } from "../schema/environments.ts";
import { events } from "../schema/events.ts";
import { instances } from "../schema/instances.ts";
import { jobs } from "../schema/jobs.ts";
import { previews } from "../schema/previews.ts";
import { releases, verdicts } from "../schema/releases.ts";
import { runs } from "../schema/runs.ts";
import { secrets } from "../schema/secrets.ts";
import { tallies } from "../schema/tallies.ts";
import { slackThreads } from "../schema/webhooks.ts";

interface Stale {
  readonly app: string;
  readonly number: number;
  readonly environmentId: string;
  readonly cause: string;
}

/** Previews whose time is over, or whose template is gone, or has no rule for them any more, or that never got a release. */
export async function findStale(db: Db, now: number): Promise<Stale[]> {
  return db.all<Stale>(sql`
    SELECT app, number, environmentId, cause FROM (SELECT p.app, p.number, p.environment_id AS environmentId, CASE
      WHEN p.expires_at <= ${now} THEN 'its time is over'
      WHEN e.deleted_at IS NOT NULL THEN 'its environment is gone'
      WHEN t.id IS NULL OR t.deleted_at IS NOT NULL OR t.ending IS NOT NULL THEN 'the environment that it was made after is gone'
      WHEN t.spec ->> '$.previews.hostname' IS NULL THEN 'its manifest has no previews any more'
      WHEN p.updated_at < ${now - NEVER_RELEASED_MS} AND NOT EXISTS (SELECT 1 FROM releases r WHERE r.environment_id = p.environment_id)
        THEN 'nothing was ever released to it'
      END AS cause
    FROM previews p LEFT JOIN environments e ON e.id = p.environment_id LEFT JOIN environments t ON t.id = p.template_id
    WHERE p.closed_at IS NULL) WHERE cause IS NOT NULL LIMIT 50`);
}

/** Whoever opened it has died in between, or was refused, and could not take it back. */
const NEVER_RELEASED_MS = 15 * 60_000;

/** Closed ones whose environment nobody has told yet: whoever closed them may have died in between. */
export const findUntoldPreviews = (db: Db) =>
  db.all<{ id: string; by: string }>(sql`
    SELECT e.id, p.closed_cause AS by FROM previews p JOIN environments e ON e.id = p.environment_id
    WHERE p.closed_at IS NOT NULL AND e.deleted_at IS NULL AND e.ending IS NULL LIMIT 50`);

/** Living environments that are marked as previews, and of which there is no row: somebody restored an older database. */
export const findUnknownPreviews = (db: Db, before: number) =>
  db.all<{ id: string }>(sql`
    SELECT e.id FROM environments e WHERE e.deleted_at IS NULL AND e.ending IS NULL AND e.created_at < ${before}
      AND e.spec ->> '$.preview.number' IS NOT NULL
      AND NOT EXISTS (SELECT 1 FROM previews p WHERE p.environment_id = e.id) LIMIT 50`);

/** For so long a closed preview's row is kept: no job of before is on its way any more. */
const CLOSED_FOR_MS = 7 * 86_400_000;
/** As long as its events are, for the audit. */
const GONE_FOR_MS = 30 * 86_400_000;

/**
 * Drops what is left of previews long gone: each has an environment of its own, and there may be ten a day. The audit log's
 * links stay, as of all that is pruned.
 */
export async function dropGone(db: Db, now: number): Promise<void> {
  await db.delete(previews).where(lt(previews.closedAt, now - CLOSED_FOR_MS));
  const gone = sql`SELECT id FROM environments e WHERE e.deleted_at < ${now - GONE_FOR_MS}
    AND e.spec ->> '$.preview.number' IS NOT NULL
    AND NOT EXISTS (SELECT 1 FROM events v WHERE v.environment_id = e.id AND v.at >= ${now - GONE_FOR_MS})
    ORDER BY e.deleted_at LIMIT 20`;
  const ids = (await db.all<{ id: string }>(gone)).map(({ id }) => id);
  if (ids.length === 0) return;
  const these: SQL = sql`(SELECT value FROM json_each(${JSON.stringify(ids)}))`;
  const own = sql`(SELECT id FROM releases WHERE environment_id IN ${these})`;
  await db.batch([
    db.delete(verdicts).where(sql`release_id IN ${own}`),
    db.delete(slackThreads).where(sql`lane IN ${own}`),
    ...([jobs, runs, instances, releases, events, tallies, secrets] as const).map((table) =>
      db.delete(table).where(sql`environment_id IN ${these}`),
    ),
    db.delete(environments).where(sql`id IN ${these}`),
  ]);
}
