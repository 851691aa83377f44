import { and, eq, sql } from "drizzle-orm";
import { dataSize } from "../../../domain/data-size.ts";
import { type Db, isLostRace, runBatch, type Statement } from "../db.ts";
import { insertEvent } from "../events.ts";
import { imageBlobs, imageLayers, images } from "../schema/images.ts";

export type ImageRow = typeof images.$inferSelect;

const isOf = (appId: string, digest: string) => and(eq(images.appId, appId), eq(images.digest, digest));

/** Has an image that is there kept for a while longer. */
export async function touchImage(db: Db, of: { appId: string; digest: string; now: number }) {
  const rows = await db
    .update(images)
    .set({ usedAt: of.now })
    .where(isOf(of.appId, of.digest))
    .returning({ bytes: images.bytes });
  return rows[0];
}

/** Sizes of those blobs of an app that are there. */
export async function sizesOf(db: Db, appId: string, digests: readonly string[]) {
  const rows = await db
    .select({ digest: imageBlobs.digest, size: imageBlobs.size })
    .from(imageBlobs)
    .where(
      and(
        eq(imageBlobs.appId, appId),
        sql`${imageBlobs.digest} IN (SELECT value FROM json_each(${JSON.stringify(digests)}))`,
      ),
    );
  return new Map(rows.map(({ digest, size }) => [digest, size]));
}

export interface NewImage {
  readonly image: ImageRow;
  readonly environment: { readonly id: string; readonly app: string; readonly name: string };
  readonly layers: readonly {
    readonly diffId: string;
    readonly digest: string;
    readonly mediaType: string;
  }[];
}

/** Which blob holds which files, as an image of this environment has it. */
export const noteLayers = (db: Db, { environment, layers }: Pick<NewImage, "environment" | "layers">) =>
  db
    .insert(imageLayers)
    .select(
      sql`SELECT ${environment.id}, value ->> 'diffId', value ->> 'digest', value ->> 'mediaType'
        FROM json_each(${JSON.stringify(layers)}) WHERE true`,
    )
    .onConflictDoUpdate({
      target: [imageLayers.environmentId, imageLayers.diffId],
      set: { digest: sql`excluded.digest`, mediaType: sql`excluded.media_type` },
    }) satisfies Statement;

/** Keeps an image. False: one of its blobs is gone. */
export async function insertImage(db: Db, { image, environment, layers }: NewImage): Promise<boolean> {
  const digests = [...new Set(image.blobs)];
  const there = sql`(SELECT count(*) FROM image_blobs WHERE app_id = ${image.appId}
    AND digest IN (SELECT value FROM json_each(${JSON.stringify(digests)})))`;
  try {
    await runBatch(db, [
      db
        .insert(images)
        // Nothing to write where it is not whole: the batch fails.
        .values({ ...image, bytes: sql`CASE WHEN ${there} = ${digests.length} THEN ${image.bytes} END` })
        .onConflictDoUpdate({ target: [images.appId, images.digest], set: { usedAt: image.usedAt } }),
      noteLayers(db, { environment, layers }),
      insertEvent(db, {
        at: image.usedAt,
        type: "image.shipped",
        actor: image.pushedBy,
        app: environment.app,
        environment: environment.name,
        environmentId: environment.id,
        message: `${environment.app}: an image of ${dataSize(image.bytes)} is kept for its hosts`,
        data: { digest: image.digest, bytes: image.bytes },
      }),
    ]);
    return true;
  } catch (error) {
    if (!isLostRace(error)) throw error;
    return false;
  }
}

/**
 * An image that a host has to have, by its digest: of the app of a job that it works on, or of an instance that is meant to run
 * there. Other hosts, and images of other apps, are no business of its.
 */
export async function findWanted(db: Db, hostId: string, digest: string): Promise<ImageRow | undefined> {
  const suffix = `@${digest}`;
  return db
    .select()
    .from(images)
    .where(
      and(
        eq(images.digest, digest),
        sql`(${images.appId} IN (
          SELECT e.app_id FROM jobs j JOIN environments e ON e.id = j.environment_id
          WHERE j.host_id = ${hostId} AND j.finished_at IS NULL AND j.state = 'leased'
            AND substr(coalesce(j.payload ->> '$.image', j.payload ->> '$.spec.image'), ${-suffix.length}) = ${suffix})
        OR ${images.appId} IN (
          SELECT e.app_id FROM instances i JOIN releases r ON r.id = i.release_id JOIN environments e ON e.id = i.environment_id
          WHERE i.host_id = ${hostId} AND i.stopped_at IS NULL AND r.digest = ${digest}))`,
      ),
    )
    .get();
}
