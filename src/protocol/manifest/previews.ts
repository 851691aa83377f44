import { z } from "zod";
import { isPreviewName, NUMBER } from "../../domain/previews/hostname.ts";
import type { PreviewRule } from "../../domain/previews/rule.ts";
import { isNumberedName } from "../api/hostnames.ts";
import { resourcesSchema, secretNamesSchema, toResources } from "./container.ts";
import { durationSchema, envSchema, IMAGE } from "./scalars.ts";

/** Previews of pull requests (`environments.<name>.previews:`). */

const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;
const HOSTNAME = `must be one hostname with ${NUMBER} once, in its first label: pr-${NUMBER}-shop.example.com`;
const namesSchema = z.array(z.string()).max(20).default([]);

export const previewsSchema = z.strictObject({
  hostname: z
    .string({ error: HOSTNAME })
    .max(253)
    .overwrite((text) => text.toLowerCase().replace(/\.$/, ""))
    .refine(isNumberedName, HOSTNAME),
  ttl: durationSchema
    .refine((ms) => ms >= 10 * MINUTE_MS, "must be at least 10m")
    .refine((ms) => ms <= 30 * DAY_MS, "must be at most 30d")
    .default(3 * DAY_MS),
  max: z.number().int().min(1).max(100).default(10),
  forks: z.boolean().default(false),
  image: z.string().max(500).regex(IMAGE, "must be an image such as ghcr.io/acme/shop-pr").optional(),
  env: envSchema.default({}),
  secrets: secretNamesSchema,
  hosts: z.record(z.string(), z.string()).optional(),
  resources: resourcesSchema.unwrap().optional(),
  hooks: z.boolean().default(false),
  processes: namesSchema,
  accessories: namesSchema,
});
type Previews = z.output<typeof previewsSchema>;

export function toPreviews({ ttl, image, hosts, resources, ...rest }: Previews): PreviewRule {
  return {
    ...rest,
    ttlMs: ttl,
    ...(image === undefined ? {} : { image }),
    ...(hosts === undefined ? {} : { hosts }),
    ...(resources === undefined ? {} : { resources: toResources(resources) }),
  };
}

/** Those are control's to give. */
export function refusePreviewNames(environments: Record<string, unknown>, context: z.RefinementCtx): void {
  for (const name of Object.keys(environments).filter(isPreviewName))
    context.addIssue({
      code: "custom",
      path: [name],
      message: "has a name that previews of pull requests have: call it otherwise",
    });
}

/** Whose pull requests they are is told by the app alone; and what comes along has to be there. */
export function refuseImpossiblePreviews(
  manifest: {
    processes: Record<string, unknown>;
    accessories: Record<string, { secrets: string[] }>;
    environments: Record<string, { previews?: Previews | undefined }>;
  },
  context: z.RefinementCtx,
): void {
  const [first, ...others] = Object.entries(manifest.environments).filter(([, { previews }]) => previews);
  const refuse = (path: PropertyKey[], message: string) =>
    context.addIssue({ code: "custom", path: ["environments", ...path], message });
  for (const [name] of others)
    refuse([name, "previews"], `stands in \`${first?.[0]}\` already: one environment of an app has previews`);
  if (!first?.[1].previews) return;
  const [name, { previews }] = first;
  for (const kind of ["processes", "accessories"] as const)
    for (const [index, one] of previews[kind].entries())
      if (!Object.hasOwn(manifest[kind], one))
        refuse([name, "previews", kind, index], `names \`${one}\`, which is not in \`${kind}\``);
  for (const secret of previews.secrets.filter((one) => Object.hasOwn(previews.env, one)))
    refuse([name, "previews", "env", secret], "stands in `previews.secrets` too: keep one of the two");
  refuseReservedNames(name, previews.env, refuse);
}

function refuseReservedNames(
  environment: string,
  env: Record<string, string>,
  refuse: (path: PropertyKey[], message: string) => void,
): void {
  for (const name of Object.keys(env))
    if (name === "PORT" || name.startsWith("SLUICE_"))
      refuse([environment, "previews", "env", name], "is a variable that Sluice sets itself");
}
