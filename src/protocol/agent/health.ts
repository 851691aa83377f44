import { z } from "zod";
import { id } from "./wire.ts";

/**
 * What the agent knows of one instance it runs. `starting` has not been ready yet; `exited` will be started again; `gone`
 * was removed from outside and can't be made again here.
 */
export const INSTANCE_REPORTS = ["starting", "ready", "unready", "exited", "gone"] as const;

/** Exits that are told of one instance: a crash loop shows in fewer. */
export const EXITS_KEPT = 8;
export const exits = z.array(z.number().int()).max(EXITS_KEPT).default([]);

/**
 * Only transitions are reported, at least once: `seq` rises over all instances within a boot, control ignores older ones,
 * and of an instance that turned twice before control could be told only the newest is sent.
 */
export const healthReportSchema = z.strictObject({
  instance: id,
  seq: z.number().int().nonnegative(),
  state: z.enum(INSTANCE_REPORTS),
  at: z.number().int(),
  /** In words, for anything but `ready`. */
  cause: z.string().max(2_000).optional(),
  /** When it ended by itself or had to be restarted, of late, oldest first: epoch ms by the agent's clock. */
  exits,
});
export type HealthReport = z.infer<typeof healthReportSchema>;

export const healthSchema = z.strictObject({
  /** As in its polls: what another boot said counts as older. Empty from agents that numbered across boots. */
  boot: z.string().max(64).default(""),
  /** The agent's clock as it sends, epoch ms: control tells the times of exits by it. */
  clock: z.number().int().optional(),
  reports: z.array(healthReportSchema).min(1).max(100),
});
