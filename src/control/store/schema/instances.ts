import { sql } from "drizzle-orm";
import { index, integer, sqliteTable, text, uniqueIndex } from "drizzle-orm/sqlite-core";
import type { InstanceState, Outage, ReportState } from "../../../domain/rollout/facts.ts";
import { at, json } from "./columns.ts";
import { releases } from "./releases.ts";

export const instances = sqliteTable(
  "instances",
  {
    id: text("id").primaryKey(),
    environmentId: text("environment_id").notNull(),
    releaseId: text("release_id")
      .notNull()
      .references(() => releases.id),
    hostId: text("host_id").notNull(),
    /** Null: a worker. */
    slotId: text("slot_id"),
    /** Name of the worker; null: the web. */
    process: text("process"),
    state: text("state").$type<InstanceState>().notNull(),
    stateSince: at("state_since").notNull(),
    /** When the drain is over and it may become warm or be stopped. */
    drainUntil: at("drain_until"),
    /** Last answer it gave control over its tunnel. */
    verifiedAt: at("verified_at"),
    verifyCause: text("verify_cause"),
    unreachableSince: at("unreachable_since"),
    /** The agent's last word on it. */
    reportSeq: integer("report_seq").notNull(),
    /** Of the agent process that said it: each numbers its reports from 1. */
    reportBoot: text("report_boot"),
    reportState: text("report_state").$type<ReportState>(),
    reportCause: text("report_cause"),
    reportAt: at("report_at"),
    /** Its last exits, oldest first: a crash loop is told by them, however short each outage was. */
    exits: json<number[]>("exits").notNull().default([]),
    /** When it was not ready or did not answer, within the last minute: what the coordinator saw of it. */
    outages: json<readonly Outage[]>("outages").notNull().default([]),
    /** Version of each secret it was started with, by name: what it still runs when one changes. */
    secretVersions: json<Record<string, number>>("secret_versions"),
    createdAt: at("created_at").notNull(),
    stoppedAt: at("stopped_at"),
  },
  (t) => [
    index("instances_release").on(t.releaseId),
    index("instances_live").on(t.environmentId).where(sql`stopped_at IS NULL`),
    index("instances_on_host").on(t.hostId).where(sql`stopped_at IS NULL`),
    // Each poll is held against them.
    index("instances_host").on(t.hostId).where(sql`stopped_at IS NULL`),
    // A slot holds one container: the second one to claim it fails its whole batch.
    uniqueIndex("instances_slot").on(t.slotId).where(sql`stopped_at IS NULL`),
  ],
);
