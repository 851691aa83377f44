import { z } from "zod";
import { nextStepSchema } from "../problem.ts";
import { time } from "./scalars.ts";

/** A long-lived container beside an environment's instances: changed on command, never by a release. */
export const accessorySchema = z
  .object({
    name: z.string(),
    /** `absent`: the manifest has it, and it was never started or was removed. */
    state: z.enum(["absent", "starting", "running", "stopping", "stopped", "failed"]),
    since: time.nullable(),
    /** Where it lives; null: not decided before it is started. */
    host: z.string().nullable(),
    hostState: z.enum(["online", "offline", "removed"]).nullable(),
    /** As it was last started; of one that is absent, the manifest's. */
    image: z.string(),
    /** The same by digest. */
    pinned: z.string().nullable(),
    /** False: the manifest has it no more. It is kept until it is removed. */
    declared: z.boolean(),
    /** How what was last started differs from the manifest, e.g. `image postgres:16 → postgres:17`. */
    differs: z.array(z.string()),
    /** Why it failed, or what was left undone. */
    cause: z.string().nullable(),
    /** What changes it now, or changed it last. */
    job: z
      .object({
        id: z.string(),
        action: z.enum(["start", "stop", "upgrade", "remove"]),
        state: z.enum(["queued", "leased", "done", "failed", "cancelled"]),
        progress: z.string().nullable(),
        deadlineAt: time,
        /** Its last lines, oldest first, where it failed. */
        logs: z.array(z.string()),
      })
      .nullable(),
    /** What holds its data, by the names on its host. They stay when it is removed. */
    volumes: z.array(z.string()),
    next: z.array(nextStepSchema),
  })
  .meta({ id: "Accessory" });
export type AccessoryView = z.infer<typeof accessorySchema>;
