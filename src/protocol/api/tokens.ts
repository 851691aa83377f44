import { z } from "zod";
import { nameSchema, time } from "./scalars.ts";

export const ROLES = ["admin", "deployer", "approver", "viewer", "agent"] as const;

export const createTokenSchema = z
  .strictObject({
    name: nameSchema,
    role: z.enum(["admin", "deployer", "approver", "viewer"]),
    app: nameSchema.optional(),
    environment: nameSchema.optional(),
    /** Whose it is, by their e-mail address: what people start and what they approve is told apart by it. */
    person: z.email().max(200).toLowerCase().optional(),
    /** All that it is for, beside reading: `deploy`, or `preview`, pull requests' previews and nothing else; `any`: what its role may. */
    action: z.enum(["any", "deploy", "preview"]).default("any"),
    /** Days until it expires; default 90, at most 365. */
    expiresInDays: z.number().int().min(1).max(365).default(90),
  })
  .refine((t) => t.environment === undefined || t.app !== undefined, {
    message: "a token scoped to an environment needs `app`",
    path: ["app"],
  })
  .refine((t) => t.action === "any" || t.role === "deployer", {
    message: "goes with the role deployer",
    path: ["action"],
  })
  .refine((t) => t.action !== "preview" || t.environment === undefined, {
    message: "is none of a preview's: each pull request has its own",
    path: ["environment"],
  })
  .meta({ id: "CreateToken" });

export const tokenSchema = z
  .object({
    id: z.string(),
    name: z.string(),
    role: z.enum(ROLES),
    app: z.string().nullable(),
    environment: z.string().nullable(),
    action: z.enum(["any", "deploy", "preview"]).default("any"),
    /** Whose it is, where that was said. */
    person: z.string().nullable().default(null),
    createdAt: time,
    expiresAt: time.nullable(),
    revokedAt: time.nullable(),
    lastUsedAt: time.nullable(),
  })
  .meta({ id: "Token" });
export type TokenView = z.infer<typeof tokenSchema>;
export const createdTokenSchema = tokenSchema.extend({ token: z.string() }).meta({ id: "CreatedToken" });
