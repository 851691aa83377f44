import { asc, desc, eq, gt, sql } from "drizzle-orm";
import { type ChainedEvent, type Entry, GENESIS, type Head, type Link } from "../../domain/audit-chain.ts";
import type { Db } from "./db.ts";
import { auditLinks } from "./schema/audit.ts";
import { events } from "./schema/events.ts";

/** Where the chain in D1 ends. */
export async function readHead(db: Db): Promise<Head> {
  const row = await db.select().from(auditLinks).orderBy(desc(auditLinks.eventId)).limit(1).get();
  return row ? { id: row.eventId, hash: row.hash } : GENESIS;
}

export async function hasLink(db: Db, { id, hash }: Head): Promise<boolean> {
  const row = await db.select().from(auditLinks).where(eq(auditLinks.eventId, id)).get();
  return row?.hash === hash;
}

/** Events after an id, oldest first. Ids rise in the order of D1's transactions, so none comes in between later. */
export const eventsAfter = (db: Db, id: number, limit: number): Promise<ChainedEvent[]> =>
  db.select().from(events).where(gt(events.id, id)).orderBy(asc(events.id)).limit(limit).all();

/** Fails where another one wrote one of them before: of two who go on from the same head only one can. */
export async function insertLinks(db: Db, links: readonly Link[]): Promise<void> {
  // As one value: D1 binds 100 to a statement.
  await db.run(sql`
    INSERT INTO audit_links (event_id, at, environment_id, leaf, hash)
    SELECT value ->> 'id', value ->> 'at', value ->> 'environmentId', value ->> 'leaf', value ->> 'hash'
    FROM json_each(${JSON.stringify(links)})`);
}

/** Links after an id with their events, and events up to the last of them that have no link. Oldest first. */
export async function readEntries(db: Db, after: number, limit: number): Promise<Entry[]> {
  const links = await db
    .select()
    .from(auditLinks)
    .where(gt(auditLinks.eventId, after))
    .orderBy(asc(auditLinks.eventId))
    .limit(limit)
    .all();
  const last = links.at(-1)?.eventId;
  if (last === undefined) return [];
  const rows = await db
    .select()
    .from(events)
    .where(sql`${events.id} > ${after} AND ${events.id} <= ${last}`)
    .all();
  const byId = new Map(rows.map((event) => [event.id, event]));
  const linked = new Set(links.map(({ eventId }) => eventId));
  const entries: Entry[] = links.map(({ eventId: id, ...link }) => ({
    id,
    link: { id, ...link },
    event: byId.get(id) ?? null,
  }));
  const strangers = rows.filter(({ id }) => !linked.has(id)).slice(0, limit);
  const others: Entry[] = strangers.map((event) => ({ id: event.id, link: null, event }));
  return [...entries, ...others].toSorted((a, b) => a.id - b.id);
}
