import { z } from "zod";

export const createLockSchema = z
  .strictObject({
    reason: z.string().min(1).max(500),
    expiresInMinutes: z.number().int().min(1).max(10_080).default(1_440),
  })
  .meta({ id: "CreateLock" });

export const createMaintenanceSchema = z
  .strictObject({
    /** `maintenance`: 503 with `Retry-After`. `pause`: new requests are held for up to 30 s, then 503. */
    mode: z.enum(["maintenance", "pause"]).default("maintenance"),
    message: z.string().max(2_000).optional(),
    retryAfterS: z.number().int().min(1).max(86_400).default(120),
  })
  .meta({ id: "CreateMaintenance" });
