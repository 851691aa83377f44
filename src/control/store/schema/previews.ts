import { integer, primaryKey, sqliteTable, text } from "drizzle-orm/sqlite-core";
import { at, json } from "./columns.ts";

/** Where a preview comes from, as far as its CI job said: for people, and decides nothing. */
export interface PreviewSource {
  readonly sha?: string;
  readonly branch?: string;
  /** Of the pull request. */
  readonly url?: string;
}

/**
 * Pull requests' previews. A closed one's row stays for a while: what a job of before it was closed asks for comes too late.
 */
export const previews = sqliteTable(
  "previews",
  {
    app: text("app").notNull(),
    number: integer("number").notNull(),
    /** The environment that is the preview. */
    environmentId: text("environment_id").notNull(),
    /** The one that it was made after. */
    templateId: text("template_id").notNull(),
    createdAt: at("created_at").notNull(),
    updatedAt: at("updated_at").notNull(),
    expiresAt: at("expires_at").notNull(),
    closedAt: at("closed_at"),
    closedCause: text("closed_cause"),
    /** The newest CI run that said anything of it: an older one's word comes too late. */
    run: integer("run"),
    source: json<PreviewSource>("source").notNull(),
    by: text("by").notNull(),
  },
  (t) => [primaryKey({ columns: [t.app, t.number] })],
);
