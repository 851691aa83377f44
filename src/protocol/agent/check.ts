import { z } from "zod";
import { ms } from "./wire.ts";

const port = z.number().int().min(1).max(65_535);
const status = z.number().int().min(100).max(599);

/**
 * A check of an instance, of one kind: a GET (`path`), whose success is any 2xx unless `statuses` says otherwise, a redirect
 * being a failure that is named; a connection (`tcp`); or a command inside it, by its exit code. Durations in milliseconds.
 */
export const checkSchema = z.strictObject({
  path: z.string().startsWith("/").optional(),
  tcp: z.literal(true).optional(),
  command: z.array(z.string()).min(1).optional(),
  /** What the GET says in `Host`. */
  host: z.string().max(300).optional(),
  headers: z.record(z.string(), z.string()).optional(),
  /** Good answers, as ranges, both ends included. */
  statuses: z
    .array(z.tuple([status, status]))
    .max(20)
    .optional(),
  /** Of the instance; absent: the one that visitors get. */
  port: port.optional(),
  intervalMs: ms.min(50),
  timeoutMs: ms.min(50),
  /** Consecutive failures before the verdict falls. */
  failures: z.number().int().min(1),
  /** Consecutive successes before the verdict rises. */
  successes: z.number().int().min(1),
});
export type Check = z.infer<typeof checkSchema>;

export const healthSpecSchema = z.strictObject({
  /** Polled until it first succeeds; `deadlineMs` is how long the instance may take to become ready at all. */
  startup: checkSchema.extend({ deadlineMs: ms }),
  readiness: checkSchema,
  /** Absent: never restarted for its answers, only when it exits. */
  liveness: checkSchema.optional(),
});
