import { sql } from "drizzle-orm";
import { index, integer, sqliteTable, text } from "drizzle-orm/sqlite-core";
import { at, json } from "./columns.ts";

export const jobs = sqliteTable(
  "jobs",
  {
    /** Made from what it is for (`start-<instance>`): the same decision taken twice inserts one job. */
    id: text("id").primaryKey(),
    kind: text("kind", { enum: ["pull", "start", "stop", "run", "command", "accessory", "logs"] }).notNull(),
    hostId: text("host_id").notNull(),
    environmentId: text("environment_id").notNull(),
    /** Null: of no release (`accessory`, `logs`). */
    releaseId: text("release_id"),
    instanceId: text("instance_id"),
    fence: integer("fence").notNull(),
    /** The kind's own part of the wire's job. */
    payload: json<Record<string, unknown>>("payload").notNull(),
    state: text("state", { enum: ["queued", "leased", "done", "failed", "cancelled"] }).notNull(),
    lease: text("lease"),
    leaseBoot: text("lease_boot"),
    leaseExpiresAt: at("lease_expires_at"),
    attempts: integer("attempts").notNull(),
    progress: text("progress"),
    result: json<Record<string, unknown>>("result"),
    error: json<Record<string, unknown>>("error"),
    deadlineAt: at("deadline_at").notNull(),
    createdAt: at("created_at").notNull(),
    finishedAt: at("finished_at"),
  },
  (t) => [
    index("jobs_open").on(t.hostId, t.createdAt).where(sql`finished_at IS NULL`),
    index("jobs_unfinished").on(t.environmentId).where(sql`finished_at IS NULL`),
    index("jobs_release").on(t.releaseId),
    index("jobs_instance").on(t.instanceId).where(sql`instance_id IS NOT NULL`),
    index("jobs_finished").on(t.environmentId, t.finishedAt).where(sql`finished_at IS NOT NULL`),
    index("jobs_logs").on(t.deadlineAt).where(sql`kind = 'logs'`),
  ],
);
