import { z } from "zod";
import { registryLoginSchema } from "./image.ts";
import { id } from "./wire.ts";

/**
 * `POST /agent/v1/instances/{id}/claim`: what the agent does not keep of an instance it answers for, and needs to make its
 * container again. All else it knows, and nothing of that can be changed in this way. Refused for one that is not meant to
 * run on this host any more.
 */
export const claimAnswerSchema = z.object({
  environmentId: id,
  env: z.record(z.string(), z.string()),
  /** Which of them are secrets. */
  secretNames: z.array(z.string()),
  login: registryLoginSchema.optional(),
});
export type ClaimAnswer = z.infer<typeof claimAnswerSchema>;
