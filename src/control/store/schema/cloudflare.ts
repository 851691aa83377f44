import { index, integer, sqliteTable, text, uniqueIndex } from "drizzle-orm/sqlite-core";
import { at } from "./columns.ts";

/** A host's tunnel at Cloudflare: what is wanted, how far it is. The token is never kept: Cloudflare tells it when asked. */
export const tunnels = sqliteTable("tunnels", {
  hostId: text("host_id").primaryKey(),
  /** Its name at Cloudflare. */
  name: text("name").notNull(),
  tunnelId: text("tunnel_id"),
  /** Of the ingress rules that were written last. */
  configVersion: integer("config_version"),
  state: text("state", { enum: ["pending", "ready", "removing", "removed"] }).notNull(),
  /** Why it is not there yet, in words. */
  cause: text("cause"),
  attempts: integer("attempts").notNull(),
  nextAttemptAt: at("next_attempt_at"),
  createdAt: at("created_at").notNull(),
  updatedAt: at("updated_at").notNull(),
});

/**
 * Everything that control made at Cloudflare, so that it removes that and nothing else. A row is written before the thing is
 * made, and gets its id after.
 */
export const cloudflareResources = sqliteTable(
  "cloudflare_resources",
  {
    id: integer("id").primaryKey({ autoIncrement: true }),
    /** The host it was made for; null: for a hostname. */
    hostId: text("host_id"),
    /** The public hostname it was made for. */
    hostname: text("hostname"),
    kind: text("kind", {
      enum: ["tunnel", "dns_record", "route", "access_application", "access_policy", "service_token"],
    }).notNull(),
    /** Its id at Cloudflare; null: about to be made, and perhaps there already under its name. */
    remoteId: text("remote_id"),
    /** Hostname, pattern or name: what a person would look for. */
    name: text("name").notNull(),
    zoneId: text("zone_id"),
    createdAt: at("created_at").notNull(),
  },
  (t) => [
    uniqueIndex("cloudflare_resources_name").on(t.kind, t.name),
    index("cloudflare_resources_host").on(t.hostId),
  ],
);
