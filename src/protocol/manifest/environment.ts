import { z } from "zod";
import { GATES } from "../../domain/approval/approval.ts";
import { hostnameSchema } from "../api/hostnames.ts";
import { requiresSchema } from "./build.ts";
import { resourcesSchema, secretNamesSchema, volumesSchema } from "./container.ts";
import { loadSchema } from "./load.ts";
import { previewsSchema } from "./previews.ts";
import { processChangesSchema } from "./processes.ts";
import { commandSchema, deadline, durationSchema, envSchema, NAME, NAME_RULE } from "./scalars.ts";
import { strategySchema, windowsSchema } from "./strategy.ts";

/** What a manifest says of one environment (`environments.<name>:`). */

const MARKS = "must be rollout, always or never";
const RESCUE = "must be off, gateway or errors";
const ASSETS = 'must be off, or a list of paths such as "/packs/**"';
const AFFINITY =
  "must be cookie, ip, none or header:<name>, or { by: cookie, to: instance } to keep each visitor to one instance";
const DAY_MS = 86_400_000;
/** Figures look back a month; a job's row is what says why last night's release failed. */
const keptFor = (days: number) =>
  durationSchema.refine((ms) => ms >= days * DAY_MS, `must be at least ${days * 24}h`).optional();
const retentionSchema = z.strictObject({
  jobs: keptFor(1),
  verdicts: keptFor(7),
  events: keptFor(30),
  releases: keptFor(30),
});
const known = [z.enum(["cookie", "ip"]), z.string().regex(/^header:[A-Za-z0-9-]+$/, AFFINITY)] as const;
const affinitySchema = z.union(
  [
    ...known,
    z.literal("none"),
    z.strictObject({ by: z.union(known), to: z.enum(["release", "instance"]).default("release") }),
  ],
  { error: AFFINITY },
);
/** Few stars: what matches them is anybody's to send. */
const assetPattern = z
  .string()
  .max(200)
  .regex(/^\/[^\s?#*]*(?:\*{1,2}[^\s?#*]+){0,3}\*{0,2}$/, ASSETS);
const assetsSchema = z.union([z.literal("off"), z.array(assetPattern).max(20)], { error: ASSETS });
const approvalSchema = z.strictObject({
  before: z
    .enum(GATES, { error: `must be ${GATES.slice(0, -1).join(", ")} or ${GATES.at(-1)}` })
    .default("traffic"),
  by: z.number().int().min(1).max(10).default(1),
  deadline: deadline.default(DAY_MS),
});
export const environmentSchema = z.strictObject({
  hostnames: z
    .array(hostnameSchema)
    .min(1)
    .max(50)
    .refine((names) => new Set(names).size === names.length, "names a hostname twice"),
  stripPrefix: z.boolean().default(false),
  hosts: z.record(z.string(), z.string()).default({}),
  /** These two are `sluice ship`'s. */
  requires: requiresSchema.optional(),
  smokeTest: commandSchema.optional(),
  replicas: z.number().int().min(1).max(100).default(1),
  strategy: strategySchema.default({ "blue-green": null }),
  approval: approvalSchema.optional(),
  previews: previewsSchema.optional(),
  windows: windowsSchema.default({ allow: [], freeze: [] }),
  keep: durationSchema.default(600_000),
  /** These four in the place of the app's own. */
  port: z.number().int().min(1).max(65_535).optional(),
  command: commandSchema.optional(),
  resources: resourcesSchema.unwrap().optional(),
  volumes: volumesSchema.unwrap().optional(),
  /** What differs of the app's accessories here. */
  accessories: z.record(z.string(), z.strictObject({ host: z.string().regex(NAME, NAME_RULE) })).default({}),
  processes: processChangesSchema,
  env: envSchema.default({}),
  secrets: secretNamesSchema,
  affinity: affinitySchema.default("cookie"),
  timeouts: z.strictObject({ response: deadline.optional() }).default({}),
  rescue: z.enum(["off", "gateway", "errors"], { error: RESCUE }).default("errors"),
  watch: z.enum(["on", "alert", "off"], { error: "must be on, alert or off" }).default("on"),
  load: loadSchema.optional(),
  hedge: z.enum(["on", "off"], { error: "must be on or off" }).default("off"),
  sockets: z.enum(["keep", "spread"], { error: "must be keep or spread" }).default("keep"),
  assets: assetsSchema.default([]),
  marks: z.enum(["rollout", "always", "never"], { error: MARKS }).optional(),
  /** Older than `marks`: true is `always`, false `never`. */
  showRelease: z.boolean().optional(),
  retention: retentionSchema.default({}),
  deadlines: z
    .strictObject({
      prepare: deadline.optional(),
      hook: deadline.optional(),
      pause: deadline.optional(),
      verify: deadline.optional(),
      release: deadline.optional(),
    })
    .default({}),
});
