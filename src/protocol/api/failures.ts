import { z } from "zod";

/** A request that failed on the route which a verdict names, and what the app wrote of it. */
export const failedRequestSchema = z
  .object({
    /** As the app got it in `X-Request-Id`. */
    id: z.string(),
    route: z.string(),
    host: z.string().nullable(),
    /** Oldest first, at most 20 and 4 kB: those that hold the id, or what the note says. */
    lines: z.array(z.string()),
    /** Why they are not lines that hold the id; null: they are. */
    note: z.string().nullable(),
  })
  .meta({ id: "FailedRequest" });
export type FailedRequestView = z.infer<typeof failedRequestSchema>;

export const failureSchema = z
  .object({
    /** Stable, e.g. `health_status`, `image_not_found`, `deadline`, `no_slots`. */
    code: z.string(),
    message: z.string(),
    /** Which check failed, with which value, against which limit. */
    check: z.object({ name: z.string(), value: z.string(), limit: z.string() }).optional(),
    host: z.string().optional(),
    instance: z.string().optional(),
    /** The app's last lines, oldest first. */
    logs: z.array(z.string()).default([]),
  })
  .meta({ id: "Failure" });
