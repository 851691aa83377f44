import { z } from "zod";
import { ms } from "./wire.ts";

/** `POST /agent/v1/tunnel`: how cloudflared is to run on this host. The token is a secret: by file, never argv. */
export const tunnelAnswerSchema = z.discriminatedUnion("state", [
  /** This control plane makes no tunnels, or this host was enrolled without one. */
  z.object({ state: z.literal("none") }),
  /** Being made, or Cloudflare refuses: `cause` says what. */
  z.object({ state: z.literal("pending"), cause: z.string(), retryAfterMs: ms }),
  z.object({
    state: z.literal("ready"),
    rev: z.number().int(),
    tunnelId: z.string(),
    token: z.string(),
    /** Version of the ingress rules that must run before the slots can be reached. */
    configVersion: z.number().int(),
  }),
]);
export type TunnelAnswer = z.infer<typeof tunnelAnswerSchema>;
