import { sqliteTable, text } from "drizzle-orm/sqlite-core";
import type { Ending } from "../../../domain/rollout/facts.ts";
import { at, json } from "./columns.ts";

export const apps = sqliteTable("apps", {
  id: text("id").primaryKey(),
  name: text("name").notNull().unique(),
  /** The manifest as it was last applied, verbatim. */
  manifest: text("manifest").notNull(),
  /** A person had it destroyed: nothing may be applied to it, and it goes with its last environment. */
  ending: json<Ending>("ending"),
  createdAt: at("created_at").notNull(),
  updatedAt: at("updated_at").notNull(),
});
