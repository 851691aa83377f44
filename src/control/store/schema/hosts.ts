import { integer, sqliteTable, text } from "drizzle-orm/sqlite-core";
import type { Ending } from "../../../domain/rollout/facts.ts";
import { at, json } from "./columns.ts";

export const hosts = sqliteTable("hosts", {
  id: text("id").primaryKey(),
  name: text("name").notNull().unique(),
  labels: json<Record<string, string>>("labels").notNull(),
  runtime: text("runtime", { enum: ["docker", "process"] }).notNull(),
  agentVersion: text("agent_version").notNull(),
  /** Agent process, as of its last poll. Another one means that it restarted, and its leases are free. */
  boot: text("boot"),
  /** The agent process before that one. When it is heard again, the other was no restart of it but a second machine. */
  bootBefore: text("boot_before"),
  /** The process that came second, which is not heard any more. */
  bootRefused: text("boot_refused"),
  /** When two machines were last seen to use its token. */
  sharedAt: at("shared_at"),
  /** When a token that was its before was last tried. */
  staleTokenAt: at("stale_token_at"),
  lastSeenAt: at("last_seen_at"),
  /** The time before that: whether it was away, and whether it has had its say since something ran out. */
  seenBeforeAt: at("seen_before_at"),
  clockSkewMs: integer("clock_skew_ms"),
  /** What the host says of itself, and since when. */
  facts: json<Record<string, unknown>>("facts"),
  factsAt: at("facts_at"),
  /** Rises when its tunnel or the tunnel's token changed; null: it has none. */
  tunnelRev: integer("tunnel_rev"),
  /** A person asked for a new token. Null again when the agent has it. */
  rotateAt: at("rotate_at"),
  /** What runs on it moves to others, and nothing new comes. */
  draining: json<Ending>("draining"),
  createdAt: at("created_at").notNull(),
  removedAt: at("removed_at"),
});

export const enrollments = sqliteTable("enrollments", {
  hash: text("hash").primaryKey(),
  name: text("name").notNull(),
  labels: json<Record<string, string>>("labels").notNull(),
  slots: integer("slots").notNull(),
  createdBy: text("created_by").notNull(),
  createdAt: at("created_at").notNull(),
  expiresAt: at("expires_at").notNull(),
  usedAt: at("used_at"),
});
