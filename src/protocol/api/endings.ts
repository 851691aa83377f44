import { z } from "zod";
import { nextStepSchema } from "../problem.ts";
import { time } from "./scalars.ts";

/** An environment (null: all of the app's) on its way out. */
export const endingSchema = z
  .object({
    app: z.string(),
    environment: z.string().nullable(),
    since: time,
    by: z.string(),
    /** In words, e.g. `2 instances on web-1`. Empty: nothing is left, it goes any moment. */
    waitsFor: z.array(z.string()),
    /** Data volumes, by host: they stay where they are. */
    keeps: z.array(z.string()),
    next: z.array(nextStepSchema),
  })
  .meta({ id: "Ending" });
export type EndingView = z.infer<typeof endingSchema>;
