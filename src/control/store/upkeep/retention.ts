import { sql } from "drizzle-orm";
import { KEPT_BY_DEFAULT, type Retention } from "../../../domain/retention.ts";
import type { EnvironmentSpec } from "../../../domain/spec.ts";
import type { Db } from "../db.ts";
import { events } from "../schema/events.ts";
import { instances } from "../schema/instances.ts";
import { jobs } from "../schema/jobs.ts";
import { releases, verdicts } from "../schema/releases.ts";
import { runs } from "../schema/runs.ts";
import { slackThreads } from "../schema/webhooks.ts";
import { prunePastSecrets } from "../secrets.ts";

/** Rows of each kind that go at once, and environments that are looked at in one sweep. */
const PIECE = 500;
const ENVIRONMENTS_AT_ONCE = 2;
const MINUTE_MS = 60_000;

/** Drops what is older than an environment keeps, some of it: each sweep takes other environments, and comes back. */
export async function prune(db: Db, now: number): Promise<void> {
  for (const { id, kept } of await inTurn(db, now)) await pruneEnvironment(db, id, kept, now);
}

/** Environments in the order of their ids, some each minute, round and round. Deleted ones, too: their rows age as well. */
async function inTurn(db: Db, now: number): Promise<{ id: string; kept: Retention }[]> {
  const minute = Math.floor(now / MINUTE_MS);
  const rows = await db.all<{ id: string; spec: string }>(sql`
    SELECT id, spec FROM environments ORDER BY id LIMIT ${ENVIRONMENTS_AT_ONCE} OFFSET
      (${minute * ENVIRONMENTS_AT_ONCE} % max(1, (SELECT count(*) FROM environments)))`);
  return rows.map(({ id, spec }) => ({
    id,
    // Written by control, as the manifest's normalised form.
    kept: (JSON.parse(spec) as EnvironmentSpec).retention ?? KEPT_BY_DEFAULT,
  }));
}

/**
 * One batch, so that a release never goes without what belongs to it. What a tick reads (store/environments.ts) stays, however
 * old: what runs or is on its way, and the releases that a rollback may name.
 */
async function pruneEnvironment(db: Db, id: string, kept: Retention, now: number): Promise<void> {
  const inUse = sql`
    SELECT id FROM releases WHERE environment_id = ${id} AND ended_at IS NULL
    UNION SELECT id FROM releases WHERE environment_id = ${id} AND weight_bp > 0
    UNION SELECT release_id FROM instances WHERE environment_id = ${id} AND stopped_at IS NULL`;
  const served = sql`
    SELECT id FROM releases WHERE environment_id = ${id} AND serving_at IS NOT NULL
      ORDER BY serving_at DESC LIMIT ${kept.servedAtLeast}`;
  const old = sql`
    SELECT id FROM releases WHERE environment_id = ${id} AND ended_at < ${now - kept.releasesMs}
      AND id NOT IN (${inUse})
      AND id NOT IN (${served})
    ORDER BY created_at LIMIT ${PIECE / 10}`;
  await db.batch([
    db.delete(jobs).where(sql`id IN (SELECT id FROM jobs WHERE environment_id = ${id}
      AND finished_at < ${now - kept.jobsMs} AND (release_id IS NULL OR release_id NOT IN (${inUse})) LIMIT ${PIECE})`),
    db.delete(runs).where(sql`id IN (SELECT id FROM runs WHERE environment_id = ${id}
      AND ended_at < ${now - kept.jobsMs} ORDER BY created_at LIMIT ${PIECE})`),
    db
      .delete(verdicts)
      .where(sql`rowid IN (SELECT v.rowid FROM releases r JOIN verdicts v ON v.release_id = r.id
      WHERE r.environment_id = ${id} AND r.ended_at < ${now - kept.verdictsMs} LIMIT ${PIECE})`),
    // Ids rise with time: the oldest are at the beginning of the index, and no more than a piece of it is read.
    db.delete(events).where(sql`id IN (SELECT id FROM (SELECT id, at FROM events WHERE environment_id = ${id}
      ORDER BY id LIMIT ${PIECE}) WHERE at < ${now - kept.eventsMs})`),
    // Found by its whole key, so that nothing is read where nothing goes.
    db
      .delete(slackThreads)
      .where(sql`(webhook_id, lane) IN (SELECT webhooks.id, gone.id FROM (${old}) AS gone, webhooks)`),
    db.delete(jobs).where(sql`release_id IN (${old})`),
    db.delete(verdicts).where(sql`release_id IN (${old})`),
    db.delete(instances).where(sql`release_id IN (${old})`),
    db.delete(releases).where(sql`id IN (${old})`),
    prunePastSecrets(db, id, sql`SELECT * FROM (${inUse}) UNION SELECT * FROM (${served})`),
  ]);
}
