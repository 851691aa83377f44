import { z } from "zod";
import { SEVERITIES } from "../domain/notify/notice.ts";
import { nameSchema, time } from "./api/scalars.ts";

const pattern = z
  .string()
  .max(60)
  .regex(/^[a-z_]+(?:\.[a-z_]+)*(?:\.\*)?$/, "a type such as release.failed, or release.*");

/** The exporter's own, or the connection's. */
const TAKEN =
  /^(?:host|connection|content-.+|transfer-encoding|te|trailer|upgrade|expect|cookie|cf-.*|x-forwarded-.*)$/;
const otlpHeaders = z
  .record(
    z
      .string()
      .regex(/^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}$/, "must be a header's name")
      .refine((name) => !TAKEN.test(name.toLowerCase()), "is a header that can't be set"),
    z
      .string()
      .max(4_000)
      .regex(/^[\x20-\x7e]*$/, "must be printable ASCII"),
  )
  .refine((headers) => Object.keys(headers).length <= 20, "are 20 at most");

/** A repository, and what lets in there: a token that lasts, or an app. */
const githubSchema = z
  .strictObject({
    repository: z
      .string()
      .regex(/^[A-Za-z0-9][A-Za-z0-9_-]{0,38}\/(?!\.{1,2}$)[A-Za-z0-9._-]{1,100}$/, "must be owner/name"),
    /** Base of the API of an Enterprise Server, or of one with data residency; absent: GitHub's own. */
    api: z.string().max(500).optional(),
    token: z
      .string()
      .regex(/^[A-Za-z0-9_-]{20,300}$/, "must be a token of GitHub's")
      .refine(
        (token) => !token.startsWith("ghs_"),
        "ends within the hour: use a fine-grained token or an app",
      )
      .optional(),
    app: z
      .strictObject({
        /** Its app id, or client id. */
        id: z.string().regex(/^[A-Za-z0-9.]{1,40}$/, "must be the app's id"),
        installation: z.number().int().positive(),
        privateKey: z
          .string()
          .max(10_000)
          .regex(
            /^-----BEGIN PRIVATE KEY-----\s/,
            "must be PKCS #8 (openssl pkcs8 -topk8 -nocrypt -in app.private-key.pem)",
          ),
      })
      .optional(),
    /** Keep a Deployment there for each release. */
    deployment: z.boolean().default(true),
    /** Write the commit's status, too. */
    commitStatus: z.boolean().default(false),
  })
  .refine((g) => (g.token === undefined) !== (g.app === undefined), "names one of `token` and `app`")
  .refine((g) => g.deployment || g.commitStatus, "has nothing to write: neither Deployments nor statuses");

export const createWebhookSchema = z
  .strictObject({
    url: z.string().max(2_000).optional(),
    /** In the place of `url`: a Slack app's bot, which edits one message per release. */
    slack: z
      .strictObject({
        token: z.string().regex(/^xoxb-[\w-]{10,300}$/, "must be a bot token (xoxb-…)"),
        channel: z
          .string()
          .regex(/^(?:[CG][A-Z0-9]{5,20}|#?[a-z0-9_-]{1,80})$/, "must be a channel's id or name"),
        signingSecret: z.string().regex(/^[0-9a-f]{16,64}$/, "must be the app's signing secret"),
      })
      .optional(),
    /** In the place of `url`: a collector of traces, which gets each release as one, by OTLP over HTTP as JSON. */
    otlp: z
      .strictObject({
        /** Of its traces, or its base: then /v1/traces is added, as OpenTelemetry's own exporters do. */
        url: z.string().max(2_000),
        /** Sent along, and shown to nobody: a key of its vendor's. */
        headers: otlpHeaders.default({}),
      })
      .optional(),
    /** In the place of `url`: a repository at GitHub, whose Deployments say how far releases of its commits are. */
    github: githubSchema.optional(),
    app: nameSchema.optional(),
    environment: nameSchema.optional(),
    /** Absent: all of them. */
    events: z.array(pattern).min(1).max(50).optional(),
    /** `info`: all; `warn`: what waits for a person, and failures; `error`: failures only. */
    severity: z.enum(SEVERITIES).default("info"),
  })
  .refine((w) => w.environment === undefined || w.app !== undefined, {
    message: "an environment needs its `app`",
    path: ["app"],
  })
  .refine(
    (w) => [w.url, w.slack, w.otlp, w.github].filter((one) => one !== undefined).length === 1,
    "names one of `url`, `slack`, `otlp` and `github`",
  )
  .refine((w) => w.otlp === undefined || (w.events === undefined && w.severity === "info"), {
    message: "a collector of traces gets all releases: leave out `events` and `severity`",
    path: ["otlp"],
  })
  .refine((w) => w.github === undefined || (w.events === undefined && w.severity === "info"), {
    message: "GitHub gets all releases: leave out `events` and `severity`",
    path: ["github"],
  })
  .meta({ id: "CreateWebhook" });

export const webhookSchema = z
  .object({
    id: z.string(),
    kind: z.enum(["webhook", "slack", "slack_app", "otlp", "github"]),
    /** Of Slack's incoming webhooks without its path, and of a collector without its query: they are secrets. */
    url: z.string(),
    app: z.string().nullable(),
    environment: z.string().nullable(),
    events: z.array(z.string()).nullable(),
    severity: z.enum(SEVERITIES),
    createdAt: time,
    createdBy: z.string(),
    disabledAt: time.nullable(),
    disabledCause: z.string().nullable(),
  })
  .meta({ id: "Webhook" });
export type WebhookView = z.infer<typeof webhookSchema>;

/** The secret is shown this once; null: this kind signs nothing. */
export const createdWebhookSchema = webhookSchema
  .extend({ secret: z.string().nullable() })
  .meta({ id: "CreatedWebhook" });

export const rotatedSecretSchema = z
  .object({
    secret: z.string(),
    /** Until then messages carry a signature of the one before, too. */
    beforeUntil: time,
  })
  .meta({ id: "RotatedSecret" });

export const deliverySchema = z
  .object({
    /** `webhook-id`: the same over all tries. */
    id: z.string(),
    type: z.string(),
    event: z.number().int(),
    state: z.enum(["pending", "delivered", "failed"]),
    attempts: z.number().int(),
    createdAt: time,
    /** Null: there is no next try. */
    nextAttemptAt: time.nullable(),
    finishedAt: time.nullable(),
    /** HTTP status of the last try; null: there was no answer. */
    status: z.number().int().nullable(),
    /** Why the last try failed. */
    error: z.string().nullable(),
  })
  .meta({ id: "Delivery" });
export type DeliveryView = z.infer<typeof deliverySchema>;

export const replaySchema = z
  .strictObject({
    /** Absent: all that were given up. */
    delivery: z.string().max(64).optional(),
  })
  .meta({ id: "Replay" });
export const replayedSchema = z.object({ replayed: z.number().int() }).meta({ id: "Replayed" });
