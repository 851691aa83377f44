import { index, integer, sqliteTable, text } from "drizzle-orm/sqlite-core";
import { at, json } from "./columns.ts";

/** The audit log and the event feed. Append only. */
export const events = sqliteTable(
  "events",
  {
    id: integer("id").primaryKey({ autoIncrement: true }),
    at: at("at").notNull(),
    type: text("type").notNull(),
    actor: text("actor").notNull(),
    app: text("app"),
    environment: text("environment"),
    environmentId: text("environment_id"),
    releaseId: text("release_id"),
    message: text("message").notNull(),
    data: json<Record<string, unknown>>("data").notNull(),
  },
  (t) => [
    index("events_release").on(t.releaseId, t.id),
    index("events_environment").on(t.environmentId, t.id),
    index("events_app").on(t.app, t.id),
  ],
);
