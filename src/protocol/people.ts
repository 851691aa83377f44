import { z } from "zod";
import { nameSchema, time } from "./api/scalars.ts";

const EMAIL = /^(?:\*|[^\s@*:]{1,64})@[a-z0-9.-]{1,150}$/i;
const WHO_RULE = "must be an e-mail address, *@<domain>, group:<name> or service:<client id>";
/** Addresses are compared without case. */
const whoSchema = z
  .string()
  .max(250)
  .refine((who) => EMAIL.test(who) || /^(?:group|service):\S.{0,200}$/.test(who), WHO_RULE);
const emailSchema = z.email().max(200).toLowerCase();
/** An account elsewhere: `slack:T0123/U0456` (team and user), or a CI system's numeric id of a person. */
const identitySchema = z
  .string()
  .max(200)
  .regex(
    /^(?:slack:T\w+\/[UW]\w+|(?:github|gitlab|forgejo|buildkite|circleci):[\w-]+)$/,
    "must be slack:<team id>/<user id>, or github:<numeric id>",
  );

export const allowPersonSchema = z
  .strictObject({
    who: whoSchema,
    role: z.enum(["admin", "deployer", "approver", "viewer"]),
    app: nameSchema.optional(),
    environment: nameSchema.optional(),
  })
  .refine((grant) => grant.environment === undefined || grant.app !== undefined, {
    message: "a role for an environment needs `app`",
    path: ["app"],
  })
  .meta({ id: "AllowPerson" });

export const grantSchema = z
  .object({
    id: z.string(),
    who: z.string(),
    role: z.string(),
    app: z.string().nullable(),
    environment: z.string().nullable(),
    createdAt: time,
    createdBy: z.string(),
  })
  .meta({ id: "PersonGrant" });
export type GrantView = z.infer<typeof grantSchema>;

export const linkPersonSchema = z
  .strictObject({ identity: identitySchema, email: emailSchema })
  .meta({ id: "LinkPerson" });

export const accessSchema = z
  .strictObject({
    /** `acme`, or `https://acme.cloudflareaccess.com`. */
    team: z.string().min(1).max(200),
    /** The application's Audience tag. */
    audience: z.string().regex(/^[0-9a-f]{64}$/, "must be the 64 hex digits that Access shows as AUD tag"),
  })
  .meta({ id: "AccessApplication" });

export const peopleSchema = z
  .object({
    access: z.object({ team: z.string(), audience: z.string() }).nullable(),
    grants: z.array(grantSchema),
    links: z.array(z.object({ identity: z.string(), email: z.string() })),
  })
  .meta({ id: "People" });
export type PeopleView = z.infer<typeof peopleSchema>;
