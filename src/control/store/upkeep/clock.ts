import { and, eq, inArray, isNotNull, isNull, sql } from "drizzle-orm";
import { type Db, runBatch } from "../db.ts";
import { controlClock } from "../schema/control-clock.ts";
import { environments } from "../schema/environments.ts";
import { instances } from "../schema/instances.ts";
import { jobs } from "../schema/jobs.ts";
import { releases } from "../schema/releases.ts";

/** When control was there to listen. Whatever ran out while it was not, ran out unheard. */

export type ControlClock = typeof controlClock.$inferSelect;

/** The sweep comes each minute: two that are missing are no hiccup. */
const GAP_MS = 150_000;

/** Notes that control is there. */
export async function noteSweep(db: Db, now: number): Promise<ControlClock> {
  const [row] = await db
    .insert(controlClock)
    .values({ id: 1, sweptAt: now, backSince: now })
    .onConflictDoUpdate({
      target: controlClock.id,
      set: {
        backSince: sql`CASE WHEN ${now} - ${controlClock.sweptAt} > ${GAP_MS} THEN ${now} ELSE ${controlClock.backSince} END`,
        sweptAt: now,
      },
    })
    .returning();
  if (!row) throw new Error("an upsert answers its row");
  return row;
}

/** Since when control has been there without a gap, epoch ms: no host can be called silent for longer. */
export function backSince(clock: ControlClock | undefined, now: number): number {
  if (!clock) return 0;
  return now - clock.sweptAt > GAP_MS ? now : clock.backSince;
}

/**
 * Gives what ran on in an environment while control was away that time again: its releases' deadlines, its open jobs', and
 * the patience with instances that are starting.
 */
export async function forgiveAbsence(db: Db, environmentId: string, gapMs: number): Promise<void> {
  await runBatch(db, [
    db
      .update(environments)
      .set({ rev: sql`${environments.rev} + 1` })
      .where(eq(environments.id, environmentId)),
    db
      .update(releases)
      .set({ deadlineAt: sql`${releases.deadlineAt} + ${gapMs}` })
      .where(
        and(
          eq(releases.environmentId, environmentId),
          isNull(releases.endedAt),
          isNotNull(releases.deadlineAt),
        ),
      ),
    db
      .update(instances)
      .set({ stateSince: sql`${instances.stateSince} + ${gapMs}` })
      .where(
        and(
          eq(instances.environmentId, environmentId),
          isNull(instances.stoppedAt),
          inArray(instances.state, ["starting", "ready"]),
        ),
      ),
    db
      .update(jobs)
      .set({ deadlineAt: sql`${jobs.deadlineAt} + ${gapMs}` })
      .where(and(eq(jobs.environmentId, environmentId), isNull(jobs.finishedAt))),
  ]);
}

/** Whether one of these hosts, still ours, has not been heard from since. */
export async function isAnySilentSince(db: Db, hostIds: readonly string[], since: number): Promise<boolean> {
  const rows = await db.all(sql`SELECT 1 FROM hosts
    WHERE id IN (SELECT value FROM json_each(${JSON.stringify(hostIds)})) AND removed_at IS NULL
      AND coalesce(last_seen_at, 0) < ${since} LIMIT 1`);
  return rows.length > 0;
}
