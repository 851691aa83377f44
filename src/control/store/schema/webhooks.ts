import { sql } from "drizzle-orm";
import { index, integer, primaryKey, sqliteTable, text, uniqueIndex } from "drizzle-orm/sqlite-core";
import type { Severity } from "../../../domain/notify/notice.ts";
import { at, json } from "./columns.ts";

/**
 * Who is told of events, and where. The events are the outbox: each target knows the last one that was looked at for it, so
 * that whoever writes an event owes nothing more.
 */
export const webhooks = sqliteTable("webhooks", {
  id: text("id").primaryKey(),
  kind: text("kind", { enum: ["webhook", "slack", "slack_app", "otlp", "github"] }).notNull(),
  /** As people may see it: of Slack's own, where the address is the secret, the host only. */
  url: text("url").notNull(),
  app: text("app"),
  environment: text("environment"),
  /** Null: all. */
  events: json<readonly string[]>("events"),
  severity: text("severity").$type<Severity>().notNull(),
  /** What only the sender may know (notify/keys.ts). */
  sealed: text("sealed").notNull(),
  keyId: text("key_id").notNull(),
  /** Id of the last event that was looked at for it. */
  cursor: integer("cursor").notNull(),
  createdAt: at("created_at").notNull(),
  createdBy: text("created_by").notNull(),
  disabledAt: at("disabled_at"),
  disabledCause: text("disabled_cause"),
  /** Nothing is sent to it before: its own wish, or its pace. */
  quietUntil: at("quiet_until"),
});

/** What a target is sent: what is to be, and what was, for a while. */
export const deliveries = sqliteTable(
  "deliveries",
  {
    /** The same over all tries: by it a receiver knows what it has had. */
    id: text("id").primaryKey(),
    webhookId: text("webhook_id")
      .notNull()
      .references(() => webhooks.id, { onDelete: "cascade" }),
    eventId: integer("event_id").notNull(),
    type: text("type").notNull(),
    /** What is told in order: one release, or one environment, or the rest. */
    lane: text("lane").notNull(),
    body: text("body").notNull(),
    state: text("state", { enum: ["pending", "delivered", "failed"] }).notNull(),
    attempts: integer("attempts").notNull(),
    createdAt: at("created_at").notNull(),
    nextAttemptAt: at("next_attempt_at").notNull(),
    finishedAt: at("finished_at"),
    /** Of the last try. */
    status: integer("status"),
    error: text("error"),
  },
  (t) => [
    uniqueIndex("deliveries_event").on(t.webhookId, t.eventId),
    index("deliveries_pending").on(t.webhookId, t.lane, t.eventId).where(sql`state = 'pending'`),
    index("deliveries_due").on(t.nextAttemptAt).where(sql`state = 'pending'`),
    index("deliveries_finished").on(t.finishedAt).where(sql`finished_at IS NOT NULL`),
  ],
);

/** A release's message in a Slack channel, by Slack's name of it: it is changed as the release goes. */
export const slackThreads = sqliteTable(
  "slack_threads",
  {
    webhookId: text("webhook_id")
      .notNull()
      .references(() => webhooks.id, { onDelete: "cascade" }),
    lane: text("lane").notNull(),
    ts: text("ts").notNull(),
    /** Its id: a message is changed by the channel's id alone, not by its name. */
    channel: text("channel").notNull(),
  },
  (t) => [primaryKey({ columns: [t.webhookId, t.lane] })],
);
