import { z } from "zod";
import { exits, INSTANCE_REPORTS } from "./health.ts";
import { hostFactsSchema } from "./host-facts.ts";
import { JOB_KINDS, jobSchema } from "./jobs.ts";
import { AGENT_PROTOCOL, id, ms } from "./wire.ts";

/** As it stands: what its last report said, or would have said to this boot's control. */
const instanceStateSchema = z.strictObject({
  instance: id,
  state: z.enum(INSTANCE_REPORTS),
  /** Of its last report in this boot; 0: none yet. */
  seq: ms.default(0),
  cause: z.string().max(500).optional(),
  exits,
});
export type InstanceReport = z.output<typeof instanceStateSchema>;

export const pollSchema = z.strictObject({
  protocol: z.literal(AGENT_PROTOCOL),
  agentVersion: z.string(),
  /** The agent's clock, epoch ms: control tells skew from it. */
  clock: z.number().int(),
  /** Made anew each time the agent process starts. */
  boot: z.string(),
  /** Kinds of job that it can take now; `logs` it always takes. */
  takes: z.array(z.enum(JOB_KINDS)).max(20).optional(),
  /** In its place from agents before there was `takes`: all kinds, or none. */
  wantsJobs: z.boolean().default(true),
  /** Jobs that it has and has not ended: one that is leased to this boot and not among them never reached it. */
  jobs: z.array(id).max(500).optional(),
  /** Whether it holds its wake-up socket: without it, control asks for a poll twice as often. */
  connected: z.boolean().optional(),
  /**
   * Number of the last report of this boot. Then `instances` are all that it answers for, and what control has written of
   * others is not so. Absent: it has not been able to look yet, and knows them from its journal.
   */
  seq: ms.optional(),
  instances: z.array(instanceStateSchema).max(500),
  facts: hostFactsSchema.optional(),
});
export type Poll = z.input<typeof pollSchema>;

export const pollAnswerSchema = z.object({
  jobs: z.array(jobSchema),
  /**
   * By job: which of its variables are secrets, by name. What the agent tells of these jobs and their instances, it tells
   * without the values. Beside the jobs, where an agent of before looks past it.
   */
  secrets: z.record(z.string(), z.array(z.string())).optional(),
  /** By `logs` job: the id of a request, of which alone lines are wanted. Beside the jobs for the same reason: who looks past it sends all. */
  requests: z.record(z.string(), z.string().min(1).max(128)).optional(),
  /** Epoch ms of control. */
  now: z.number().int(),
  /** Poll again after this long if nothing wakes the agent before (1 s busy, 30 s idle, 60 s idle with a socket). */
  pollAfterMs: ms,
  /** Rises when the host's tunnel or its token changed: ask `/agent/v1/tunnel` again. Absent: no tunnel. */
  tunnelRev: z.number().int().optional(),
  /** The agent is to trade its token for a new one at `/agent/v1/rotate`. */
  rotate: z.boolean().optional(),
});
export type PollAnswer = z.infer<typeof pollAnswerSchema>;
