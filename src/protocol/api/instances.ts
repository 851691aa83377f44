import { z } from "zod";
import { time } from "./scalars.ts";

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
