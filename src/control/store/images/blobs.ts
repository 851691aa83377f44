import { and, eq, sql } from "drizzle-orm";
import { type Db, isLostRace } from "../db.ts";
import { imageBlobs, imageLayers, imageParts } from "../schema/images.ts";

export type BlobRow = typeof imageBlobs.$inferSelect;

const isOf = (appId: string, digest: string) =>
  and(eq(imageBlobs.appId, appId), eq(imageBlobs.digest, digest));

export const readBlob = (db: Db, appId: string, digest: string): Promise<BlobRow | undefined> =>
  db.select().from(imageBlobs).where(isOf(appId, digest)).get();

/** Makes a blob of parts that wait. False: one of them is no longer there for it. */
export async function insertBlob(db: Db, blob: BlobRow): Promise<boolean> {
  const keys = [...new Set(blob.parts.map(({ key }) => key))];
  const list = sql`(SELECT value FROM json_each(${JSON.stringify(keys)}))`;
  const free = sql`(SELECT count(*) FROM image_parts WHERE key IN ${list} AND blob IS NULL AND is_stored AND NOT is_leaving)`;
  try {
    await db.batch([
      // No size: the batch fails as a whole.
      db
        .insert(imageBlobs)
        .values({ ...blob, size: sql`CASE WHEN ${free} = ${keys.length} THEN ${blob.size} END` }),
      db.update(imageParts).set({ blob: blob.digest }).where(sql`${imageParts.key} IN ${list}`),
    ]);
    return true;
  } catch (error) {
    if (!isLostRace(error)) throw error;
    return false;
  }
}

interface Asked {
  readonly appId: string;
  readonly environmentId: string;
  readonly now: number;
  readonly layers: readonly string[];
  readonly blobs: readonly string[];
  readonly parts: readonly string[];
}

/** What of all that is there, and may be counted on for a while: what is asked for is not swept. */
export async function findKnown(db: Db, asked: Asked) {
  const { appId, environmentId, now } = asked;
  const among = (values: readonly string[]) => sql`(SELECT value FROM json_each(${JSON.stringify(values)}))`;
  const ofLayers = sql`SELECT digest FROM image_layers WHERE environment_id = ${environmentId} AND diff_id IN ${among(asked.layers)}`;
  const [blobs, layers, parts] = await db.batch([
    db
      .update(imageBlobs)
      .set({ usedAt: now })
      .where(
        sql`${imageBlobs.appId} = ${appId} AND (${imageBlobs.digest} IN ${among(asked.blobs)} OR ${imageBlobs.digest} IN (${ofLayers}))`,
      )
      .returning({ digest: imageBlobs.digest, size: imageBlobs.size }),
    db
      .select()
      .from(imageLayers)
      .where(
        sql`${imageLayers.environmentId} = ${environmentId} AND ${imageLayers.diffId} IN ${among(asked.layers)}`,
      ),
    db
      .update(imageParts)
      .set({ usedAt: now })
      .where(
        sql`${imageParts.appId} = ${appId} AND ${imageParts.digest} IN ${among(asked.parts)}
          AND ${imageParts.isStored} AND NOT ${imageParts.isLeaving} AND ${imageParts.blob} IS NULL`,
      )
      .returning({ digest: imageParts.digest }),
  ]);
  const sizes = new Map(blobs.map(({ digest, size }) => [digest, size]));
  return {
    layers: layers.flatMap(({ diffId, digest, mediaType }) => {
      const size = sizes.get(digest);
      return size === undefined ? [] : [{ diffId, digest, mediaType, size }];
    }),
    blobs: blobs.filter(({ digest }) => asked.blobs.includes(digest)),
    parts: [...new Set(parts.map(({ digest }) => digest))],
  };
}
