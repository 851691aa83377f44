import { z } from "zod";
import { time } from "../scalars.ts";

const spread = z.object({ medianMs: z.number(), p90Ms: z.number(), of: z.number().int() }).nullable();

/** The four keys of each environment, over the last `days`. What each is: docs/dora.md. */
export const doraSchema = z
  .object({
    from: time,
    days: z.number().int(),
    items: z.array(
      z.object({
        app: z.string(),
        environment: z.string(),
        deployments: z.number().int(),
        perDay: z.number(),
        leadTime: spread,
        changes: z.number().int(),
        failures: z.number().int(),
        /** 0 to 1. */
        changeFailureRate: z.number().nullable(),
        timeToRestore: spread,
      }),
    ),
  })
  .meta({ id: "Dora" });
export type DoraView = z.infer<typeof doraSchema>;
