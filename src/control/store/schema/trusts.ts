import { index, sqliteTable, text } from "drizzle-orm/sqlite-core";
import type { Pins, Provider } from "../../../domain/trust/trust.ts";
import { at, json } from "./columns.ts";

/** Whose CI jobs get a token without a stored secret. */
export const trusts = sqliteTable(
  "trusts",
  {
    id: text("id").primaryKey(),
    provider: text("provider").$type<Provider>().notNull(),
    issuer: text("issuer").notNull(),
    project: text("project").notNull(),
    pins: json<Pins>("pins").notNull(),
    refs: json<readonly string[]>("refs").notNull(),
    pinOnFirstUse: json<readonly string[]>("pin_on_first_use").notNull(),
    /** What its tokens may do, and where. */
    role: text("role", { enum: ["deployer", "approver", "viewer"] }).notNull(),
    action: text("action", { enum: ["deploy", "preview"] }),
    app: text("app").notNull(),
    environment: text("environment"),
    createdAt: at("created_at").notNull(),
    createdBy: text("created_by").notNull(),
  },
  (t) => [index("trusts_issuer").on(t.issuer)],
);

/** Tokens of CI systems that were traded already, until they have expired. */
export const tradedTokens = sqliteTable(
  "traded_tokens",
  {
    /** SHA-256 of issuer and `jti`, hex. */
    key: text("key").primaryKey(),
    expiresAt: at("expires_at").notNull(),
  },
  (t) => [index("traded_tokens_age").on(t.expiresAt)],
);
