import { integer, sqliteTable } from "drizzle-orm/sqlite-core";
import { at } from "./columns.ts";

/** One row: when control last was there to listen, and since when it has been without a gap. */
export const controlClock = sqliteTable("control_clock", {
  id: integer("id").primaryKey(),
  sweptAt: at("swept_at").notNull(),
  backSince: at("back_since").notNull(),
});
