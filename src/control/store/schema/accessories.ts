import { sql } from "drizzle-orm";
import { index, primaryKey, sqliteTable, text } from "drizzle-orm/sqlite-core";
import type { AccessorySpec } from "../../../domain/spec.ts";
import { at, json } from "./columns.ts";

/** Long-lived containers beside the app: what a person had started, and as what. */
export const accessories = sqliteTable(
  "accessories",
  {
    environmentId: text("environment_id").notNull(),
    name: text("name").notNull(),
    hostId: text("host_id").notNull(),
    /** As it was last started; the manifest may say otherwise by now. */
    spec: json<AccessorySpec>("spec").notNull(),
    /** Pinned by digest, once it was pulled. */
    pinnedImage: text("pinned_image"),
    state: text("state", { enum: ["starting", "running", "stopping", "stopped", "failed"] }).notNull(),
    stateSince: at("state_since").notNull(),
    cause: text("cause"),
    /** The job that changes it now, or changed it last. */
    jobId: text("job_id"),
    secretVersions: json<Record<string, number>>("secret_versions"),
    createdAt: at("created_at").notNull(),
  },
  (t) => [
    primaryKey({ columns: [t.environmentId, t.name] }),
    // Looked at with each job that ends: nearly always empty.
    index("accessories_moving").on(t.jobId).where(sql`state IN ('starting', 'stopping')`),
    index("accessories_host").on(t.hostId),
  ],
);
