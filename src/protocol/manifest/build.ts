import { z } from "zod";
import { commandSchema, envSchema } from "./scalars.ts";

/** How `sluice ship` makes the image (`build:`), and what it asks for first (`environments.<name>.requires`). Control reads neither. */

const PLATFORM = /^[a-z0-9]+\/[a-z0-9]+(?:\/[a-z0-9]+)?$/;
const platformSchema = z.string().regex(PLATFORM, "must be a platform such as linux/amd64");
/** One that begins with a dash would be read as a flag by somebody yet. */
const place = z
  .string()
  .min(1)
  .max(500)
  .regex(/^(?!-)(?!\w+:\/\/)/, "must be a path from the manifest's folder");

const buildMapSchema = z.strictObject({
  context: place.default("."),
  dockerfile: place.optional(),
  target: z
    .string()
    .regex(/^[A-Za-z0-9][\w.-]{0,127}$/, "must be the name of a stage of the Dockerfile")
    .optional(),
  platform: z.union([platformSchema, z.array(platformSchema).min(1).max(4)]).optional(),
  args: envSchema.default({}),
  secrets: z
    .array(z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/, "must be a variable's name"))
    .max(20)
    .default([]),
  cache: z.enum(["registry", "gha"], { error: "must be registry or gha" }).optional(),
});
/** `build: .`, as in a compose file. */
export const buildSchema = z.union([
  place.transform((context) => buildMapSchema.parse({ context })),
  buildMapSchema,
]);
export type Build = z.output<typeof buildMapSchema>;

const BRANCH = z.string().min(1).max(255);
export const requiresSchema = z.strictObject({
  branch: z.union([BRANCH, z.array(BRANCH).min(1).max(20)]).optional(),
  cleanTree: z.boolean().default(false),
  upToDate: z.boolean().default(false),
  test: commandSchema.optional(),
});
export type Requires = z.output<typeof requiresSchema>;
