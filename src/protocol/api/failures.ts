import { z } from "zod";

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
