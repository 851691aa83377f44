import { index, sqliteTable, text } from "drizzle-orm/sqlite-core";
import { at } from "./columns.ts";

/** A browser that somebody signed in with a token. What it may do is asked of that token, each time. */
export const sessions = sqliteTable(
  "sessions",
  {
    /** SHA-256 of what the cookie holds, hex. */
    hash: text("hash").primaryKey(),
    /** SHA-256 of the token, hex: also the first administrator's, which is in no table. */
    tokenHash: text("token_hash").notNull(),
    createdAt: at("created_at").notNull(),
    expiresAt: at("expires_at").notNull(),
  },
  (t) => [index("sessions_age").on(t.expiresAt)],
);
