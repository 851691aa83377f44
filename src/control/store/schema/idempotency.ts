import { index, integer, sqliteTable, text } from "drizzle-orm/sqlite-core";
import { at, json } from "./columns.ts";

/** Answers of mutations, kept 24 h by principal, route and `Idempotency-Key`. */
export const idempotency = sqliteTable(
  "idempotency",
  {
    key: text("key").primaryKey(),
    bodyHash: text("body_hash").notNull(),
    status: integer("status"),
    headers: json<Record<string, string>>("headers"),
    body: text("body"),
    createdAt: at("created_at").notNull(),
  },
  (t) => [index("idempotency_age").on(t.createdAt)],
);
