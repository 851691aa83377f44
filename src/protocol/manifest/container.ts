import { z } from "zod";
import type {
  AccessorySpec,
  ContainerSpec,
  EnvironmentSpec,
  ImageCheck,
  MountSpec,
} from "../../domain/spec.ts";
import { secretNameSchema } from "../api/secrets.ts";
import {
  bytesSchema,
  commandSchema,
  deadline,
  durationSchema,
  envSchema,
  IMAGE,
  NAME,
  NAME_RULE,
} from "./scalars.ts";

/** How containers are housed: resources, logs, volumes, walls; of the app and of its accessories alike. */

export const resourcesSchema = z
  .strictObject({
    cpus: z.number().positive().optional(),
    memory: bytesSchema.optional(),
    memoryReservation: bytesSchema.optional(),
  })
  .refine(
    ({ memory, memoryReservation }) => !((memoryReservation ?? 0) > (memory ?? Number.POSITIVE_INFINITY)),
    "must not reserve more memory than its limit",
  )
  .default({});

export const loggingSchema = z
  .strictObject({ maxSize: bytesSchema.optional(), maxFile: z.number().int().min(1).max(100).optional() })
  .default({});

const ABSOLUTE = "must be an absolute path inside the container, such as /app/uploads";
const absolute = z.string().regex(/^\/[^:]*$/, ABSOLUTE);

const VOLUME =
  "must be name:/path or /host/path:/path, with :ro to forbid writing, such as uploads:/app/uploads";
/** `uploads:/app/uploads`, `/srv/shop:/data:ro` → a mount. */
const mountSchema = z
  .string({ error: VOLUME })
  .regex(/^(?:[a-z0-9][a-z0-9_.-]{0,62}|\/[^:]*):\/[^:]+(?::r[ow])?$/, VOLUME)
  .refine((text) => !text.split(":").some((part) => part.split("/").includes("..")), "must not contain `..`")
  .transform((text): MountSpec => {
    const [source = "", target = "", mode] = text.split(":");
    return { source, target, readOnly: mode === "ro" };
  });
export const volumesSchema = z
  .array(mountSchema)
  .max(50)
  .refine(
    (mounts) => new Set(mounts.map(({ target }) => target)).size === mounts.length,
    "mounts two volumes on one path",
  )
  .default([]);

export const secretNamesSchema = z.array(secretNameSchema).max(100).default([]);

/** A variable has one value: which of the two it would be must not depend on who reads the manifest. */
export function refuseBoth(
  { env, secrets }: { env: Readonly<Record<string, string>>; secrets: readonly string[] },
  context: z.RefinementCtx,
  path: PropertyKey[] = [],
): void {
  for (const [index, name] of secrets.entries())
    if (Object.hasOwn(env, name)) {
      const message = `names \`${name}\`, which stands in \`env\` too: keep one of the two`;
      context.addIssue({ code: "custom", path: [...path, "secrets", index], message });
    }
}

const USER = "must be a user such as node, 1000 or 1000:1000";
const userSchema = z
  .union([z.string(), z.number().int().nonnegative()], { error: USER })
  .transform(String)
  .refine(
    (user) => /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,40}(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,40})?$/.test(user),
    USER,
  );

const EXTRA_HOST = "must be name:address, such as db.internal:10.0.0.5, or name:host-gateway";
const extraHostSchema = z
  .string({ error: EXTRA_HOST })
  .regex(
    /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,252}:(host-gateway|\d{1,3}(\.\d{1,3}){3}|\[?[0-9A-Fa-f:]+\]?)$/,
    EXTRA_HOST,
  );

const CAPABILITY = "must be a Linux capability without CAP_, such as NET_RAW";
export const containerSchema = z.strictObject({
  /** All are dropped; these are given back. Absent: those that an ordinary web image needs to start. */
  capabilities: z
    .array(z.string({ error: CAPABILITY }).regex(/^(?!CAP_|ALL$)[A-Z][A-Z_]{1,39}$/, CAPABILITY))
    .max(40)
    .optional(),
  readOnly: z.boolean().default(false),
  tmpfs: z.array(absolute).max(20).default([]),
  /** -1: without a limit. */
  ulimits: z.record(z.string().regex(/^[a-z]{2,20}$/), z.number().int().min(-1)).default({}),
  stopSignal: z
    .string()
    .regex(/^SIG[A-Z0-9+-]{2,10}$/, "must be a signal such as SIGQUIT")
    .optional(),
  shm: bytesSchema.optional(),
  init: z.boolean().optional(),
  entrypoint: commandSchema.optional(),
  user: userSchema.optional(),
  groups: z.array(userSchema).max(20).optional(),
  extraHosts: z.array(extraHostSchema).max(50).optional(),
});

