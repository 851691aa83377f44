import { integer, sqliteTable, text } from "drizzle-orm/sqlite-core";
import { at } from "./columns.ts";

/** The audit log's chain (domain/audit-chain.ts): a link for each event, which stays when the event is pruned. */
export const auditLinks = sqliteTable("audit_links", {
  eventId: integer("event_id").primaryKey(),
  /** Of the event, as it was written. */
  at: at("at").notNull(),
  environmentId: text("environment_id"),
  leaf: text("leaf").notNull(),
  hash: text("hash").notNull(),
});
