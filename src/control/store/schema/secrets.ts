import { integer, primaryKey, sqliteTable, text } from "drizzle-orm/sqlite-core";
import { at } from "./columns.ts";

/** An environment's secrets, sealed (AES-GCM; `control/secrets/seal.ts`). The value is nowhere else. */
export const secrets = sqliteTable(
  "secrets",
  {
    environmentId: text("environment_id").notNull(),
    name: text("name").notNull(),
    sealed: text("sealed").notNull(),
    keyId: text("key_id").notNull(),
    /** Rises with each new value. */
    version: integer("version").notNull(),
    updatedAt: at("updated_at").notNull(),
    updatedBy: text("updated_by").notNull(),
  },
  (t) => [primaryKey({ columns: [t.environmentId, t.name] })],
);

/** Values that newer ones took the place of, for the releases that were made with them: an instance of one may have to start again. */
export const pastSecrets = sqliteTable(
  "past_secrets",
  {
    environmentId: text("environment_id").notNull(),
    name: text("name").notNull(),
    version: integer("version").notNull(),
    sealed: text("sealed").notNull(),
    keyId: text("key_id").notNull(),
  },
  (t) => [primaryKey({ columns: [t.environmentId, t.name, t.version] })],
);

/** An app's logins at registries; the password is sealed. */
export const registries = sqliteTable(
  "registries",
  {
    appId: text("app_id").notNull(),
    registry: text("registry").notNull(),
    username: text("username").notNull(),
    sealed: text("sealed").notNull(),
    keyId: text("key_id").notNull(),
    updatedAt: at("updated_at").notNull(),
    updatedBy: text("updated_by").notNull(),
  },
  (t) => [primaryKey({ columns: [t.appId, t.registry] })],
);
