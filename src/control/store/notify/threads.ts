import { and, eq } from "drizzle-orm";
import type { Db } from "../db.ts";
import { slackThreads } from "../schema/webhooks.ts";

interface Place {
  readonly webhookId: string;
  /** Of which release the message tells. */
  readonly lane: string;
}

/** Where a release's message is; undefined: there is none yet. */
export const readThread = (
  db: Db,
  { webhookId, lane }: Place,
): Promise<typeof slackThreads.$inferSelect | undefined> =>
  db
    .select()
    .from(slackThreads)
    .where(and(eq(slackThreads.webhookId, webhookId), eq(slackThreads.lane, lane)))
    .get();

export async function keepThread(db: Db, row: typeof slackThreads.$inferInsert): Promise<void> {
  await db
    .insert(slackThreads)
    .values(row)
    .onConflictDoUpdate({
      target: [slackThreads.webhookId, slackThreads.lane],
      set: { ts: row.ts, channel: row.channel },
    });
}
