import { z } from "zod";
import { RUN_STATES } from "../../domain/processes/run.ts";
import { time } from "./scalars.ts";

/** A command that runs to its end: at a time of its schedule, or because a person asked for it. */
export const runSchema = z
  .object({
    id: z.string(),
    /** Null: a person's command. */
    process: z.string().nullable(),
    release: z.string(),
    version: z.string(),
    command: z.array(z.string()),
    by: z.string(),
    /** The time of its schedule. */
    dueAt: time.nullable(),
    /** Times before it that passed while nobody could run them. */
    missed: z.number().int(),
    /** `waiting` for the one before or for a host; `lost`: nobody knows how it ended; `stopped`: by a person. */
    state: z.enum(RUN_STATES),
    cause: z.string().nullable(),
    exitCode: z.number().int().nullable(),
    /** Its last lines, once it has ended. */
    logs: z.array(z.string()),
    host: z.string().nullable(),
    createdAt: time,
    startedAt: time.nullable(),
    endedAt: time.nullable(),
  })
  .meta({ id: "Run" });
export type RunView = z.infer<typeof runSchema>;

const MAX_COMMAND = 16_384;

export const createRunSchema = z.strictObject({
  command: z
    .array(z.string().max(MAX_COMMAND))
    .min(1)
    .max(200)
    .refine((words) => words.join(" ").length <= MAX_COMMAND, `must have at most ${MAX_COMMAND} characters`),
  /** It is ended after so long. */
  deadlineSeconds: z.number().int().min(10).max(86_400).default(3_600),
});
export type CreateRun = z.input<typeof createRunSchema>;

const countsSchema = z
  .record(z.string().max(40), z.number().int().min(0).max(100))
  .refine((counts) => Object.keys(counts).length > 0, "must name a process, such as { web: 4 }");
export const scaleSchema = z.strictObject({ counts: countsSchema });

/** `release`: the one that does it; null: none is needed, workers come and go by themselves. */
export const againSchema = z.object({ release: z.string().nullable() });
