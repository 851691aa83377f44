import { index, integer, primaryKey, sqliteTable, text } from "drizzle-orm/sqlite-core";
import { at, json } from "./columns.ts";

/** Images that were shipped without a registry: what of them lies in the bucket, and what it belongs to. */

/** An object of the bucket. A row is written before the object is, and goes after it: nothing lies there that nobody knows of. */
export const imageParts = sqliteTable(
  "image_parts",
  {
    /** Its key in the bucket, another one each time that the same part is sent. */
    key: text("key").primaryKey(),
    appId: text("app_id").notNull(),
    digest: text("digest").notNull(),
    size: integer("size").notNull(),
    /** The bucket has it. */
    isStored: integer("is_stored", { mode: "boolean" }).notNull(),
    /** The one blob that it is of; null: it waits for one. */
    blob: text("blob"),
    /** It is being removed. */
    isLeaving: integer("is_leaving", { mode: "boolean" }).notNull().default(false),
    /** When it was last sent or asked for. */
    usedAt: at("used_at").notNull(),
  },
  (t) => [index("image_parts_app").on(t.appId, t.digest)],
);

/** A layer or a configuration: whole, and its digest verified. */
export const imageBlobs = sqliteTable(
  "image_blobs",
  {
    appId: text("app_id").notNull(),
    digest: text("digest").notNull(),
    size: integer("size").notNull(),
    /** In their order. */
    parts: json<readonly { readonly key: string; readonly size: number }[]>("parts").notNull(),
    usedAt: at("used_at").notNull(),
  },
  (t) => [primaryKey({ columns: [t.appId, t.digest] })],
);

export const images = sqliteTable(
  "images",
  {
    appId: text("app_id").notNull(),
    digest: text("digest").notNull(),
    /** Its bytes: they are what the digest is of. */
    manifest: text("manifest").notNull(),
    /** Digests of its configuration and its layers. */
    blobs: json<readonly string[]>("blobs").notNull(),
    bytes: integer("bytes").notNull(),
    pushedBy: text("pushed_by").notNull(),
    usedAt: at("used_at").notNull(),
  },
  (t) => [primaryKey({ columns: [t.appId, t.digest] })],
);

/**
 * Which blob holds which files, by images of an environment: the word of whoever may deploy there, so nobody else is told
 * it. (The engine that unpacks a layer proves it.)
 */
export const imageLayers = sqliteTable(
  "image_layers",
  {
    environmentId: text("environment_id").notNull(),
    diffId: text("diff_id").notNull(),
    digest: text("digest").notNull(),
    mediaType: text("media_type").notNull(),
  },
  (t) => [primaryKey({ columns: [t.environmentId, t.diffId] })],
);
