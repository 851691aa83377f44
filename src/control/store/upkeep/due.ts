import { sql } from "drizzle-orm";
import { FULL_WEIGHT } from "../../../domain/routing/table.ts";
import type { Db } from "../db.ts";

/** Most environments one sweep pokes; the next one comes in a minute. */
const MAX_ENVIRONMENTS = 500;

/**
 * Environments with something that should have happened by `now`: a release on its way, a drain or a warm time that is
 * over, a split by hand whose lease is to be renewed, a contract hook whose time has come, an effect still owed, a job past
 * its deadline or its lease. Each part has an index of only such rows.
 */
export async function findDueEnvironments(db: Db, now: number): Promise<string[]> {
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
        WHERE i.stopped_at IS NULL AND (r.warm_until <= ${now} OR r.state = 'rolling_back')
      UNION SELECT environment_id FROM outbox WHERE next_attempt_at <= ${now}
      UNION SELECT environment_id FROM jobs WHERE finished_at IS NULL AND release_id IS NOT NULL
        AND (deadline_at <= ${now} OR lease_expires_at <= ${now}))
    LIMIT ${MAX_ENVIRONMENTS}`);
  return rows.map(({ id }) => id);
}
