import { z } from "zod";
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
  })
  .meta({ id: "Verdict" });
export type VerdictView = z.infer<typeof verdictSchema>;
