import { z } from "zod";

const JOB_ERROR_CODES = [
  "image_not_found",
  "image_pull_failed",
  "image_unauthorized",
  /** Its container was removed from outside. */
  "instance_gone",
  "runtime_unavailable",
  "start_failed",
  "exited",
  "port_closed",
  "health_command",
  "health_status",
  "health_redirect",
  "health_timeout",
  "health_unreachable",
  "docker_unhealthy",
  "stale_fence",
  "deadline",
  "port_in_use",
  /** An accessory that the manifest's `needs` names is not healthy. */
  "needs_unhealthy",
  "hook_failed",
  "hook_interrupted",
  "command_failed",
  "command_interrupted",
  /** The host's own policy file forbids it: control can't change that. */
  "policy_refused",
  /** The manifest wants a signature that the image doesn't have, or that can't be looked at. */
  "signature_refused",
  "disk_full",
  /** Control had no value for a secret that was named, or could not open it: no agent got the job. */
  "secrets_missing",
  "secrets_unreadable",
  "internal",
] as const;

/** Why a job failed, exactly: what a person would have looked up by hand. */
export const jobErrorSchema = z.strictObject({
  code: z.enum(JOB_ERROR_CODES),
  /** One sentence with the values in it: `GET http://127.0.0.1:20003/ready answered 503 (limit: 2xx) for 60 s`. */
  message: z.string().max(2_000),
  exitCode: z.number().int().optional(),
  /** Signal that ended the process, or `OOMKilled`. */
  signal: z.string().optional(),
  probe: z
    .strictObject({
      url: z.string(),
      status: z.number().int().optional(),
      error: z.string().optional(),
      body: z.string().max(500).optional(),
    })
    .optional(),
  /** The app's last lines, oldest first. At most 50, each at most 1,000 characters. */
  logs: z.array(z.string()).max(50).default([]),
  /** `accessory`: what ran before it still runs, or runs again. */
  kept: z.boolean().optional(),
});
export type JobError = z.infer<typeof jobErrorSchema>;

export const jobResultSchema = z.strictObject({
  /** `pull`: the image pinned, as `start` wants it. `accessory`: what its container runs, pinned. */
  image: z.string().optional(),
  /** `pull`: sha256:… of the manifest (registry), the image id (local) or the directory's content (process). */
  digest: z.string().optional(),
  /** `start`: milliseconds from container start to ready. */
  readyAfterMs: z.number().int().optional(),
  /** `start`, `stop`: the runtime's own name for it (container id, pid). */
  runtimeId: z.string().optional(),
  /** `stop`: whether it had to be killed after the grace. */
  killed: z.boolean().optional(),
  /** `run`: the command's last lines, oldest first. */
  logs: z.array(z.string()).max(50).optional(),
  /** `accessory` that was started: how the container that was there, and was kept, differs from what was asked for. */
  differs: z.string().max(500).optional(),
});
export type JobResult = z.infer<typeof jobResultSchema>;
export const jobProgressSchema = z.strictObject({ lease: z.string(), message: z.string().max(500) });
export const jobProgressAnswerSchema = z.object({ leaseExpiresAt: z.number().int() });

export const jobDoneSchema = z.discriminatedUnion("ok", [
  z.strictObject({ lease: z.string(), ok: z.literal(true), result: jobResultSchema }),
  z.strictObject({ lease: z.string(), ok: z.literal(false), error: jobErrorSchema }),
]);
export type JobDone = z.infer<typeof jobDoneSchema>;
