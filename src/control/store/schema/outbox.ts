import { index, integer, sqliteTable, text } from "drizzle-orm/sqlite-core";
import { at, json } from "./columns.ts";

/** Effects outside D1 that a committed decision owes: delivered after the commit, again until they succeed. */
export const outbox = sqliteTable(
  "outbox",
  {
    id: integer("id").primaryKey({ autoIncrement: true }),
    environmentId: text("environment_id").notNull(),
    kind: text("kind", { enum: ["wake"] }).notNull(),
    payload: json<Record<string, unknown>>("payload").notNull(),
    attempts: integer("attempts").notNull(),
    createdAt: at("created_at").notNull(),
    nextAttemptAt: at("next_attempt_at").notNull(),
  },
  (t) => [index("outbox_environment").on(t.environmentId)],
);
