import { index, integer, primaryKey, sqliteTable, text } from "drizzle-orm/sqlite-core";
import { at } from "./columns.ts";
import { environments } from "./environments.ts";

export const hostnames = sqliteTable(
  "hostnames",
  {
    hostname: text("hostname").primaryKey(),
    environmentId: text("environment_id")
      .notNull()
      .references(() => environments.id),
    /** With Cloudflare: the zone it is in, and the route that leads it to the edge. */
    zoneId: text("zone_id"),
    routeId: text("route_id"),
    /** The proxied record that was made for it; null: it had one of its own, which is left alone. */
    recordId: text("record_id"),
    /**
     * `pending`: control tries again; `foreign`: it can't or mustn't (another account's zone, a record or route that isn't
     * its own stands in the way), and only looks again. Null: nobody asked Cloudflare about it so far.
     */
    routeState: text("route_state", { enum: ["pending", "ready", "foreign"] }),
    routeCause: text("route_cause"),
    routeNextAt: at("route_next_at"),
  },
  (t) => [index("hostnames_environment").on(t.environmentId)],
);

/** Hostnames that an administrator let an app have: by the app's name, since they may be granted before it is there. */
export const hostnameGrants = sqliteTable(
  "hostname_grants",
  {
    app: text("app").notNull(),
    /** `shop.example.com`, or `*.shop.example.com`. */
    pattern: text("pattern").notNull(),
    /** It may be taken from another site. */
    claim: integer("claim", { mode: "boolean" }).notNull(),
    by: text("by").notNull(),
    createdAt: at("created_at").notNull(),
  },
  (t) => [primaryKey({ columns: [t.app, t.pattern] })],
);
