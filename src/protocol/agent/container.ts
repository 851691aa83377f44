import { z } from "zod";

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
  ulimits: z.record(z.string().regex(/^[a-z]{2,20}$/), z.number().int().nonnegative()).default({}),
  /** Absent: the image's own, else SIGTERM. */
  stopSignal: z
    .string()
    .regex(/^SIG[A-Z0-9+-]{2,10}$/)
    .optional(),
  shmBytes: z.number().int().positive().optional(),
});

/** Where a container lives: what it mounts, how it is walled in, which private network it shares with accessories. */
export const housing = {
  volumes: z.array(mountSchema).max(50).default([]),
  container: containerSpecSchema.default({ readOnly: false, tmpfs: [], ulimits: {} }),
  /** Name of the environment's private network; absent: it has no accessories, so it needs none. */
  network: z.string().max(128).optional(),
};
