import { integer, primaryKey, real, sqliteTable, text } from "drizzle-orm/sqlite-core";

/**
 * Counters that only rise, of things whose rows go one day: `/metrics` reads these few rows instead of counting all of
 * history at each scrape. Raised in the batch that made the thing so, and therefore once.
 */
export const tallies = sqliteTable(
  "tallies",
  {
    environmentId: text("environment_id").notNull(),
    metric: text("metric", {
      enum: ["deployments", "duration", "durationSum", "rollbacks", "checks"],
    }).notNull(),
    /** Its labels' values, parted by `|`, in the order that domain/rollout/tally.ts says. */
    labels: text("labels").notNull(),
    value: real("value").notNull(),
  },
  (t) => [primaryKey({ columns: [t.environmentId, t.metric, t.labels] })],
);

/** One row a day: what Sluice's objects counted of the account's allowances. Small enough to stay for good. */
export const daysOfUse = sqliteTable("days_of_use", {
  /** UTC days since 1970. */
  day: integer("day").primaryKey(),
  visitors: integer("visitors").notNull(),
  objectCalls: integer("object_calls").notNull(),
  objectRows: integer("object_rows").notNull(),
  tableCopies: integer("table_copies").notNull(),
});
