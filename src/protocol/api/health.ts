import { z } from "zod";

export const healthAnswerSchema = z
  .object({
    status: z.enum(["healthy", "degraded", "unhealthy"]),
    version: z.string(),
    checks: z.record(
      z.string(),
      z.object({
        status: z.enum(["up", "down"]),
        responseTimeMs: z.number(),
        message: z.string().optional(),
      }),
    ),
  })
  .meta({ id: "Health" });
