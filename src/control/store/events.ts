import { and, desc, eq, gt, lt, sql } from "drizzle-orm";
import type { Db, Statement } from "./db.ts";
import { events } from "./schema/events.ts";
import { releases } from "./schema/releases.ts";

export type EventRow = typeof events.$inferSelect;
export type NewEvent = Omit<EventRow, "id">;

/** What an event may leave out. */
const NOTHING = { app: null, environment: null, environmentId: null, releaseId: null, data: {} };

export const insertEvent = (
  db: Db,
  event: Pick<NewEvent, "at" | "type" | "actor" | "message"> & Partial<NewEvent>,
) => db.insert(events).values({ ...NOTHING, ...event }) satisfies Statement;

/** A release's state and its events after an id, as of one moment: at rest with no events means that all were seen. */
export async function readFeed(db: Db, release: string, after: number) {
  const [states, rows] = await db.batch([
    db
      .select({
        state: releases.state,
        hasWorkers: sql<number>`EXISTS (SELECT 1 FROM json_each(${releases.spec}, '$.processes') p
          WHERE p.value ->> 'kind' = 'worker')`.as("has_workers"),
      })
      .from(releases)
      .where(eq(releases.id, release)),
    db
      .select()
      .from(events)
      .where(and(eq(events.releaseId, release), gt(events.id, after)))
      .orderBy(events.id)
      .limit(200),
  ]);
  return { state: states[0]?.state, hasWorkers: states[0]?.hasWorkers === 1, events: rows };
}

export interface AuditQuery {
  readonly before: number | null;
  readonly limit: number;
  /** The reader's scope; null is everything. */
  readonly app: string | null;
  readonly environment: string | null;
}

/** The audit log, newest first. */
export const listEvents = (db: Db, query: AuditQuery): Promise<EventRow[]> =>
  db
    .select()
    .from(events)
    .where(
      and(
        query.before === null ? undefined : lt(events.id, query.before),
        query.app === null ? undefined : eq(events.app, query.app),
        query.environment === null ? undefined : eq(events.environment, query.environment),
      ),
    )
    .orderBy(desc(events.id))
    .limit(query.limit)
    .all();
