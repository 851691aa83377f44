import { z } from "zod";
import { time } from "./scalars.ts";

/** What runs beside the web, of the release that is live. */
export const processSchema = z
  .object({
    name: z.string(),
    kind: z.enum(["worker", "scheduled"]),
    /** Of a worker: how many are wanted, and how many are healthy. */
    replicas: z.number().int().nullable(),
    ready: z.number().int().nullable(),
    schedule: z.string().nullable(),
    nextAt: time.nullable(),
    /** What is wrong with it. */
    cause: z.string().nullable(),
  })
  .meta({ id: "Process" });
export type ProcessView = z.infer<typeof processSchema>;
