import { sql } from "drizzle-orm";
import { index, integer, sqliteTable, text, uniqueIndex } from "drizzle-orm/sqlite-core";
import type { RunState } from "../../../domain/processes/run.ts";
import { at, json } from "./columns.ts";

/** Commands that run to their end, of schedules and of people. */
export const runs = sqliteTable(
  "runs",
  {
    id: text("id").primaryKey(),
    environmentId: text("environment_id").notNull(),
    releaseId: text("release_id").notNull(),
    /** Null: a person asked for it. */
    process: text("process"),
    command: json<readonly string[]>("command").notNull(),
    by: text("by").notNull(),
    dueAt: at("due_at"),
    missed: integer("missed").notNull().default(0),
    state: text("state").$type<RunState>().notNull(),
    cause: text("cause"),
    exitCode: integer("exit_code"),
    logs: json<readonly string[]>("logs").notNull().default([]),
    hostId: text("host_id"),
    jobId: text("job_id"),
    attempts: integer("attempts").notNull().default(0),
    stopBy: text("stop_by"),
    deadlineMs: integer("deadline_ms").notNull(),
    createdAt: at("created_at").notNull(),
    startedAt: at("started_at"),
    endedAt: at("ended_at"),
  },
  (t) => [
    index("runs_environment").on(t.environmentId, t.createdAt),
    index("runs_open").on(t.environmentId).where(sql`ended_at IS NULL`),
    // A time of a schedule is taken once, whoever decides about it.
    uniqueIndex("runs_due").on(t.environmentId, t.process, t.dueAt).where(sql`due_at IS NOT NULL`),
  ],
);
