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
