import { sql } from "drizzle-orm";
import { SLOT_REST_MS } from "../../domain/rollout/placing/placement.ts";
import type { Db, Statement } from "./db.ts";
import { slots } from "./schema/slots.ts";

/** Begins the rest of the slots that these instances leave. */
export const restSlotsOf = (db: Db, instances: readonly string[], now: number) =>
  db
    .update(slots)
    .set({ restUntil: now + SLOT_REST_MS })
    .where(
      sql`${slots.id} IN (SELECT slot_id FROM instances
        WHERE id IN (SELECT value FROM json_each(${JSON.stringify(instances)})))`,
    ) satisfies Statement;

/** The same for all of a host's that are taken, when the host goes. */
export const restSlotsOn = (db: Db, hostId: string, now: number) =>
  db
    .update(slots)
    .set({ restUntil: now + SLOT_REST_MS })
    .where(sql`${slots.hostId} = ${hostId} AND ${slots.environmentId} IS NOT NULL`) satisfies Statement;

/** Gives an environment's slots that have rested back to the pool. Only while its copies in KV say what its table says. */
export const freeRestedSlots = (db: Db, environmentId: string, now: number) =>
  db
    .update(slots)
    .set({ environmentId: null, restUntil: null })
    .where(
      sql`${slots.environmentId} = ${environmentId} AND ${slots.restUntil} <= ${now} AND NOT EXISTS (
        SELECT 1 FROM instances i WHERE i.slot_id = ${slots.id} AND i.stopped_at IS NULL)`,
    ) satisfies Statement;

/** What changes of a slot whose app is to be known by this name: nothing, where it is already. */
export const renamed = (publicHost: string) => ({
  publicHost,
  ruleVersion: sql<
    number | null
  >`CASE WHEN ${slots.publicHost} IS ${publicHost} THEN ${slots.ruleVersion} END`,
});

/** The first hostname of an environment is another now: its slots follow. */
export const renameSlots = (db: Db, environmentId: string, publicHost: string) =>
  db
    .update(slots)
    .set(renamed(publicHost))
    .where(
      sql`${slots.environmentId} = ${environmentId} AND ${slots.publicHost} IS NOT NULL`,
    ) satisfies Statement;
