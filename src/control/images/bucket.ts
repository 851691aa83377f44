import type { ControlEnv } from "../env.ts";
import { ProblemError } from "../http/problems.ts";
import type { Refusal } from "../refusal.ts";
import { wordsOf } from "../store/db.ts";

/** The bucket, or what to do where there is none. */
export function requireBucket({ IMAGES }: ControlEnv): R2Bucket {
  if (IMAGES) return IMAGES;
  throw new ProblemError({
    code: "not_configured",
    detail: "this control plane keeps no images: it has no bucket for them",
    next: [{ command: "sluice setup --images", when: "its administrator wants images without a registry" }],
  });
}

/** It broke off, is overloaded, or is away: whatever its words, the same call may succeed the next time. */
export const bucketFailed = (error: unknown): Refusal => ({
  code: "unavailable",
  detail: `the bucket failed (${wordsOf(error)}): nothing was lost, try again`,
  retryAfterS: 2,
});
