import { z } from "zod";
import { time } from "./scalars.ts";
import { ROLES } from "./tokens.ts";

export const signInSchema = z.strictObject({
  token: z.string().min(1).max(200),
  /** Where a form's answer leads: a path on control, else `/`. */
  next: z.string().max(500).optional(),
});
export type SignIn = z.infer<typeof signInSchema>;

/** Who asks, and what for. */
export const identitySchema = z
  .object({
    /** As the audit log names them. */
    actor: z.string(),
    role: z.enum(ROLES),
    /** Null: every app. */
    app: z.string().nullable(),
    /** Null: every environment of the app. */
    environment: z.string().nullable(),
  })
  .meta({ id: "Identity" });
export const signedInSchema = identitySchema.extend({ expiresAt: time }).meta({ id: "SignedIn" });
