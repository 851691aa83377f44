import { z } from "zod";
import { time } from "../scalars.ts";

const figures = {
  /** Sent to it, whoever answered the visitor in the end. */
  requests: z.number().int(),
  perSecond: z.number(),
  /** 5xx, timeouts, broken connections; not those that provably are the way's. */
  errors: z.number().int(),
  /** 0 to 1. Null: nothing was sent to it. */
  errorRate: z.number().nullable(),
  /** Of good answers, until the head; within 9 %. Null: there was none. */
  p50Ms: z.number().nullable(),
  p95Ms: z.number().nullable(),
};

/** What visitors sent to each release and instance within the last minute, as the edge counted it. */
export const visitsSchema = z
  .object({
    from: time,
    to: time,
    releases: z.array(z.object({ release: z.string(), version: z.string(), weight: z.number(), ...figures })),
    instances: z.array(
      z.object({
        instance: z.string(),
        release: z.string(),
        version: z.string(),
        host: z.string(),
        slot: z.number().int(),
        ...figures,
      }),
    ),
  })
  .meta({ id: "Visits" });
export type VisitsView = z.infer<typeof visitsSchema>;
