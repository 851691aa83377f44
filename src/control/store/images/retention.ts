import { sql } from "drizzle-orm";
import type { Db } from "../db.ts";
import { imageBlobs, imageLayers, imageParts, images } from "../schema/images.ts";

/** Rows of each kind in one sweep; one call of the bucket removes as many objects. */
const PIECE = 500;
/** A day: whoever ships has that long between an upload and its release. */
const SPARED_MS = 86_400_000;
/** Releases that a rollback may name, as a tick reads them (store/environments.ts). */
const SERVED_IN_VIEW = 20;

/**
 * Lets go of what no release needs that runs, is on its way, or may be gone back to, and of uploads that nobody finished.
 * Answers keys of objects that nothing refers to any more: once the bucket has removed them, {@link forgetParts}.
 */
export async function releaseUnused(db: Db, now: number): Promise<string[]> {
  const old = now - SPARED_MS;
  const needed = sql`
    SELECT e.app_id, r.digest FROM releases r JOIN environments e ON e.id = r.environment_id
    WHERE e.deleted_at IS NULL AND r.digest IS NOT NULL AND (
      r.ended_at IS NULL OR r.weight_bp > 0
      OR r.id IN (SELECT release_id FROM instances WHERE environment_id = e.id AND stopped_at IS NULL)
      OR r.id IN (SELECT id FROM releases WHERE environment_id = e.id AND serving_at IS NOT NULL
        ORDER BY serving_at DESC LIMIT ${SERVED_IN_VIEW}))`;
  // Queued ones have no digest yet, and name it.
  const queued = sql`SELECT 1 FROM releases q JOIN environments e ON e.id = q.environment_id
    WHERE q.ended_at IS NULL AND e.app_id = images.app_id AND substr(q.image, -71) = images.digest`;
  const named = sql`SELECT i.app_id, b.value FROM images i, json_each(i.blobs) b`;
  const [, , , leaving] = await db.batch([
    db
      .delete(images)
      .where(
        sql`${images.usedAt} < ${old} AND (app_id, digest) NOT IN (${needed}) AND NOT EXISTS (${queued})`,
      ),
    db
      .delete(imageBlobs)
      .where(
        sql`rowid IN (SELECT rowid FROM image_blobs WHERE used_at < ${old} AND (app_id, digest) NOT IN (${named}) LIMIT ${PIECE})`,
      ),
    // By their keys: the same blob may have come again, of other parts.
    db
      .update(imageParts)
      .set({ isLeaving: true })
      .where(
        sql`key IN (SELECT p.key FROM image_parts p WHERE NOT p.is_leaving AND p.used_at < ${old} AND (p.blob IS NULL OR NOT EXISTS (
          SELECT 1 FROM image_blobs b, json_each(b.parts) one
          WHERE b.app_id = p.app_id AND b.digest = p.blob AND one.value ->> 'key' = p.key)) LIMIT ${PIECE})`,
      ),
    db.select({ key: imageParts.key }).from(imageParts).where(sql`${imageParts.isLeaving}`).limit(PIECE),
    db.delete(imageLayers).where(
      sql`NOT EXISTS (SELECT 1 FROM image_blobs b JOIN environments e ON e.app_id = b.app_id
          WHERE e.id = environment_id AND e.deleted_at IS NULL AND b.digest = image_layers.digest)`,
    ),
  ]);
  return leaving.map(({ key }) => key);
}

/** Their objects are gone. */
export const forgetParts = (db: Db, keys: readonly string[]) =>
  db
    .delete(imageParts)
    .where(
      sql`${imageParts.isLeaving} AND ${imageParts.key} IN (SELECT value FROM json_each(${JSON.stringify(keys)}))`,
    );

/** What is kept, of all apps. */
export async function readImageTotals(db: Db) {
  const [kept, stored] = await db.batch([
    db
      .select({
        images: sql<number>`count(*)`.as("images"),
        apps: sql<number>`count(DISTINCT ${images.appId})`.as("apps"),
      })
      .from(images),
    db
      .select({
        bytes: sql<number>`coalesce(sum(${imageParts.size}), 0)`.as("bytes"),
        pending: sql<number>`coalesce(sum(iif(${imageParts.blob} IS NULL, ${imageParts.size}, 0)), 0)`.as(
          "pending",
        ),
      })
      .from(imageParts),
  ]);
  return {
    images: kept[0]?.images ?? 0,
    apps: kept[0]?.apps ?? 0,
    bytes: stored[0]?.bytes ?? 0,
    pending: stored[0]?.pending ?? 0,
  };
}
