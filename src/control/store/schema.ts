import { sql } from "drizzle-orm";
import { index, integer, primaryKey, sqliteTable, text, uniqueIndex } from "drizzle-orm/sqlite-core";
import type { Held, InstanceState, Outage, ReportState } from "../../domain/rollout/facts.ts";
import type {
  Paused,
  ReleaseFailure,
  ReleaseState,
  SmokeOutcomes,
  StartFailure,
} from "../../domain/rollout/release.ts";
import type { TrafficMode } from "../../domain/routing/table.ts";
import type { AccessorySpec, EnvironmentSpec } from "../../domain/spec.ts";

/**
 * D1, the record of truth. All times are epoch milliseconds.
 *
 * An environment and everything below it (releases, instances, jobs, its slots) is one unit of consistency: it is
 * written only by its coordinator, in batches that begin with the guarded update of `environments.rev` (store/decisions.ts).
 * Exceptions, columns that only agents' reports write: `jobs` from its lease to its result, `instances.report*`, `instances.exits`, and
 * `instances.secretVersions`, which goes with the lease of its start. Secrets and logins are written by their routes.
 * And `jobs` of kind `logs`, which decide nothing: a log stream makes and removes its own.
 */
/** Who ordered an end, and when. */
export interface Ending {
  readonly at: number;
  readonly by: string;
}
const at = (name: string) => integer(name, { mode: "number" });
const json = <T>(name: string) => text(name, { mode: "json" }).$type<T>();

export const apps = sqliteTable("apps", {
  id: text("id").primaryKey(),
  name: text("name").notNull().unique(),
  /** The manifest as it was last applied, verbatim. */
  manifest: text("manifest").notNull(),
  /** A person had it destroyed: nothing may be applied to it, and it goes with its last environment. */
  ending: json<Ending>("ending"),
  createdAt: at("created_at").notNull(),
  updatedAt: at("updated_at").notNull(),
});

export const environments = sqliteTable(
  "environments",
  {
    id: text("id").primaryKey(),
    appId: text("app_id")
      .notNull()
      .references(() => apps.id),
    name: text("name").notNull(),
    spec: json<EnvironmentSpec>("spec").notNull(),
    /** Rises with each batch of the coordinator or of `apply`. Never NULL: a guard that misses sets NULL and so fails the batch. */
    rev: integer("rev").notNull(),
    /** The highest fence that wrote here. */
    fence: integer("fence").notNull(),
    /** Last release that held all traffic. */
    stableReleaseId: text("stable_release_id"),
    /** Salt of the visitors' buckets: the id of the rollout that last began. */
    salt: text("salt").notNull(),
    previewKey: text("preview_key").notNull(),
    mode: json<TrafficMode>("mode").notNull(),
    /** A person's lock: no release begins while it holds. */
    held: json<Held>("held"),
    /** A person had it destroyed: everything of it is on its way out. */
    ending: json<Ending>("ending"),
    /** Number of the next release's default label. */
    nextVersion: integer("next_version").notNull(),
    createdAt: at("created_at").notNull(),
    deletedAt: at("deleted_at"),
  },
  (t) => [uniqueIndex("environments_app_name").on(t.appId, t.name)],
);

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

