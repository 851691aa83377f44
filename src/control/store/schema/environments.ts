import { integer, sqliteTable, text, uniqueIndex } from "drizzle-orm/sqlite-core";
import type { ScheduleMarks } from "../../../domain/processes/run.ts";
import type { Ending, Held } from "../../../domain/rollout/facts.ts";
import type { TrafficMode } from "../../../domain/routing/table.ts";
import type { EnvironmentSpec } from "../../../domain/spec.ts";
import { apps } from "./apps.ts";
import { at, json } from "./columns.ts";

export const environments = sqliteTable(
  "environments",
  {
    id: text("id").primaryKey(),
    appId: text("app_id")
      .notNull()
      .references(() => apps.id),
    name: text("name").notNull(),
    spec: json<EnvironmentSpec>("spec").notNull(),
    /** Rises with each batch of the coordinator or of `apply`. Never NULL: a guard that misses sets NULL and so fails the batch. */
    rev: integer("rev").notNull(),
    /** The highest fence that wrote here. */
    fence: integer("fence").notNull(),
    /** Last release that held all traffic. */
    stableReleaseId: text("stable_release_id"),
    /** Salt of the visitors' buckets: the id of the rollout that last began. */
    salt: text("salt").notNull(),
    previewKey: text("preview_key").notNull(),
    mode: json<TrafficMode>("mode").notNull(),
    /** A person's lock: no release begins while it holds. */
    held: json<Held>("held"),
    /** A person had it destroyed: everything of it is on its way out. */
    ending: json<Ending>("ending"),
    /** Number of the next release's default label. */
    nextVersion: integer("next_version").notNull(),
    /** When each scheduled process comes next. */
    schedules: json<ScheduleMarks>("schedules"),
    createdAt: at("created_at").notNull(),
    deletedAt: at("deleted_at"),
  },
  (t) => [uniqueIndex("environments_app_name").on(t.appId, t.name)],
);
