import { index, integer, sqliteTable, text } from "drizzle-orm/sqlite-core";
import { at } from "./columns.ts";

/** What those who come through Cloudflare Access may do, and where. Several of a person's add up. */
export const peopleGrants = sqliteTable(
  "people_grants",
  {
    id: text("id").primaryKey(),
    /** `ann@example.com`, `*@example.com`, `group:<name>`, `service:<client id>`. */
    who: text("who").notNull(),
    role: text("role", { enum: ["admin", "deployer", "approver", "viewer"] }).notNull(),
    app: text("app"),
    environment: text("environment"),
    createdAt: at("created_at").notNull(),
    createdBy: text("created_by").notNull(),
  },
  (t) => [index("people_grants_who").on(t.who)],
);

/** Accounts elsewhere that are a person's: `slack:T1/U1`, `github:583231`. */
export const peopleLinks = sqliteTable(
  "people_links",
  {
    identity: text("identity").primaryKey(),
    email: text("email").notNull(),
    createdAt: at("created_at").notNull(),
    createdBy: text("created_by").notNull(),
  },
  (t) => [index("people_links_email").on(t.email)],
);

/** The Access application in front of control: one row, or none. */
export const accessSettings = sqliteTable("access_settings", {
  id: integer("id").primaryKey(),
  /** Its issuer: `https://<team>.cloudflareaccess.com`. */
  issuer: text("issuer").notNull(),
  audience: text("audience").notNull(),
});
