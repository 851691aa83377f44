import { z } from "zod";
import { nameSchema, time } from "./scalars.ts";

export const createEnrollmentSchema = z
  .strictObject({
    name: nameSchema,
    labels: z.record(z.string().max(63), z.string().max(63)).default({}),
    slots: z.number().int().min(1).max(200).default(8),
    /** Minutes the one-time token is good for. */
    expiresInMinutes: z.number().int().min(1).max(1440).default(60),
    /** Image of the agent: the command then runs it as a container instead of a systemd unit. */
    container: z.string().min(1).max(300).optional(),
    /** How the edge reaches the host without a tunnel, e.g. `http://10.0.0.7`. */
    originBase: z.url().max(300).optional(),
  })
  .meta({ id: "CreateEnrollment" });

export const enrollmentSchema = z
  .object({
    name: z.string(),
    token: z.string(),
    expiresAt: time,
    command: z.string(),
    /** SHA-256 of the agent that the command installs; absent for a container. */
    agentSha256: z.string().optional(),
  })
  .meta({ id: "Enrollment" });
export type EnrollmentView = z.infer<typeof enrollmentSchema>;
