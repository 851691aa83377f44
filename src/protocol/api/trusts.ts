import { z } from "zod";
import { nameSchema, time } from "./scalars.ts";

export const PROVIDERS = ["github", "gitlab", "buildkite", "circleci", "forgejo"] as const;
const text = z.string().min(1).max(300);
const actionSchema = z.enum(["deploy", "preview", "any"]);

export const createTrustSchema = z
  .strictObject({
    provider: z.enum(PROVIDERS),
    /** `acme/shop`; CircleCI: `<organization id>/<project id>`. */
    project: text,
    /** For an instance of one's own. */
    issuer: text.optional(),
    /** By the claim's name: `repository_id`, … */
    ids: z.record(z.string().max(60), z.string().max(64)).default({}),
    pinOnFirstUse: z.boolean().default(false),
    byName: z.boolean().default(false),
    /** Of `preview` they may be left out: then those of pull requests. */
    refs: z.array(text).max(20).default([]),
    /** Beside the usual ones. */
    events: z
      .array(z.string().regex(/^[a-z_]{1,40}$/))
      .max(20)
      .default([]),
    claims: z.record(z.string().max(100), text).default({}),
    app: nameSchema,
    environment: nameSchema.optional(),
    role: z.enum(["deployer", "approver", "viewer"]).default("deployer"),
    /**
     * `deploy`: apply, releases, rollbacks, weights and previews; `preview`: the preview of the job's own pull request; `any`:
     * whatever the role may.
     */
    action: actionSchema.default("deploy"),
  })
  .refine(({ action, role }) => action !== "preview" || role === "deployer", {
    message: "goes with the role deployer",
    path: ["role"],
  })
  .refine(({ action, environment }) => action !== "preview" || environment === undefined, {
    message: "is none of a preview's: each pull request has its own",
    path: ["environment"],
  })
  .meta({ id: "CreateTrust" });

export const trustSchema = z
  .object({
    id: z.string(),
    provider: z.enum(PROVIDERS),
    issuer: z.string(),
    project: z.string(),
    /** Claims that must be there, each with its allowed values. */
    pins: z.record(z.string(), z.array(z.string())),
    refs: z.array(z.string()),
    /** Ids that the first token to fit will pin. */
    pinOnFirstUse: z.array(z.string()),
    role: z.enum(["deployer", "approver", "viewer"]),
    action: actionSchema,
    app: z.string(),
    environment: z.string().nullable(),
    createdAt: time,
    createdBy: z.string(),
  })
  .meta({ id: "Trust" });
export type TrustView = z.infer<typeof trustSchema>;

const jwt = z.string().min(1).max(16_384);

export const exchangeSchema = z
  .strictObject({
    token: jwt,
    /** What it is wanted for, where several trusts fit. */
    app: nameSchema.optional(),
    environment: nameSchema.optional(),
  })
  .meta({ id: "Exchange" });

export const exchangedSchema = z
  .object({
    token: z.string(),
    expiresAt: time,
    role: z.enum(["deployer", "approver", "viewer"]),
    action: actionSchema,
    app: z.string(),
    environment: z.string().nullable(),
    trust: z.string(),
  })
  .meta({ id: "Exchanged" });

export const renewedSchema = z.object({ expiresAt: time }).meta({ id: "Renewed" });

export const explainSchema = z.strictObject({ token: jwt }).meta({ id: "Explain" });

export const explainedSchema = z
  .object({
    /** What is wrong with the token itself; null: its issuer signed it for this control plane and for now. */
    problem: z.string().nullable(),
    issuer: z.string().nullable(),
    /** As the token has them: not to be believed where there is a problem. */
    claims: z.record(z.string(), z.string()),
    /** Each trust of its issuer, the one that fits best first. */
    trusts: z.array(
      z.object({
        id: z.string(),
        project: z.string(),
        app: z.string(),
        environment: z.string().nullable(),
        mismatches: z.array(z.object({ claim: z.string(), wanted: z.string(), got: z.string().nullable() })),
      }),
    ),
  })
  .meta({ id: "Explained" });
export type Explained = z.infer<typeof explainedSchema>;
