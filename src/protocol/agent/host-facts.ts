import { z } from "zod";
import { ms } from "./wire.ts";

const count = z.number().int().nonnegative();

/** How a host and its agent fare: as of the poll that carries it. Counts are since the agent, or cloudflared, started. */
const hostUsageSchema = z.object({
  uptimeMs: count,
  /** Resident, of the agent. */
  agentBytes: count,
  memory: z.object({ totalBytes: count, availableBytes: count }),
  /** How long the engine needed for what it says of itself. */
  engineMs: count.optional(),
  /** All of the engine's, not Sluice's alone. */
  containers: z.object({ running: count, paused: count, stopped: count }).optional(),
  jobs: z.object({ done: count, failed: count }),
  cloudflared: z.object({ requests: count, errors: count }).optional(),
});
export type HostUsage = z.infer<typeof hostUsageSchema>;

/**
 * What a host says of itself: with the first poll of an agent, and again when it changes. Not strict: a newer agent
 * may know more, and must not be refused its polls for it.
 */
export const hostFactsSchema = z.object({
  os: z.string().max(200),
  arch: z.string().max(40),
  node: z.string().max(40),
  /** The Docker engine; absent: none is used. `problem`: what is wrong with it, in words. */
  engine: z
    .object({
      version: z.string().max(80).optional(),
      apiVersion: z.string().max(20).optional(),
      storageDriver: z.string().max(80).optional(),
      /** Whether containers live on while the engine is restarted. */
      liveRestore: z.boolean().optional(),
      problem: z.string().max(500).optional(),
    })
    .optional(),
  /** Of its slots. `problem`: why others may take them, in words. */
  ports: z.object({ first: ms, last: ms, problem: z.string().max(500).optional() }).optional(),
  /** Of the file system with the images, or with the agent's state. */
  disk: z.object({ path: z.string().max(500), totalBytes: ms, freeBytes: ms }).optional(),
  /** The policy file's rules, in short; absent: the host has none and takes every job. */
  policy: z
    .object({
      file: z.string().max(500),
      images: z.array(z.string().max(300)).max(100),
      volumes: z.array(z.string().max(300)).max(100),
    })
    .optional(),
  /** cloudflared under this agent; absent: this host has no tunnel. */
  tunnel: z
    .object({
      state: z.enum(["starting", "connected", "down"]),
      version: z.string().max(80).optional(),
      /** Of the ingress rules that cloudflared runs. */
      configVersion: z.number().int().optional(),
      readyConnections: z.number().int().optional(),
      /** In words, for anything but `connected`. */
      cause: z.string().max(500).optional(),
    })
    .optional(),
  /** Those that are there. `lack`: why one can't be used, in words that go on its name. Absent: the engine could not be asked. */
  accessories: z
    .array(z.object({ accessory: z.string().max(200), lack: z.string().max(500).optional() }))
    .max(200)
    .optional(),
  /** What can't be read of it is left out: no poll is refused for it. Its `type` is for the OpenAPI document, which knows no `catch`. */
  usage: hostUsageSchema.optional().catch(undefined).meta({ type: "object" }),
});
export type HostFactsReport = z.infer<typeof hostFactsSchema>;
