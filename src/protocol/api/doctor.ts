import { z } from "zod";
import { time } from "./scalars.ts";
import { ROLES } from "./tokens.ts";

export const doctorSchema = z
  .object({
    /** Control's clock. */
    now: time,
    version: z.string(),
    /** Who asked, as the audit log names them. */
    actor: z.string(),
    role: z.enum(ROLES),
    checks: z.array(
      z.object({
        /** Stable, e.g. `host.disk`. */
        id: z.string(),
        /** `control`, a host's or a public hostname's name. */
        subject: z.string(),
        status: z.enum(["ok", "warn", "fail", "skip"]),
        detail: z.string(),
        /** What mends it. */
        fix: z.string().nullable(),
      }),
    ),
    /** With `live=1`: an empty slot of each host with a tunnel, to be asked from outside. */
    slots: z.array(z.object({ host: z.string(), origin: z.url() })).default([]),
  })
  .meta({ id: "Doctor" });
export type DoctorView = z.infer<typeof doctorSchema>;

/** A slot's hostname, asked bare as a request of control's, an object's, or an object's alarm; or how D1 counts a batch. */
export const insideQuestionSchema = z
  .discriminatedUnion("kind", [
    z.object({ kind: z.literal("batch") }),
    z.object({
      kind: z.literal("look"),
      hostname: z.string().max(253),
      from: z.enum(["request", "object", "alarm"]),
    }),
  ])
  .meta({ id: "InsideQuestion" });

const insideSeenSchema = z.object({
  /** Null: no answer, and `error` says why. */
  status: z.number().int().nullable(),
  error: z.string().nullable(),
  /** Cloudflare's own error code, e.g. `1033`. */
  code: z.string().nullable(),
  /** Sluice's shield answered. */
  isShielded: z.boolean(),
  /** Which of the zone's securities answered: `challenge`, `access`, … */
  stoppedBy: z.string().nullable(),
});
export type InsideSeen = z.infer<typeof insideSeenSchema>;

export const insideAnswerSchema = z
  .discriminatedUnion("kind", [
    /** Null: D1 took a batch of 1,001 statements. */
    z.object({ kind: z.literal("batch"), refused: z.string().nullable() }),
    z.object({ kind: z.literal("look"), seen: insideSeenSchema }),
  ])
  .meta({ id: "InsideAnswer" });
export type InsideQuestion = z.infer<typeof insideQuestionSchema>;
export type InsideAnswer = z.infer<typeof insideAnswerSchema>;
