import { z } from "zod";
import { ms } from "./wire.ts";

/** An HTTP check of an instance. Durations in milliseconds. Success is any 2xx; a redirect is a failure, and is named. */
export const probeSchema = z.strictObject({
  path: z.string().startsWith("/"),
  intervalMs: ms.min(50),
  timeoutMs: ms.min(50),
  /** Consecutive failures before the verdict falls. */
  failures: z.number().int().min(1),
  /** Consecutive successes before the verdict rises. */
  successes: z.number().int().min(1),
});
export type Probe = z.infer<typeof probeSchema>;

export const healthSpecSchema = z.strictObject({
  /** Polled until it first succeeds; `deadlineMs` is how long the instance may take to become ready at all. */
  startup: probeSchema.extend({ deadlineMs: ms }),
  readiness: probeSchema,
  /** Absent: never restarted for its answers, only when it exits. */
  liveness: probeSchema.optional(),
});
