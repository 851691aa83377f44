import { z } from "zod";
import { isNumber } from "../../../domain/previews/hostname.ts";
import { endingSchema } from "../endings.ts";
import { createReleaseSchema, imageSchema, releaseSchema } from "../releases.ts";
import { time } from "../scalars.ts";

/** Pull requests' previews in the HTTP API. */

/** A pull request's number as text: no zero, none before it. */
export const pullNumberSchema = z.string().refine(isNumber, "must be a pull request's number, such as 12");

const numberSchema = z.number().int().min(1).max(999_999_999);

export const openPreviewSchema = z
  .strictObject({
    /** Of the pull request. A token for one pull request opens no other's. */
    number: numberSchema,
    /** What is to run; it was pushed before. */
    image: imageSchema,
    git: createReleaseSchema.shape.git,
    /** Of the pull request, for people. */
    url: z
      .url({ protocol: /^https?$/ })
      .max(500)
      .optional(),
    /** Number of the CI run, which rises: an older one's word comes too late. Of a job that came without a secret it is its token's. */
    run: z.number().int().min(0).max(Number.MAX_SAFE_INTEGER).optional(),
    /** It comes from a fork. */
    fork: z.boolean().default(false),
  })
  .meta({ id: "OpenPreview" });
export type OpenPreview = z.input<typeof openPreviewSchema>;

export const pullPreviewSchema = z
  .object({
    app: z.string(),
    number: z.number().int(),
    /** Its environment: for `-e`, logs and all else. */
    environment: z.string(),
    url: z.string(),
    /** `down`: it is being taken down. */
    state: z.enum(["waiting", "serving", "down"]),
    createdAt: time,
    expiresAt: time,
    git: z.object({ sha: z.string().optional(), branch: z.string().optional() }),
    /** Of the pull request. */
    pull: z.string().nullable(),
    by: z.string(),
    /** Why it is taken down. */
    cause: z.string().nullable(),
  })
  .meta({ id: "PullPreview" });
export type PullPreview = z.infer<typeof pullPreviewSchema>;

export const openedPreviewSchema = z
  .object({ preview: pullPreviewSchema, release: releaseSchema })
  .meta({ id: "OpenedPreview" });
export type OpenedPreview = z.infer<typeof openedPreviewSchema>;

export const closedPreviewSchema = z
  .object({
    /** How far it is; null: it was not there, or is not any more. */
    ending: endingSchema.nullable(),
  })
  .meta({ id: "ClosedPreview" });
export type ClosedPreview = z.infer<typeof closedPreviewSchema>;
