import { z } from "zod";
import { SEVERITIES } from "../domain/notice.ts";
import { nameSchema, time } from "./api/scalars.ts";

const pattern = z
  .string()
  .max(60)
  .regex(/^[a-z_]+(?:\.[a-z_]+)*(?:\.\*)?$/, "a type such as release.failed, or release.*");

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
  .refine((w) => (w.url === undefined) !== (w.slack === undefined), "names one of `url` and `slack`")
  .meta({ id: "CreateWebhook" });

export const webhookSchema = z
  .object({
    id: z.string(),
    kind: z.enum(["webhook", "slack", "slack_app"]),
    /** Of Slack's incoming webhooks without its path, which is the secret. */
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
