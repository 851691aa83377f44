import { z } from "zod";
import { RELEASE_STATES } from "../domain/rollout/release.ts";
import { hostFactsSchema } from "./agent.ts";
import { nextStepSchema } from "./problem.ts";
import { staleSecretSchema } from "./secrets.ts";

/** The HTTP API's resources, `/api/v1`. Times are ISO 8601 UTC, weights are percent (25.5), durations end in Ms. */
const time = z.iso.datetime();
export const nameSchema = z.string().regex(/^[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?$/, "a-z, 0-9 and -");

const ROLES = ["admin", "deployer", "viewer", "agent"] as const;

// --- apps -----------------------------------------------------------------------------------------------------------

/** A long-lived container beside an environment's instances: changed on command, never by a release. */
export const accessorySchema = z
  .object({
    name: z.string(),
    /** `absent`: the manifest has it, and it was never started or was removed. */
    state: z.enum(["absent", "starting", "running", "stopping", "stopped", "failed"]),
    since: time.nullable(),
    /** Where it lives; null: not decided before it is started. */
    host: z.string().nullable(),
    hostState: z.enum(["online", "offline", "removed"]).nullable(),
    /** As it was last started; of one that is absent, the manifest's. */
    image: z.string(),
    /** The same by digest. */
    pinned: z.string().nullable(),
    /** False: the manifest has it no more. It is kept until it is removed. */
    declared: z.boolean(),
    /** How what was last started differs from the manifest, e.g. `image postgres:16 → postgres:17`. */
    differs: z.array(z.string()),
    /** Why it failed, or what was left undone. */
    cause: z.string().nullable(),
    /** What changes it now, or changed it last. */
    job: z
      .object({
        id: z.string(),
        action: z.enum(["start", "stop", "upgrade", "remove"]),
        state: z.enum(["queued", "leased", "done", "failed", "cancelled"]),
        progress: z.string().nullable(),
        deadlineAt: time,
        /** Its last lines, oldest first, where it failed. */
        logs: z.array(z.string()),
      })
      .nullable(),
    /** What holds its data, by the names on its host. They stay when it is removed. */
    volumes: z.array(z.string()),
    next: z.array(nextStepSchema),
  })
  .meta({ id: "Accessory" });
export type AccessoryView = z.infer<typeof accessorySchema>;

const changeSchema = z.object({
  /** `environments.production.replicas`, or `app` when it is new. */
  path: z.string(),
  before: z.unknown(),
  after: z.unknown(),
});
export const applyAnswerSchema = z
  .object({
    app: z.string(),
    created: z.boolean(),
    dryRun: z.boolean(),
    environments: z.array(z.string()),
    changes: z.array(changeSchema),
    /** Hostnames that this apply grants to the app: an administrator's does. */
    granted: z.array(z.string()).default([]),
    /** All of its accessories. Applying changes none of them. */
    accessories: z.array(accessorySchema.extend({ environment: z.string() })).default([]),
  })
  .meta({ id: "ApplyAnswer" });
export type ApplyAnswer = z.infer<typeof applyAnswerSchema>;

// --- releases -------------------------------------------------------------------------------------------------------

export const failureSchema = z
  .object({
    /** Stable, e.g. `health_status`, `image_not_found`, `deadline`, `no_slots`. */
    code: z.string(),
    message: z.string(),
    /** Which check failed, with which value, against which limit. */
    check: z.object({ name: z.string(), value: z.string(), limit: z.string() }).optional(),
    host: z.string().optional(),
    instance: z.string().optional(),
    /** The app's last lines, oldest first. */
    logs: z.array(z.string()).default([]),
  })
  .meta({ id: "Failure" });

export const planSchema = z
  .object({
    instances: z.array(z.object({ host: z.string(), slot: z.number().int() })),
    steps: z.array(
      z.object({
        kind: z.enum(["weight", "pause", "analysis"]),
        /** Percent, of a weight step. */
        weight: z.number().optional(),
        /** How long the step lasts at least; null: until someone promotes. */
        forMs: z.number().int().nullable(),
        /** In words, e.g. `10 % for 15 m`. */
        label: z.string(),
      }),
    ),
    /** The least time until all traffic is on it, image pull and app boot apart; null: waits for a person. */
    atLeastMs: z.number().int().nullable(),
    hooks: z.array(
      z.object({ hook: z.enum(["expand", "contract"]), command: z.array(z.string()), when: z.string() }),
    ),
    replaces: z.object({ release: z.string(), version: z.string() }).nullable(),
    keepMs: z.number().int(),
    /** In words: what makes a rollback instant, slow or impossible. */
    rollback: z.string(),
    /** What would stop it before anything moves. Empty: it can start. */
    problems: z.array(z.object({ code: z.string(), detail: z.string() })),
    /** As they are; the release touches none of them. */
    accessories: z.array(accessorySchema).default([]),
  })
  .meta({ id: "Plan" });
export type PlanView = z.infer<typeof planSchema>;

export const instanceSchema = z
  .object({
    id: z.string(),
    release: z.string(),
    version: z.string(),
    host: z.string(),
    slot: z.number().int(),
    /** What control decided. */
    state: z.string(),
    ready: z.boolean(),
    cause: z.string().nullable(),
    since: time,
  })
  .meta({ id: "Instance" });
export type InstanceView = z.infer<typeof instanceSchema>;

export const releaseSchema = z
  .object({
    id: z.string(),
    app: z.string(),
    environment: z.string(),
    version: z.string(),
    image: z.string(),
    digest: z.string().nullable(),
    state: z.enum(RELEASE_STATES),
    strategy: z.string(),
    /** Why it was made: `deploy` or `rollback`. */
    kind: z.enum(["deploy", "rollback"]),
    /** Who asked, e.g. `token:ci`. */
    by: z.string(),
    git: z.object({ sha: z.string(), branch: z.string().optional(), url: z.string().optional() }).nullable(),
    /** Percent of eligible traffic the table gives it now. */
    weight: z.number(),
    /** Which step of how many; null before shifting. */
    step: z
      .object({ index: z.number().int(), of: z.number().int(), label: z.string(), since: time.nullable() })
      .nullable(),
    /** Holds where it is: since when, who, why, and when it goes on by itself (null: until told). */
    paused: z.object({ at: time, by: z.string(), reason: z.string(), until: time.nullable() }).nullable(),
    /** The judge's last word on a canary. */
    verdict: z.object({ verdict: z.string(), reason: z.string(), words: z.string(), at: time }).nullable(),
    createdAt: time,
    startedAt: time.nullable(),
    /** When it first had all traffic. */
    servingAt: time.nullable(),
    endedAt: time.nullable(),
    /** When the running state ends by itself if nothing else happens. */
    deadlineAt: time.nullable(),
    /** Until when its instances are kept for an instant rollback. */
    warmUntil: time.nullable(),
    /** Milliseconds spent per state. */
    timings: z.record(z.string(), z.number()),
    failure: failureSchema.nullable(),
    /** Visitors' requests since the release began: all of the environment's, and how many of them failed. */
    traffic: z.object({ requests: z.number().int(), failed: z.number().int() }),
    instances: z.array(instanceSchema),
    plan: planSchema,
    next: z.array(nextStepSchema),
  })
  .meta({ id: "Release" });
export type ReleaseView = z.infer<typeof releaseSchema>;

export const createReleaseSchema = z
  .strictObject({
    /** Tag, digest (`repo@sha256:…`), local image id (`sha256:…`) or `file:<directory>`; default: the manifest's image. */
    image: z.string().min(1).max(500).optional(),
    /** Human label; default `v<n>`. Unique in the environment. */
    version: z
      .string()
      .regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/, "1–64 of A-Z a-z 0-9 . _ -")
      .optional(),
    git: z
      .strictObject({
        sha: z.string().max(64),
        branch: z.string().max(255).optional(),
        url: z.string().max(500).optional(),
      })
      .optional(),
    /** When another release is in progress: wait for it, refuse, or replace it. */
    whenBusy: z.enum(["queue", "reject", "supersede"]).default("queue"),
    /** Prepare it and keep it at 0 % until it is promoted. */
    hold: z.boolean().default(false),
    /** Begin outside the deploy windows; audited. */
    override: z.boolean().default(false),
  })
  .meta({ id: "CreateRelease" });
