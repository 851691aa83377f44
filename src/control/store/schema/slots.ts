import { sql } from "drizzle-orm";
import { index, integer, sqliteTable, text, uniqueIndex } from "drizzle-orm/sqlite-core";
import { at } from "./columns.ts";
import { hosts } from "./hosts.ts";

export const slots = sqliteTable(
  "slots",
  {
    /** `<host id>/<n>` */
    id: text("id").primaryKey(),
    hostId: text("host_id")
      .notNull()
      .references(() => hosts.id),
    n: integer("n").notNull(),
    hostPort: integer("host_port").notNull(),
    /** What the edge fetches, e.g. `https://sl-k3x9.example.com`. */
    origin: text("origin").notNull(),
    /** Who uses it, or did until it has rested: a stale edge can only ever reach the same app here. */
    environmentId: text("environment_id"),
    /** Behind a tunnel, what its ingress rule gives the app as `Host`: the public name of whoever had it last. */
    publicHost: text("public_host"),
    /** The version of the ingress rules that do so; null: they are not written yet. */
    ruleVersion: integer("rule_version"),
    /** When its rest is over, and it may go back to the pool. */
    restUntil: at("rest_until"),
    /** Somebody else has its port: who and how, in words; and until when it is not tried. */
    asideCause: text("aside_cause"),
    asideUntil: at("aside_until"),
  },
  (t) => [
    uniqueIndex("slots_host_n").on(t.hostId, t.n),
    index("slots_environment").on(t.environmentId),
    index("slots_resting").on(t.restUntil).where(sql`rest_until IS NOT NULL`),
  ],
);