/** In the place of the image's own HEALTHCHECK; `off`: none. Durations and defaults as Docker has them, but for the interval. */
export const imageCheckSchema = z.union(
  [
    z.literal("off"),
    z.strictObject({
      command: commandSchema,
      interval: deadline.default(5_000),
      timeout: deadline.default(5_000),
      startPeriod: durationSchema.default(0),
      failures: z.number().int().min(1).max(100).default(3),
    }),
  ],
  { error: "must be off, or a map with a `command`" },
);

const FILES = "must be a text for each absolute path, such as `/etc/app.conf: |`";
const filesSchema = z
  .record(
    absolute.refine((path) => !path.split("/").includes("..") && !path.endsWith("/"), ABSOLUTE),
    z
      .union(
        [z.string().max(32_768, "must be at most 32768 characters"), z.strictObject({ from: z.string() })],
        {
          error: FILES,
        },
      )
      .transform((given, context) => {
        if (typeof given === "string") return given;
        context.addIssue({
          code: "custom",
          message: "is read `from` a file by the command line: control takes texts",
        });
        return z.NEVER;
      }),
    { error: FILES },
  )
  .refine((files) => Object.keys(files).length <= 20, "must be at most 20 files")
  .default({});

const accessorySchema = z.strictObject({
  image: z.string().max(500).regex(IMAGE, "must be an image such as postgres:17"),
  command: commandSchema.optional(),
  env: envSchema.default({}),
  secrets: secretNamesSchema,
  volumes: volumesSchema,
  container: containerSchema.default({ readOnly: false, tmpfs: [], ulimits: {} }),
  resources: resourcesSchema,
  logging: loggingSchema,
  stopGrace: durationSchema.default(30_000),
  health: imageCheckSchema.optional(),
  files: filesSchema,
  /** Needed where the environment's labels fit several hosts: a private network does not span machines. */
  host: z.string().regex(NAME, NAME_RULE).optional(),
});
const WRITTEN = "are written into the container, which `container.readOnly` forbids: keep one of the two";
export const accessoriesSchema = z
  .record(
    z.string().regex(NAME, NAME_RULE),
    accessorySchema.superRefine((accessory, context) => {
      refuseBoth(accessory, context);
      if (accessory.container.readOnly && Object.keys(accessory.files).length > 0)
        context.addIssue({ code: "custom", path: ["files"], message: WRITTEN });
    }),
  )
  .default({});

export function toResources(input: z.output<typeof resourcesSchema>): EnvironmentSpec["resources"] {
  const { cpus, memory, memoryReservation } = input;
  return {
    ...(cpus === undefined ? {} : { cpus }),
    ...(memory === undefined ? {} : { memoryBytes: memory }),
    ...(memoryReservation === undefined ? {} : { memoryReservationBytes: memoryReservation }),
  };
}

export const toLogging = (input: z.output<typeof loggingSchema>): EnvironmentSpec["logging"] => ({
  maxSizeBytes: input.maxSize ?? 10 * 1024 ** 2,
  maxFiles: input.maxFile ?? 3,
});

export function toContainer(input: z.output<typeof containerSchema>): ContainerSpec {
  const { shm, readOnly, tmpfs, ulimits, ...given } = input;
  return {
    readOnly,
    tmpfs,
    ulimits,
    ...(Object.fromEntries(
      Object.entries(given).filter(([, value]) => value !== undefined),
    ) as Partial<ContainerSpec>), // Named on both sides alike, and absent where nothing was said.
    ...(shm === undefined ? {} : { shmBytes: shm }),
  };
}

export function toImageCheck(input: z.output<typeof imageCheckSchema> | undefined): ImageCheck | undefined {
  if (input === undefined || input === "off") return input;
  const { command, interval, timeout, startPeriod, failures } = input;
  return { command, intervalMs: interval, timeoutMs: timeout, startPeriodMs: startPeriod, failures };
}

export function toAccessory(input: z.output<typeof accessorySchema>): AccessorySpec {
  const { image, command, env, secrets, volumes, stopGrace, host, files } = input;
  const healthcheck = toImageCheck(input.health);
  return {
    image,
    ...(command ? { command } : {}),
    env,
    secrets,
    volumes,
    container: {
      ...toContainer(input.container),
      ...(healthcheck === undefined ? {} : { healthcheck }),
      ...(Object.keys(files).length > 0 ? { files } : {}),
    },
    resources: toResources(input.resources),
    logging: toLogging(input.logging),
    stopGraceMs: stopGrace,
    ...(host === undefined ? {} : { host }),
  };
}
