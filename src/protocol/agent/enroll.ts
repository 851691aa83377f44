import { z } from "zod";
import { AGENT_PROTOCOL, id, RUNTIMES } from "./wire.ts";

export const enrollSchema = z.strictObject({
  protocol: z.literal(AGENT_PROTOCOL),
  agentVersion: z.string(),
  /** One-time enrolment token. */
  token: z.string(),
  runtime: z.enum(RUNTIMES),
  /** Host ports of slots are `portBase + n`. */
  portBase: z.number().int().min(1024).max(65_000),
  /**
   * How the edge reaches this host without a tunnel (local, LAN), e.g. `http://127.0.0.1`: the slot's port is added.
   */
  originBase: z.url().optional(),
});
export type Enroll = z.infer<typeof enrollSchema>;

export const enrollAnswerSchema = z.object({
  host: z.object({ id, name: z.string() }),
  /** The host's own token, shown this once. */
  token: z.string(),
  slots: z.array(z.object({ slot: z.number().int(), hostPort: z.number().int(), origin: z.url() })),
});
export type EnrollAnswer = z.infer<typeof enrollAnswerSchema>;

/** `POST /agent/v1/rotate`: the new token counts at once, the old one until the new one was first used. */
export const rotateAnswerSchema = z.object({ token: z.string() });
