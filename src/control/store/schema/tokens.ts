import { index, sqliteTable, text } from "drizzle-orm/sqlite-core";
import type { PullRequest } from "../../../domain/trust/pull-request.ts";
import { at, json } from "./columns.ts";

export const tokens = sqliteTable(
  "tokens",
  {
    id: text("id").primaryKey(),
    name: text("name").notNull(),
    /** SHA-256 of the token, hex. */
    hash: text("hash").notNull().unique(),
    role: text("role", { enum: ["admin", "deployer", "approver", "viewer", "agent"] }).notNull(),
    app: text("app"),
    environment: text("environment"),
    hostId: text("host_id"),
    createdAt: at("created_at").notNull(),
    expiresAt: at("expires_at"),
    revokedAt: at("revoked_at"),
    lastUsedAt: at("last_used_at"),
    /** Id of the token it takes the place of: that one is revoked when this one is first used. */
    replaces: text("replaces"),
    /** The trust that it was given by, to a job of its CI project. */
    trustId: text("trust_id"),
    /** All that it is for, beside reading; null: whatever its role may. */
    action: text("action", { enum: ["deploy", "preview"] }),
    /** Of a pull request's job: the only preview that it is for, and the run that it is. */
    pull: json<PullRequest>("pull"),
    /** Whose it is, as far as was said or can be told: `person:ann@example.com`, `github:583231`. */
    identities: json<readonly string[]>("identities"),
    /** The identities of whoever made it. */
    madeBy: json<readonly string[]>("made_by"),
  },
  (t) => [index("tokens_host").on(t.hostId), index("tokens_trust").on(t.trustId)],
);
