import { z } from "zod";
import { nextStepSchema } from "../problem.ts";
import { accessorySchema } from "./accessories.ts";
import { instanceSchema } from "./instances.ts";
import { processSchema } from "./processes.ts";
import { releaseSchema } from "./releases.ts";
import { time } from "./scalars.ts";
import { staleSecretSchema } from "./secrets.ts";

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
    /** The newest release, where it failed, was aborted or went back: why an older one serves. */
    lastFailed: releaseSchema.nullable().default(null),
    instances: z.array(instanceSchema),
    accessories: z.array(accessorySchema).default([]),
    processes: z.array(processSchema).default([]),
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
    /** Why no release may begin now, and when the next may; null: one may, as far as windows go. */
    closed: z.string().nullable().default(null),
    /** It is being destroyed: since when, and by whom. */
    ending: z.object({ at: time, by: z.string() }).nullable().default(null),
    /** Secrets that were changed since somebody was started with them. */
    staleSecrets: z.array(staleSecretSchema).default([]),
    next: z.array(nextStepSchema),
  })
  .meta({ id: "Environment" });
export type EnvironmentView = z.infer<typeof environmentSchema>;
