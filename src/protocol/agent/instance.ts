import { z } from "zod";
import { healthSpecSchema } from "./check.ts";
import { housing } from "./container.ts";
import { verify } from "./image.ts";
import { id, ms } from "./wire.ts";

const workerSchema = z.strictObject({
  /** Its name in the manifest. The app gets it as SLUICE_PROCESS. */
  process: z.string(),
  /** It has no check: it is ready when it has stayed up for so long. Absent: as `health` says, by a command. */
  steadyMs: ms.optional(),
});

/** Everything an agent needs to run one instance. */
export const instanceSpecSchema = z.strictObject({
  instance: id,
  release: id,
  /** Human label of the release, e.g. `v42`. The app gets it as SLUICE_VERSION. */
  version: z.string(),
  app: z.string(),
  environment: z.string(),
  fence: z.number().int(),
  /** Absent, as both ports: it is a worker. */
  slot: z.number().int().nonnegative().optional(),
  /** Port on the host's loopback that the slot's tunnel hostname leads to. */
  hostPort: z.number().int().min(1).max(65535).optional(),
  /**
   * `docker`: an image pinned by digest (`repo@sha256:…`) or a local image id (`sha256:…`).
   * `process`: `file:<directory>` under the agent's process root.
   */
  image: z.string(),
  /** Port the app listens on inside its container (given to it as PORT). The process runtime gives it `hostPort` instead. */
  containerPort: z.number().int().min(1).max(65535).optional(),
  /** A process beside the web: nobody sends it requests, and its health is not asked for over HTTP. */
  worker: workerSchema.optional(),
  /** Overrides the image's command; the process runtime's default is `npm start`. */
  command: z.array(z.string()).min(1).optional(),
  env: z.record(z.string(), z.string()),
  health: healthSpecSchema,
  resources: z
    .strictObject({
      cpus: z.number().positive().optional(),
      memoryBytes: z.number().int().positive().optional(),
      memoryReservationBytes: z.number().int().positive().optional(),
    })
    .default({}),
  logging: z
    .strictObject({ maxSizeBytes: z.number().int().positive(), maxFiles: z.number().int().positive() })
    .default({ maxSizeBytes: 10_000_000, maxFiles: 3 }),
  /** Accessories that have to be healthy before it starts: as people name them, and as the host does. */
  needs: z
    .array(z.strictObject({ name: z.string(), accessory: id.max(128) }))
    .max(20)
    .optional(),
  /** After SIGTERM, how long the app may take before SIGKILL. */
  stopGraceMs: ms,
  ...housing,
  verify,
});
export type InstanceSpec = z.infer<typeof instanceSpecSchema>;
