import { z } from "zod";
import { GATES } from "../../domain/approval/approval.ts";
import { RELEASE_STATES } from "../../domain/rollout/release.ts";
import { IMAGE } from "../manifest/scalars.ts";
import { nextStepSchema } from "../problem.ts";
import { failedRequestSchema, failureSchema } from "./failures.ts";
import { instanceSchema } from "./instances.ts";
import { planSchema } from "./plans.ts";
import { time } from "./scalars.ts";

const approvalSchema = z.object({
  before: z.enum(GATES),
  /** Which step, from 0; null: not a step's. */
  step: z.number().int().nullable(),
  /** The image that is approved, by its digest. */
  digest: z.string(),
  needed: z.number().int(),
  given: z.array(z.object({ by: z.string(), at: time })),
  /** It goes no further until it is approved or rejected. */
  waits: z.boolean(),
  askedAt: time,
  /** Who is not approved by then is ended. */
  deadlineAt: time,
});

export const releaseSchema = z
  .object({
    id: z.string(),
    app: z.string(),
    environment: z.string(),
    version: z.string(),
    image: z.string(),
    digest: z.string().nullable(),
    state: z.enum(RELEASE_STATES),
    strategy: z.string(),
    /** Why it was made: `deploy` or `rollback`. */
    kind: z.enum(["deploy", "rollback", "restart"]),
    /** Who asked, e.g. `token:ci`. */
    by: z.string(),
    git: z
      .object({
        sha: z.string(),
        branch: z.string().optional(),
        url: z.string().optional(),
        committedAt: time.optional(),
        /** The CI run that made it. */
        run: z.string().optional(),
      })
      .nullable(),
    /** Percent of eligible traffic the table gives it now. */
    weight: z.number(),
    /** Which step of how many; null before shifting. */
    step: z
      .object({ index: z.number().int(), of: z.number().int(), label: z.string(), since: time.nullable() })
      .nullable(),
    /** Holds where it is: since when, who, why, and when it goes on by itself (null: until told). */
    paused: z.object({ at: time, by: z.string(), reason: z.string(), until: time.nullable() }).nullable(),
    /** What it waits for at its last gate, or was given there. */
    approval: approvalSchema.nullable().default(null),
    /** The judge's last word on a canary. */
    verdict: z.object({ verdict: z.string(), reason: z.string(), words: z.string(), at: time }).nullable(),
    createdAt: time,
    startedAt: time.nullable(),
    /** When it first had all traffic. */
    servingAt: time.nullable(),
    endedAt: time.nullable(),
    /** When the running state ends by itself if nothing else happens. */
    deadlineAt: time.nullable(),
    /** Until when its instances are kept for an instant rollback. */
    warmUntil: time.nullable(),
    /** Milliseconds spent per state. */
    timings: z.record(z.string(), z.number()),
    /** It has all traffic, and its workers are taking over: if they can't, it goes back yet. */
    handsOver: z.boolean().default(false),
    failure: failureSchema.nullable(),
    /** Of the route that the last verdict names. */
    failedRequest: failedRequestSchema.nullable().default(null),
    /** What a visitor would have met there before the first one came, and what mends it. */
    look: z
      .array(z.object({ code: z.string(), detail: z.string(), fix: z.string(), fatal: z.boolean() }))
      .default([]),
    /** Visitors' requests since the release began: all of the environment's, and how many of them failed. */
    traffic: z.object({ requests: z.number().int(), failed: z.number().int() }),
    instances: z.array(instanceSchema),
    plan: planSchema,
    next: z.array(nextStepSchema),
  })
  .meta({ id: "Release" });
export type ReleaseView = z.infer<typeof releaseSchema>;

/** What a person names for a release to run; a mistake is told before a host finds it. */
export const imageSchema = z
  .string()
  .min(1, "is empty")
  .max(500)
  .superRefine((image, context) => {
    const refuse = (message: string) => context.addIssue({ code: "custom", message });
    if (image !== image.trim()) return refuse(`has white space around it: write \`${image.trim()}\``);
    if (IMAGE.test(image) || SHORT.test(image)) return;
    const lower = lowerRepository(image);
    if (IMAGE.test(lower))
      return refuse(`has capitals in its repository, which no registry takes: write \`${lower}\``);
    refuse("must be an image such as ghcr.io/acme/shop:1.4.2, a digest (repo@sha256:…), or file:<directory>");
  });

/** `:v2`, `@sha256:…`: of the manifest's image. */
const SHORT = /^(?::\w[\w.-]{0,127}|@sha256:[0-9a-f]{64})$/;

/** Of a reference all but the tag. */
const lowerRepository = (image: string) =>
  image.replace(
    /^(.*?)((?::[^/:@]*)?(?:@.*)?)$/,
    (_, name: string, rest: string) => name.toLowerCase() + rest,
  );

export const versionSchema = z.string().superRefine((version, context) => {
  if (/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(version)) return;
  const near = version
    .replace(/[^A-Za-z0-9._-]+/g, "-")
    .replace(/^[^A-Za-z0-9]+|-+$/g, "")
    .slice(0, 64);
  const hint = near ? `: write \`${near}\`` : "";
  context.addIssue({
    code: "custom",
    message: `must be 1–64 of A-Z a-z 0-9 . _ -, beginning with a letter or digit${hint}`,
  });
});

/** No character that could end a link in a message. */
const webAddress = z
  .string()
  .max(500)
  .regex(/^https?:\/\/[^\s<>|"'\\^`{}]+$/, "must be a URL")
  .refine((text) => URL.canParse(text), "must be a URL");

export const createReleaseSchema = z
  .strictObject({
    /** A reference with tag or digest (`repo@sha256:…`), `:tag` or `@sha256:…` of the manifest's image, local image id (`sha256:…`) or `file:<directory>`; default: the manifest's image. */
    image: imageSchema.optional(),
    /** Instead of an image: the very digest that serves in another environment, if that is the release (id or label) that was looked at. */
    from: z.strictObject({ environment: z.string().max(40), release: z.string().min(1).max(64) }).optional(),
    /** Human label; default `v<n>`. Unique in the environment. */
    version: versionSchema.optional(),
    git: z
      .strictObject({
        sha: z.string().max(64),
        branch: z.string().max(255).optional(),
        url: z.string().max(500).optional(),
        /** When the commit was made: what lead time is reckoned from. */
        committedAt: time.optional(),
        /** The CI run that made it: messages lead there. */
        run: webAddress.optional(),
      })
      .optional(),
    /** When another release is in progress: wait for it, refuse, or replace it. */
    whenBusy: z.enum(["queue", "reject", "supersede"]).default("queue"),
    /** Prepare it and keep it at 0 % until it is promoted. */
    hold: z.boolean().default(false),
    /** Begin outside the deploy windows, for the reason given, if any; audited. */
    override: z.union([z.boolean(), z.string().trim().min(1).max(500)]).default(false),
  })
  .refine(({ from, image }) => !from || image === undefined, "takes `image` or `from`, not both")
  .meta({ id: "CreateRelease" });
export type CreateRelease = z.input<typeof createReleaseSchema>;