export type CreateRelease = z.input<typeof createReleaseSchema>;

export const abortSchema = z.strictObject({ reason: z.string().max(500).optional() }).meta({ id: "Abort" });
/** `step` (0-based) is the one the caller saw: a stale one is refused (409 `stale_step`), so a double click skips nothing. */
const stepRef = { step: z.number().int().min(0).optional() };
export const promoteSchema = z
  .strictObject({ ...stepRef, full: z.boolean().default(false) })
  .meta({ id: "Promote" });
export const pauseSchema = z.strictObject(stepRef).meta({ id: "Pause" });
export const resumeSchema = z.strictObject(stepRef).meta({ id: "Resume" });

/** One judgement of a canary, with every number that it was reached from. */
export const verdictSchema = z
  .object({
    at: time,
    window: time,
    verdict: z.string(),
    reason: z.string(),
    words: z.string(),
    numbers: z.record(z.string(), z.unknown()),
  })
  .meta({ id: "Verdict" });
export type VerdictView = z.infer<typeof verdictSchema>;

export const createPreviewSchema = z
  .strictObject({
    expiresInMinutes: z.number().int().min(1).max(10_080).default(60),
    /** A pass is good for one hostname; default: the environment's first. */
    hostname: z.string().max(253).optional(),
  })
  .meta({ id: "CreatePreview" });

