import { z } from "zod";
import { accessorySchema } from "./accessories.ts";
import { environmentSchema } from "./environments.ts";
import { time } from "./scalars.ts";

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

export const appSchema = z
  .object({ app: z.string(), createdAt: time, environments: z.array(environmentSchema) })
  .meta({ id: "App" });
export type AppView = z.infer<typeof appSchema>;
