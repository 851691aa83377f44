import { z } from "zod";
import { failedRequestSchema } from "./failures.ts";
import { time } from "./scalars.ts";

/** One judgement of a canary, with every number that it was reached from. */
export const verdictSchema = z
  .object({
    at: time,
    window: time,
    verdict: z.string(),
    reason: z.string(),
    words: z.string(),
    numbers: z.record(z.string(), z.unknown()),
    /** Of the route that it names first, where the app was asked what it wrote of it. */
    failedRequest: failedRequestSchema.nullable().default(null),
  })
  .meta({ id: "Verdict" });
export type VerdictView = z.infer<typeof verdictSchema>;

/** Limits to judge kept counts by, in the place of the environment's own. */
export const replayQuerySchema = z.object({
  errorRateMax: z.coerce.number().gt(0).lt(1).optional().describe("a fraction: 0.01 is 1 %"),
  p95MaxMs: z.coerce.number().positive().max(600_000).optional(),
});

/** How a release would have come out by other settings. */
export const replaySchema = z
  .object({
    release: z.string(),
    version: z.string(),
    /** Windows of 10 s whose counts were kept, and those until the verdict. */
    kept: z.number().int(),
    windows: z.number().int(),
    /** What was said then, last; null: nothing. */
    was: z.object({ verdict: z.string(), words: z.string() }).nullable(),
    /** Null: nothing was kept. */
    now: z.object({ verdict: z.string(), words: z.string() }).nullable(),
    /** When it would have been proven no worse, windows from the first; null: never. */
    provenAfter: z.number().int().nullable(),
  })
  .meta({ id: "Replay" });
export type ReplayView = z.infer<typeof replaySchema>;
