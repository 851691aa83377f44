import { z } from "zod";
import { releaseSchema } from "./releases.ts";

export const abortSchema = z.strictObject({ reason: z.string().max(500).optional() }).meta({ id: "Abort" });

/**
 * `step` (0-based) is the last one that the caller saw begin, -1 where none had: a stale one is refused (409 `stale_step`), so
 * that a double click skips nothing.
 */
const stepRef = { step: z.number().int().min(-1).optional() };

export const promoteSchema = z
  .strictObject({ ...stepRef, full: z.boolean().default(false) })
  .meta({ id: "Promote" });

export const approveSchema = z
  .strictObject({
    /** The digest that you looked at: another one now is refused (412 `precondition_failed`). */
    digest: z.string().max(500).optional(),
    /** The step (from 0) at which you saw it wait: another one now is refused (`stale_step`). */
    ...stepRef,
  })
  .meta({ id: "Approve" });
export const rejectSchema = z.strictObject({ reason: z.string().max(500).optional() }).meta({ id: "Reject" });

export const pauseSchema = z.strictObject(stepRef).meta({ id: "Pause" });
export const resumeSchema = z.strictObject(stepRef).meta({ id: "Resume" });

export const rollbackSchema = z
  .strictObject({
    /** Release id or version label. Default: the last release that served all traffic before this one. */
    to: z.string().max(64).optional(),
    /** The release (id or label) that you saw serving. Another one now is answered with 412, so that a double click goes back once. */
    from: z.string().max(64).optional(),
  })
  .meta({ id: "Rollback" });

export const rollbackAnswerSchema = z
  .object({
    /** `instant`: a weight flip to warm instances. `restart`: a new release of the old digest. */
    how: z.enum(["instant", "restart"]),
    from: z.object({ release: z.string(), version: z.string() }),
    to: z.object({ release: z.string(), version: z.string() }),
    release: releaseSchema,
  })
  .meta({ id: "RollbackAnswer" });
export type RollbackAnswer = z.infer<typeof rollbackAnswerSchema>;

/** The whole split: release id or version label → percent, at most two decimals. Sums to 100. */
export const weightsSchema = z.record(z.string(), z.number().min(0).max(100)).meta({ id: "Weights" });
export type Weights = z.infer<typeof weightsSchema>;