export const hosts = sqliteTable("hosts", {
  id: text("id").primaryKey(),
  name: text("name").notNull().unique(),
  labels: json<Record<string, string>>("labels").notNull(),
  runtime: text("runtime", { enum: ["docker", "process"] }).notNull(),
  agentVersion: text("agent_version").notNull(),
  /** Agent process, as of its last poll. Another one means that it restarted, and its leases are free. */
  boot: text("boot"),
  lastSeenAt: at("last_seen_at"),
  /** The time before that: whether it was away, and whether it has had its say since something ran out. */
  seenBeforeAt: at("seen_before_at"),
  clockSkewMs: integer("clock_skew_ms"),
  /** What the host says of itself, and since when. */
  facts: json<Record<string, unknown>>("facts"),
  factsAt: at("facts_at"),
  /** Rises when its tunnel or the tunnel's token changed; null: it has none. */
  tunnelRev: integer("tunnel_rev"),
  /** A person asked for a new token. Null again when the agent has it. */
  rotateAt: at("rotate_at"),
  /** What runs on it moves to others, and nothing new comes. */
  draining: json<Ending>("draining"),
  createdAt: at("created_at").notNull(),
  removedAt: at("removed_at"),
});

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
    kind: text("kind", { enum: ["deploy", "rollback"] }).notNull(),
    spec: json<EnvironmentSpec>("spec").notNull(),
    /** What `failed`, `aborted`, … came from; and the deadline's state. */
    failure: json<ReleaseFailure>("failure"),
    by: text("by").notNull(),
    git: json<{ sha: string; branch?: string | undefined; url?: string | undefined }>("git"),
    weightBp: integer("weight_bp").notNull(),
    stepIndex: integer("step_index"),
    stepSince: at("step_since"),
    paused: json<Paused>("paused"),
    hold: integer("hold", { mode: "boolean" }).notNull().default(false),
    override: integer("override", { mode: "boolean" }).notNull().default(false),
    instancesMade: integer("instances_made").notNull().default(0),
    startFailures: json<readonly StartFailure[]>("start_failures").notNull().default([]),
    smoke: json<SmokeOutcomes>("smoke"),
    contractedAt: at("contracted_at"),
    /** `Idempotency-Key` of the request that made it. */
    requestKey: text("request_key"),
    createdAt: at("created_at").notNull(),
    startedAt: at("started_at"),
    servingAt: at("serving_at"),
    endedAt: at("ended_at"),
    stateSince: at("state_since").notNull(),
    deadlineAt: at("deadline_at"),
    warmUntil: at("warm_until"),
    timings: json<Record<string, number>>("timings").notNull(),
  },
  (t) => [
    uniqueIndex("releases_environment_version").on(t.environmentId, t.version),
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

export const instances = sqliteTable(
  "instances",
  {
    id: text("id").primaryKey(),
    environmentId: text("environment_id").notNull(),
    releaseId: text("release_id")
      .notNull()
      .references(() => releases.id),
    hostId: text("host_id").notNull(),
    slotId: text("slot_id").notNull(),
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

export const jobs = sqliteTable(
  "jobs",
  {
    /** Made from what it is for (`start-<instance>`): the same decision taken twice inserts one job. */
    id: text("id").primaryKey(),
    kind: text("kind", { enum: ["pull", "start", "stop", "run", "accessory", "logs"] }).notNull(),
    hostId: text("host_id").notNull(),
    environmentId: text("environment_id").notNull(),
    /** Null: of no release (`accessory`, `logs`). */
    releaseId: text("release_id"),
    instanceId: text("instance_id"),
    fence: integer("fence").notNull(),
    /** The kind's own part of the wire's job. */
    payload: json<Record<string, unknown>>("payload").notNull(),
    state: text("state", { enum: ["queued", "leased", "done", "failed", "cancelled"] }).notNull(),
    lease: text("lease"),
    leaseBoot: text("lease_boot"),
    leaseExpiresAt: at("lease_expires_at"),
    attempts: integer("attempts").notNull(),
    progress: text("progress"),
    result: json<Record<string, unknown>>("result"),
    error: json<Record<string, unknown>>("error"),
    deadlineAt: at("deadline_at").notNull(),
    createdAt: at("created_at").notNull(),
    finishedAt: at("finished_at"),
  },
  (t) => [
    index("jobs_open").on(t.hostId, t.createdAt).where(sql`finished_at IS NULL`),
    index("jobs_unfinished").on(t.environmentId).where(sql`finished_at IS NULL`),
    index("jobs_release").on(t.releaseId),
    index("jobs_instance").on(t.instanceId).where(sql`instance_id IS NOT NULL`),
    index("jobs_finished").on(t.environmentId, t.finishedAt).where(sql`finished_at IS NOT NULL`),
    index("jobs_logs").on(t.deadlineAt).where(sql`kind = 'logs'`),
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
  },
  (t) => [primaryKey({ columns: [t.releaseId, t.window] })],
);

/** The audit log and the event feed. Append only. */
export const events = sqliteTable(
  "events",
  {
    id: integer("id").primaryKey({ autoIncrement: true }),
    at: at("at").notNull(),
    type: text("type").notNull(),
    actor: text("actor").notNull(),
    app: text("app"),
    environment: text("environment"),
    environmentId: text("environment_id"),
    releaseId: text("release_id"),
    message: text("message").notNull(),
    data: json<Record<string, unknown>>("data").notNull(),
  },
  (t) => [
    index("events_release").on(t.releaseId, t.id),
    index("events_environment").on(t.environmentId, t.id),
    index("events_app").on(t.app, t.id),
  ],
);

export const tokens = sqliteTable(
  "tokens",
  {
    id: text("id").primaryKey(),
    name: text("name").notNull(),
    /** SHA-256 of the token, hex. */
    hash: text("hash").notNull().unique(),
    role: text("role", { enum: ["admin", "deployer", "viewer", "agent"] }).notNull(),
    app: text("app"),
    environment: text("environment"),
    hostId: text("host_id"),
    createdAt: at("created_at").notNull(),
    expiresAt: at("expires_at"),
    revokedAt: at("revoked_at"),
    lastUsedAt: at("last_used_at"),
    /** Id of the token it takes the place of: that one is revoked when this one is first used. */
    replaces: text("replaces"),
  },
  (t) => [index("tokens_host").on(t.hostId)],
);

/** An environment's secrets, sealed (AES-GCM; `control/seal.ts`). The value is nowhere else. */
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

/** Long-lived containers beside the app: what a person had started, and as what. */
export const accessories = sqliteTable(
  "accessories",
  {
    environmentId: text("environment_id").notNull(),
    name: text("name").notNull(),
    hostId: text("host_id").notNull(),
    /** As it was last started; the manifest may say otherwise by now. */
    spec: json<AccessorySpec>("spec").notNull(),
    /** Pinned by digest, once it was pulled. */
    pinnedImage: text("pinned_image"),
    state: text("state", { enum: ["starting", "running", "stopping", "stopped", "failed"] }).notNull(),
    stateSince: at("state_since").notNull(),
    cause: text("cause"),
    /** The job that changes it now, or changed it last. */
    jobId: text("job_id"),
    secretVersions: json<Record<string, number>>("secret_versions"),
    createdAt: at("created_at").notNull(),
  },
  (t) => [
    primaryKey({ columns: [t.environmentId, t.name] }),
    // Looked at with each job that ends: nearly always empty.
    index("accessories_moving").on(t.jobId).where(sql`state IN ('starting', 'stopping')`),
    index("accessories_host").on(t.hostId),
  ],
);

/** A host's tunnel at Cloudflare: what is wanted, how far it is. The token is never kept: Cloudflare tells it when asked. */
export const tunnels = sqliteTable("tunnels", {
  hostId: text("host_id").primaryKey(),
  /** Its name at Cloudflare. */
  name: text("name").notNull(),
  tunnelId: text("tunnel_id"),
  /** Of the ingress rules that were written last. */
  configVersion: integer("config_version"),
  state: text("state", { enum: ["pending", "ready", "removing", "removed"] }).notNull(),
  /** Why it is not there yet, in words. */
  cause: text("cause"),
  attempts: integer("attempts").notNull(),
  nextAttemptAt: at("next_attempt_at"),
  createdAt: at("created_at").notNull(),
  updatedAt: at("updated_at").notNull(),
});

/**
 * Everything that control made at Cloudflare, so that it removes that and nothing else. A row is written before the thing is
 * made, and gets its id after.
 */
export const cloudflareResources = sqliteTable(
  "cloudflare_resources",
  {
    id: integer("id").primaryKey({ autoIncrement: true }),
    /** The host it was made for; null: for a hostname. */
    hostId: text("host_id"),
    /** The public hostname it was made for. */
    hostname: text("hostname"),
    kind: text("kind", {
      enum: ["tunnel", "dns_record", "route", "access_application", "access_policy", "service_token"],
    }).notNull(),
    /** Its id at Cloudflare; null: about to be made, and perhaps there already under its name. */
    remoteId: text("remote_id"),
    /** Hostname, pattern or name: what a person would look for. */
    name: text("name").notNull(),
    zoneId: text("zone_id"),
    createdAt: at("created_at").notNull(),
  },
  (t) => [
    uniqueIndex("cloudflare_resources_name").on(t.kind, t.name),
    index("cloudflare_resources_host").on(t.hostId),
  ],
);

export const enrollments = sqliteTable("enrollments", {
  hash: text("hash").primaryKey(),
  name: text("name").notNull(),
  labels: json<Record<string, string>>("labels").notNull(),
  slots: integer("slots").notNull(),
  createdBy: text("created_by").notNull(),
  createdAt: at("created_at").notNull(),
  expiresAt: at("expires_at").notNull(),
  usedAt: at("used_at"),
});

/** Answers of mutations, kept 24 h by principal, route and `Idempotency-Key`. */
export const idempotency = sqliteTable(
  "idempotency",
  {
    key: text("key").primaryKey(),
    bodyHash: text("body_hash").notNull(),
    status: integer("status"),
    headers: json<Record<string, string>>("headers"),
    body: text("body"),
    createdAt: at("created_at").notNull(),
  },
  (t) => [index("idempotency_age").on(t.createdAt)],
);

/** One row: when control last was there to listen, and since when it has been without a gap. */
export const controlClock = sqliteTable("control_clock", {
  id: integer("id").primaryKey(),
  sweptAt: at("swept_at").notNull(),
  backSince: at("back_since").notNull(),
});

/** Effects outside D1 that a committed decision owes: delivered after the commit, again until they succeed. */
export const outbox = sqliteTable(
  "outbox",
  {
    id: integer("id").primaryKey({ autoIncrement: true }),
    environmentId: text("environment_id").notNull(),
    kind: text("kind", { enum: ["wake"] }).notNull(),
    payload: json<Record<string, unknown>>("payload").notNull(),
    attempts: integer("attempts").notNull(),
    createdAt: at("created_at").notNull(),
    nextAttemptAt: at("next_attempt_at").notNull(),
  },
  (t) => [index("outbox_environment").on(t.environmentId)],
);