/** A signed pass that leads the bearer to one release, whatever its weight. */
export const previewSchema = z
  .object({
    release: z.string(),
    url: z.string(),
    header: z.object({ name: z.string(), value: z.string() }),
    cookie: z.string(),
    expiresAt: time,
  })
  .meta({ id: "Preview" });
export type PreviewView = z.infer<typeof previewSchema>;

export const createLockSchema = z
  .strictObject({
    reason: z.string().min(1).max(500),
    expiresInMinutes: z.number().int().min(1).max(10_080).default(1_440),
  })
  .meta({ id: "CreateLock" });

export const createMaintenanceSchema = z
  .strictObject({
    /** `maintenance`: 503 with `Retry-After`. `pause`: new requests are held for up to 30 s, then 503. */
    mode: z.enum(["maintenance", "pause"]).default("maintenance"),
    message: z.string().max(2_000).optional(),
    retryAfterS: z.number().int().min(1).max(86_400).default(120),
  })
  .meta({ id: "CreateMaintenance" });

export const rollbackSchema = z
  .strictObject({
    /** Release id or version label. Default: the last release that served all traffic before this one. */
    to: z.string().max(64).optional(),
    /** The release (id or label) that you saw serving. Another one now is answered with 412, so that a double click goes back once. */
    from: z.string().max(64).optional(),
  })
  .meta({ id: "Rollback" });
export const rollbackAnswerSchema = z
  .object({
    /** `instant`: a weight flip to warm instances. `restart`: a new release of the old digest. */
    how: z.enum(["instant", "restart"]),
    from: z.object({ release: z.string(), version: z.string() }),
    to: z.object({ release: z.string(), version: z.string() }),
    release: releaseSchema,
  })
  .meta({ id: "RollbackAnswer" });
export type RollbackAnswer = z.infer<typeof rollbackAnswerSchema>;

export const MOVES = ["promote", "abort", "rollback"] as const;
/** What one move would do now: the very command on a copy of the state. */
export const movePlanSchema = z
  .object({
    move: z.enum(MOVES),
    possible: z.boolean(),
    /** Why it would be refused. */
    refusal: z.object({ code: z.string(), detail: z.string() }).nullable(),
    /** What would happen, in the words of the feed. */
    says: z.array(z.string()),
    /** The split after it, in percent, largest share first. */
    split: z.array(z.object({ release: z.string(), version: z.string(), weight: z.number() })),
  })
  .meta({ id: "MovePlan" });
export type MovePlanView = z.infer<typeof movePlanSchema>;

/** The whole split: release id or version label → percent, at most two decimals. Sums to 100. */
export const weightsSchema = z.record(z.string(), z.number().min(0).max(100)).meta({ id: "Weights" });
export type Weights = z.infer<typeof weightsSchema>;

// --- status ---------------------------------------------------------------------------------------------------------

