import { and, eq, sql } from "drizzle-orm";
import type { Db } from "../db.ts";
import { imageParts } from "../schema/images.ts";

export type PartRow = typeof imageParts.$inferSelect;

/** Waits to be made a blob of, and may be. */
const isPending = sql`${imageParts.isStored} AND NOT ${imageParts.isLeaving} AND ${imageParts.blob} IS NULL`;

/** Parts that wait under this digest, and what all of the app's come to that no blob is made of, begun ones too. */
export async function readPending(db: Db, appId: string, digest: string) {
  const [rows, sums] = await db.batch([
    db
      .select({ key: imageParts.key })
      .from(imageParts)
      .where(and(eq(imageParts.appId, appId), eq(imageParts.digest, digest), isPending))
      .limit(1),
    db
      .select({ bytes: sql<number>`coalesce(sum(${imageParts.size}), 0)`.as("bytes") })
      .from(imageParts)
      .where(and(eq(imageParts.appId, appId), sql`${imageParts.blob} IS NULL`)),
  ]);
  return { isThere: rows.length > 0, bytes: sums[0]?.bytes ?? 0 };
}

/** Notes an object before the bucket gets it. */
export const beginPart = (db: Db, row: Pick<PartRow, "key" | "appId" | "digest" | "size" | "usedAt">) =>
  db.insert(imageParts).values({ ...row, isStored: false });

/** False: it was given up meanwhile. */
export async function endPart(db: Db, key: string): Promise<boolean> {
  const rows = await db
    .update(imageParts)
    .set({ isStored: true })
    .where(and(eq(imageParts.key, key), eq(imageParts.isLeaving, false)))
    .returning({ key: imageParts.key });
  return rows.length === 1;
}

/** An object that the bucket did not take. */
export const dropPart = (db: Db, key: string) => db.delete(imageParts).where(eq(imageParts.key, key));

/** One row of each digest that waits. */
export async function findPending(
  db: Db,
  appId: string,
  digests: readonly string[],
): Promise<ReadonlyMap<string, Pick<PartRow, "key" | "size">>> {
  const rows = await db
    .select({ key: imageParts.key, digest: imageParts.digest, size: imageParts.size })
    .from(imageParts)
    .where(
      and(
        eq(imageParts.appId, appId),
        sql`${imageParts.digest} IN (SELECT value FROM json_each(${JSON.stringify(digests)}))`,
        isPending,
      ),
    );
  return new Map(rows.map(({ digest, ...row }) => [digest, row]));
}
