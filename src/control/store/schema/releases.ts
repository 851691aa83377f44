import { sql } from "drizzle-orm";
import { index, integer, primaryKey, sqliteTable, text, uniqueIndex } from "drizzle-orm/sqlite-core";
import type { Approval } from "../../../domain/approval/approval.ts";
import type { KeptWindow } from "../../../domain/canary/index.ts";
import type { NewRelease } from "../../../domain/rollout/decision.ts";
import type {
  AskedRequest,
  Paused,
  ReleaseFailure,
  ReleaseState,
  Replacing,
  SmokeOutcomes,
  StartFailure,
  WorkerTrouble,
} from "../../../domain/rollout/release.ts";
import type { EnvironmentSpec } from "../../../domain/spec.ts";
import type { ReleaseTrace } from "../../../domain/tracing/context.ts";
import { at, json } from "./columns.ts";
import { environments } from "./environments.ts";

export const releases = sqliteTable(
  "releases",
  {
    id: text("id").primaryKey(),
    environmentId: text("environment_id")
      .notNull()
      .references(() => environments.id),
    /** Human label. */
    version: text("version").notNull(),
    /** As asked for. */
    image: text("image").notNull(),
    /** As it runs: pinned by digest, set when it was pulled. */
    pinnedImage: text("pinned_image"),
    digest: text("digest"),
    state: text("state").$type<ReleaseState>().notNull(),
    kind: text("kind", { enum: ["deploy", "rollback", "restart"] }).notNull(),
    spec: json<EnvironmentSpec>("spec").notNull(),
    /** What `failed`, `aborted`, … came from; and the deadline's state. */
    failure: json<ReleaseFailure>("failure"),
    failedRequest: json<AskedRequest>("failed_request"),
    by: text("by").notNull(),
    /** All by which it can be told who that is. */
    startedAs: json<readonly string[]>("started_as"),
    approval: json<Approval>("approval"),
    git: json<NewRelease["git"] & object>("git"),
    weightBp: integer("weight_bp").notNull(),
    stepIndex: integer("step_index"),
    stepSince: at("step_since"),
    paused: json<Paused>("paused"),
    hold: integer("hold", { mode: "boolean" }).notNull().default(false),
    override: integer("override", { mode: "boolean" }).notNull().default(false),
    instancesMade: integer("instances_made").notNull().default(0),
    startFailures: json<readonly StartFailure[]>("start_failures").notNull().default([]),
    workerTroubles: json<Readonly<Record<string, WorkerTrouble>>>("worker_troubles"),
    smoke: json<SmokeOutcomes>("smoke"),
    /** Version of each secret that it was made with. Null: of before that was noted; it gets those of today. */
    secretVersions: json<Readonly<Record<string, number>>>("secret_versions"),
    contractedAt: at("contracted_at"),
    /** `Idempotency-Key` of the request that made it. */
    requestKey: text("request_key"),
    /** The trace it is part of: of whoever made it, or its own. Null: nobody was told of traces when it was made. */
    trace: json<ReleaseTrace>("trace"),
    createdAt: at("created_at").notNull(),
    startedAt: at("started_at"),
    servingAt: at("serving_at"),
    endedAt: at("ended_at"),
    stateSince: at("state_since").notNull(),
    deadlineAt: at("deadline_at"),
    warmUntil: at("warm_until"),
    replacing: json<Replacing>("replacing"),
    timings: json<Record<string, number>>("timings").notNull(),
  },
  (t) => [
    // Both begin with the label: one more that begins with the environment would be taken for those below.
    index("releases_version").on(t.version, t.environmentId),
    // `holdsLabel`.
    uniqueIndex("releases_label")
      .on(t.version, t.environmentId)
      .where(
        sql`ended_at IS NULL OR serving_at IS NOT NULL OR json_extract(timings, '$.shifting') IS NOT NULL`,
      ),
    uniqueIndex("releases_request_key").on(t.environmentId, t.requestKey),
    index("releases_environment_created").on(t.environmentId, t.createdAt),
    index("releases_open").on(t.state).where(sql`ended_at IS NULL`),
    // What each tick reads of an environment.
    index("releases_unended").on(t.environmentId).where(sql`ended_at IS NULL`),
    index("releases_weighted").on(t.environmentId).where(sql`weight_bp > 0`),
    index("releases_served").on(t.environmentId, t.servingAt).where(sql`serving_at IS NOT NULL`),
    index("releases_contracted").on(t.environmentId, t.contractedAt).where(sql`contracted_at IS NOT NULL`),
  ],
);

/** Each judgement of a canary with the numbers it was reached from: one per release and window. */
export const verdicts = sqliteTable(
  "verdicts",
  {
    releaseId: text("release_id").notNull(),
    /** Start of the 10 s window that it ends with; epoch ms. */
    window: at("window").notNull(),
    at: at("at").notNull(),
    verdict: text("verdict").notNull(),
    reason: text("reason").notNull(),
    /** One sentence. */
    words: text("words").notNull(),
    numbers: json<Record<string, unknown>>("numbers").notNull(),
    /** What was counted in the window; null: of before it was kept. */
    counted: json<KeptWindow>("counted"),
  },
  (t) => [primaryKey({ columns: [t.releaseId, t.window] })],
);