const splitEntrySchema = z.object({
  release: z.string(),
  version: z.string(),
  weight: z.number(),
  ready: z.number().int(),
  instances: z.number().int(),
});
const lockSchema = z.object({
  holder: z.string(),
  reason: z.string(),
  fence: z.number().int(),
  since: time,
  expiresAt: time,
});
export const environmentSchema = z
  .object({
    app: z.string(),
    environment: z.string(),
    hostnames: z.array(z.string()),
    /** Whether each hostname leads to the edge, and why not. Without Cloudflare nobody knows: empty. */
    routes: z
      .array(
        z.object({
          hostname: z.string(),
          /** `pending`: control does it; `foreign`: a person has to. */
          state: z.enum(["pending", "ready", "foreign"]),
          cause: z.string().nullable(),
        }),
      )
      .default([]),
    strategy: z.string(),
    replicas: z.number().int(),
    split: z.array(splitEntrySchema),
    /** The release that is on its way, if any. */
    active: releaseSchema.nullable(),
    queued: z.array(z.object({ release: z.string(), version: z.string() })),
    /** The last release that held all traffic. */
    live: releaseSchema.nullable(),
    instances: z.array(instanceSchema),
    accessories: z.array(accessorySchema).default([]),
    lock: lockSchema.nullable(),
    table: z.object({ version: z.number().int(), publishedAt: time.nullable() }),
    /** What the edge does with requests: `open`, `paused` or `maintenance`. */
    mode: z.enum(["open", "paused", "maintenance"]),
    /** What `sluice rollback` would do now. */
    rollback: z.object({
      possible: z.boolean(),
      how: z.enum(["instant", "restart"]).nullable(),
      /** Whose traffic it would take: send it as `from`. */
      from: z.object({ release: z.string(), version: z.string() }).nullable().default(null),
      to: z.object({ release: z.string(), version: z.string() }).nullable(),
      reason: z.string(),
    }),
    /** It is being destroyed: since when, and by whom. */
    ending: z.object({ at: time, by: z.string() }).nullable().default(null),
    /** Secrets that were changed since somebody was started with them. */
    staleSecrets: z.array(staleSecretSchema).default([]),
    next: z.array(nextStepSchema),
  })
  .meta({ id: "Environment" });
export type EnvironmentView = z.infer<typeof environmentSchema>;

export const appSchema = z
  .object({ app: z.string(), createdAt: time, environments: z.array(environmentSchema) })
  .meta({ id: "App" });
export type AppView = z.infer<typeof appSchema>;

/** An environment (null: all of the app's) on its way out. */
export const endingSchema = z
  .object({
    app: z.string(),
    environment: z.string().nullable(),
    since: time,
    by: z.string(),
    /** In words, e.g. `2 instances on web-1`. Empty: nothing is left, it goes any moment. */
    waitsFor: z.array(z.string()),
    /** Data volumes, by host: they stay where they are. */
    keeps: z.array(z.string()),
    next: z.array(nextStepSchema),
  })
  .meta({ id: "Ending" });
export type EndingView = z.infer<typeof endingSchema>;

// --- hosts ----------------------------------------------------------------------------------------------------------

export const hostSchema = z
  .object({
    id: z.string(),
    name: z.string(),
    labels: z.record(z.string(), z.string()),
    runtime: z.string(),
    agentVersion: z.string(),
    state: z.enum(["online", "offline", "removed"]),
    lastSeenAt: time.nullable(),
    /** Host clock minus control's, as of the last poll. */
    clockSkewMs: z.number().int().nullable(),
    /** What the host says of itself; null until its agent has polled. */
    facts: hostFactsSchema.nullable(),
    factsAt: time.nullable(),
    /** A new token was asked for and is not in use yet. */
    rotateAt: time.nullable(),
    slots: z.object({
      total: z.number().int(),
      used: z.number().int(),
      reserved: z.number().int(),
      free: z.number().int(),
    }),
    instances: z.array(instanceSchema),
    accessories: z
      .array(z.object({ app: z.string(), environment: z.string(), name: z.string(), state: z.string() }))
      .default([]),
    /** At Cloudflare; null: the edge reaches this host by its own address. */
    tunnel: z
      .object({
        state: z.enum(["pending", "ready", "removing", "removed"]),
        /** Why it is not done yet, in words. */
        cause: z.string().nullable(),
        name: z.string(),
        id: z.string().nullable(),
        /** Of the ingress rules that were written last. */
        configVersion: z.number().int().nullable(),
        nextAttemptAt: time.nullable(),
      })
      .nullable()
      .default(null),
    createdAt: time,
  })
  .meta({ id: "Host" });
export type HostView = z.infer<typeof hostSchema>;
export const rotatedTunnelSchema = z
  .object({ host: z.string(), rev: z.number().int() })
  .meta({ id: "RotatedTunnel" });
export type RotatedTunnelView = z.infer<typeof rotatedTunnelSchema>;

export const createEnrollmentSchema = z
  .strictObject({
    name: nameSchema,
    labels: z.record(z.string().max(63), z.string().max(63)).default({}),
    slots: z.number().int().min(1).max(200).default(8),
    /** Minutes the one-time token is good for. */
    expiresInMinutes: z.number().int().min(1).max(1440).default(60),
    /** Image of the agent: the command then runs it as a container instead of a systemd unit. */
    container: z.string().min(1).max(300).optional(),
    /** How the edge reaches the host without a tunnel, e.g. `http://10.0.0.7`. */
    originBase: z.url().max(300).optional(),
  })
  .meta({ id: "CreateEnrollment" });
