import { z } from "zod";
import { ms } from "./wire.ts";

const capability = z.string().regex(/^[A-Z][A-Z_]{1,39}$/);

/** What a container sees of the host's disk: a volume by its name on the host, or a directory by its absolute path. */
const mountSchema = z.strictObject({
  source: z.string().min(1).max(500),
  target: z.string().startsWith("/").max(500),
  readOnly: z.boolean(),
});

/** How a container is walled in beyond what holds for all of them (no new privileges, all capabilities dropped). */
const containerSpecSchema = z.strictObject({
  /** Given back after all were dropped. Absent: what an ordinary web image needs to start as root and step down. */
  capabilities: z.array(capability).max(40).optional(),
  /** The image's own files can't be written; `tmpfs` and volumes can. */
  readOnly: z.boolean().default(false),
  /** Directories in memory. */
  tmpfs: z.array(z.string().startsWith("/")).max(20).default([]),
  ulimits: z.record(z.string().regex(/^[a-z]{2,20}$/), z.number().int().min(-1)).default({}),
  /** Absent: the image's own, else SIGTERM. */
  stopSignal: z
    .string()
    .regex(/^SIG[A-Z0-9+-]{2,10}$/)
    .optional(),
  shmBytes: z.number().int().positive().optional(),
  /** Absent: true. False for images whose own first process must be PID 1. */
  init: z.boolean().optional(),
  entrypoint: z.array(z.string()).min(1).optional(),
  user: z.string().max(100).optional(),
  groups: z.array(z.string().max(100)).max(20).optional(),
  /** `name:address` */
  extraHosts: z.array(z.string().max(300)).max(50).optional(),
  /** In the place of the image's own HEALTHCHECK. */
  healthcheck: z
    .union([
      z.literal("off"),
      z.strictObject({
        command: z.array(z.string()).min(1),
        intervalMs: ms.min(1_000),
        timeoutMs: ms.min(1_000),
        startPeriodMs: ms,
        failures: z.number().int().min(1),
      }),
    ])
    .optional(),
  /** Texts put into the container before it starts, by their absolute paths. */
  files: z.record(z.string().startsWith("/"), z.string()).optional(),
});

/** Where a container lives: what it mounts, how it is walled in, which private network it shares with accessories. */
export const housing = {
  volumes: z.array(mountSchema).max(50).default([]),
  container: containerSpecSchema.default({ readOnly: false, tmpfs: [], ulimits: {} }),
  /** Name of the environment's private network; absent: it has no accessories, so it needs none. */
  network: z.string().max(128).optional(),
};
