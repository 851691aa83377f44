import { sql } from "drizzle-orm";
import { FULL_WEIGHT } from "../../../domain/routing/table.ts";
import type { Db } from "../db.ts";

/** Most environments one sweep pokes; the next one comes in a minute. */
const MAX_ENVIRONMENTS = 500;

/** A sweep may fail, or be late: hosts that fell silent within this are looked at again. */
const LOOK_BACK_MS = 300_000;

/**
 * Environments with something that should have happened by `now`: a release on its way, a drain or a warm time that is
 * over, a split by hand whose lease is to be renewed, a contract hook whose time has come, an effect still owed, a job past
 * its deadline or its lease, a host that fell silent or is to be emptied, an end that a person ordered, a slot that has
 * rested. Each part has an index of only such rows. `silentBefore`: a host last heard from before this is silent.
 */
export async function findDueEnvironments(db: Db, now: number, silentBefore = 0): Promise<string[]> {
  // D1 takes no more than five parts in one compound: two of them, within a third.
  const rows = await db.all<{ id: string }>(sql`
    SELECT id FROM (
      SELECT environment_id AS id FROM releases WHERE ended_at IS NULL AND state IN
        ('queued', 'preparing', 'starting', 'verifying', 'shifting', 'settling', 'rolling_back')
      UNION SELECT environment_id FROM releases WHERE weight_bp > 0 AND weight_bp < ${FULL_WEIGHT}
      UNION SELECT environment_id FROM releases WHERE weight_bp > 0 AND state = 'live' AND contracted_at IS NULL
        AND kind = 'deploy' AND spec ->> '$.hooks.contract' IS NOT NULL
        AND serving_at + (spec ->> '$.keepMs') <= ${now})
    UNION SELECT id FROM (
      SELECT environment_id AS id FROM instances WHERE stopped_at IS NULL
        AND (drain_until <= ${now} OR state IN ('pending', 'starting', 'stopping'))
      UNION SELECT i.environment_id FROM instances i JOIN releases r ON r.id = i.release_id
        WHERE i.stopped_at IS NULL AND (r.warm_until IS NOT NULL OR r.state = 'rolling_back')
      UNION SELECT environment_id FROM releases WHERE weight_bp > 0 AND state = 'live'
        AND (replacing IS NOT NULL OR failure ->> '$.code' = 'instances_lost')
      UNION SELECT environment_id FROM outbox WHERE next_attempt_at <= ${now}
      UNION SELECT environment_id FROM jobs WHERE finished_at IS NULL AND release_id IS NOT NULL
        AND (deadline_at <= ${now} OR lease_expires_at <= ${now}))
    UNION SELECT id FROM (
      SELECT i.environment_id AS id FROM hosts h JOIN instances i ON i.host_id = h.id AND i.stopped_at IS NULL
        WHERE h.draining IS NOT NULL OR h.removed_at IS NOT NULL
          OR h.last_seen_at BETWEEN ${silentBefore - LOOK_BACK_MS} AND ${silentBefore}
      UNION SELECT id FROM environments WHERE ending IS NOT NULL AND deleted_at IS NULL
      UNION SELECT id FROM environments WHERE deleted_at IS NULL AND EXISTS
        (SELECT 1 FROM json_each(schedules) s WHERE s.value ->> 'dueAt' <= ${now})
      UNION SELECT environment_id FROM slots WHERE rest_until <= ${now} AND environment_id IS NOT NULL)
    LIMIT ${MAX_ENVIRONMENTS}`);
  return rows.map(({ id }) => id);
}

/** Environments that have instances on these hosts. */
export async function findEnvironmentsOn(db: Db, hostIds: readonly string[]): Promise<string[]> {
  const rows = await db.all<{ id: string }>(sql`
    SELECT DISTINCT environment_id AS id FROM instances
    WHERE host_id IN (SELECT value FROM json_each(${JSON.stringify(hostIds)})) AND stopped_at IS NULL`);
  return rows.map(({ id }) => id);
}