export const enrollmentSchema = z
  .object({
    name: z.string(),
    token: z.string(),
    expiresAt: time,
    command: z.string(),
    /** SHA-256 of the agent that the command installs; absent for a container. */
    agentSha256: z.string().optional(),
  })
  .meta({ id: "Enrollment" });
export type EnrollmentView = z.infer<typeof enrollmentSchema>;

// --- tokens ---------------------------------------------------------------------------------------------------------

export const createTokenSchema = z
  .strictObject({
    name: nameSchema,
    role: z.enum(["admin", "deployer", "viewer"]),
    app: nameSchema.optional(),
    environment: nameSchema.optional(),
    /** Days until it expires; default 90, at most 365. */
    expiresInDays: z.number().int().min(1).max(365).default(90),
  })
  .refine((t) => t.environment === undefined || t.app !== undefined, {
    message: "a token scoped to an environment needs `app`",
    path: ["app"],
  })
  .meta({ id: "CreateToken" });
export const tokenSchema = z
  .object({
    id: z.string(),
    name: z.string(),
    role: z.enum(ROLES),
    app: z.string().nullable(),
    environment: z.string().nullable(),
    createdAt: time,
    expiresAt: time.nullable(),
    revokedAt: time.nullable(),
    lastUsedAt: time.nullable(),
  })
  .meta({ id: "Token" });
export type TokenView = z.infer<typeof tokenSchema>;
export const createdTokenSchema = tokenSchema.extend({ token: z.string() }).meta({ id: "CreatedToken" });

// --- events ---------------------------------------------------------------------------------------------------------

export const EVENT_TYPES = [
  "release.state",
  "release.progress",
  "instance.state",
  "traffic.weights",
  "traffic.alert",
  "lock.changed",
  "traffic.mode",
  "app.applied",
  "app.ending",
  "app.destroyed",
  "environment.ending",
  "environment.destroyed",
  "host.enrolled",
  "host.removed",
  "host.tunnel",
  "host.rotated",
  "hostname.routed",
  "hostname.granted",
  "hostname.revoked",
  "secret.set",
  "secret.removed",
  "registry.set",
  "registry.removed",
  "secret.resealed",
  "accessory.state",
  "token.created",
  "token.revoked",
] as const;
/** One line of the audit log and of the event feed: the same object. SSE: `id` = id, `event` = type, `data` = all of it. */
export const eventSchema = z
  .object({
    id: z.number().int(),
    at: time,
    type: z.enum(EVENT_TYPES),
    actor: z.string(),
    app: z.string().nullable(),
    environment: z.string().nullable(),
    release: z.string().nullable(),
    /** One plain sentence. */
    message: z.string(),
    /** Facts, by type. `release.state`: {state, from, weight}; `instance.state`: {instance, host, slot, state, cause}. */
    data: z.record(z.string(), z.unknown()),
  })
  .meta({ id: "Event" });
export type EventView = z.infer<typeof eventSchema>;

export const healthAnswerSchema = z
  .object({
    status: z.enum(["healthy", "degraded", "unhealthy"]),
    version: z.string(),
    checks: z.record(
      z.string(),
      z.object({
        status: z.enum(["up", "down"]),
        responseTimeMs: z.number(),
        message: z.string().optional(),
      }),
    ),
  })
  .meta({ id: "Health" });

export const doctorSchema = z
  .object({
    /** Control's clock. */
    now: time,
    version: z.string(),
    /** Who asked, as the audit log names them. */
    actor: z.string(),
    role: z.enum(ROLES),
    checks: z.array(
      z.object({
        /** Stable, e.g. `host.disk`. */
        id: z.string(),
        /** `control`, a host's or a public hostname's name. */
        subject: z.string(),
        status: z.enum(["ok", "warn", "fail", "skip"]),
        detail: z.string(),
        /** What mends it. */
        fix: z.string().nullable(),
      }),
    ),
    /** With `live=1`: an empty slot of each host with a tunnel, to be asked from outside. */
    slots: z.array(z.object({ host: z.string(), origin: z.url() })).default([]),
  })
  .meta({ id: "Doctor" });
export type DoctorView = z.infer<typeof doctorSchema>;

/** A page of a list: opaque cursor, null at the end. */
export const pageOf = <T extends z.ZodType>(item: T) =>
  z.object({ items: z.array(item), nextCursor: z.string().nullable() });
