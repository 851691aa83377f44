import { z } from "zod";
import { accessorySpecSchema } from "./accessory.ts";
import { housing } from "./container.ts";
import { registryLoginSchema, verify } from "./image.ts";
import { instanceSpecSchema } from "./instance.ts";
import { id, ms } from "./wire.ts";

const jobBase = {
  id,
  lease: z.string(),
  /** The environment the job belongs to: the scope of `fence`. */
  environmentId: id,
  fence: z.number().int(),
  /** Epoch ms. After it control counts the job as failed; the agent gives up then, too. */
  deadlineAt: z.number().int(),
  /** Epoch ms. `progress` renews it. */
  leaseExpiresAt: z.number().int(),
};

/** Resolve an image to a digest and have it on this host, before anything else of the release moves. */
const pullJobSchema = z.strictObject({
  ...jobBase,
  kind: z.literal("pull"),
  image: z.string(),
  verify,
  login: registryLoginSchema.optional(),
});

/** Run one instance and report when it is ready, or exactly why it never was. */
const startJobSchema = z.strictObject({
  ...jobBase,
  kind: z.literal("start"),
  spec: instanceSpecSchema,
  /** For an image that was pruned meanwhile. */
  login: registryLoginSchema.optional(),
});

/** Stop one instance: SIGTERM, wait, SIGKILL, remove. */
const stopJobSchema = z.strictObject({
  ...jobBase,
  kind: z.literal("stop"),
  instance: id,
  graceMs: ms,
});

const command = {
  /** Names the run on the host, as an instance id names an instance. */
  run: id,
  release: id,
  version: z.string(),
  app: z.string(),
  environment: z.string(),
  image: z.string(),
  command: z.array(z.string()).min(1),
  env: z.record(z.string(), z.string()),
  resources: instanceSpecSchema.shape.resources,
  ...housing,
  verify,
};

/**
 * Run a command to its end, once, in a release's image: a migration hook. Never twice: an agent that finds that it began
 * one and can't tell how it ended answers `hook_interrupted`, and a person looks.
 */
const runJobSchema = z.strictObject({
  ...jobBase,
  kind: z.literal("run"),
  hook: z.enum(["expand", "contract"]),
  ...command,
});

/**
 * The same for a scheduled process, and for what a person asked for. A `stop` that names its `run` ends it. A kind of its own:
 * an agent that does not take it is not given it.
 */
const commandJobSchema = z.strictObject({
  ...jobBase,
  kind: z.literal("command"),
  /** Empty: a person's. */
  process: z.string(),
  ...command,
  login: registryLoginSchema.optional(),
});

/**
 * `start` makes and runs it, or runs again what is there as it is; `stop` ends it and keeps its volumes and container;
 * `upgrade` replaces the container by one of this spec on the same volumes; `remove` takes the container away, never a volume.
 */
const accessoryJobSchema = z.strictObject({
  ...jobBase,
  kind: z.literal("accessory"),
  action: z.enum(["start", "stop", "upgrade", "remove"]),
  spec: accessorySpecSchema,
  login: registryLoginSchema.optional(),
});

/** Send the log lines of this environment's instances on this host to `/agent/v1/logs/{stream}` until nobody reads them. */
const logsJobSchema = z.strictObject({
  ...jobBase,
  kind: z.literal("logs"),
  stream: id,
  app: z.string(),
  environment: z.string(),
  /** Only instances of this release; absent: of all. */
  release: id.optional(),
  /** Only this accessory (its id); absent: instances. */
  accessory: z.string().max(128).optional(),
  /** Only this run; absent: instances. */
  run: id.optional(),
  /** Epoch ms; lines before it are left out. */
  since: z.number().int().optional(),
  /** So many last lines of each instance; absent: all. */
  tail: z.number().int().min(0).max(10_000).optional(),
  /** When the reader came, epoch ms: an instance that starts later is read from its first line. */
  from: z.number().int(),
  follow: z.boolean(),
});

export const JOB_KINDS = ["pull", "start", "stop", "run", "command", "accessory", "logs"] as const;

export const jobSchema = z.discriminatedUnion("kind", [
  pullJobSchema,
  startJobSchema,
  stopJobSchema,
  runJobSchema,
  commandJobSchema,
  accessoryJobSchema,
  logsJobSchema,
]);
export type Job = z.infer<typeof jobSchema>;
