import { z } from "zod";

/** Every code an API error can carry: the contract of CLI exit codes, dashboard texts and scripts. Never reused. */
export const PROBLEM_CODES = [
  "invalid_request",
  "manifest_invalid",
  "not_landed",
  "https_required",
  "unauthenticated",
  "token_expired",
  "token_revoked",
  "oidc_refused",
  "forbidden",
  "not_found",
  "method_not_allowed",
  "conflict",
  "hostname_taken",
  "hostname_not_granted",
  "hostname_reserved",
  "release_in_progress",
  "locked",
  "stale_step",
  "window_closed",
  "approval_needed",
  "own_release",
  "precondition_failed",
  "idempotency_conflict",
  "idempotency_in_flight",
  "weights_invalid",
  "release_not_serving",
  "no_hosts",
  "no_slots",
  "rollback_impossible",
  "nothing_to_roll_back",
  "enrollment_invalid",
  "lease_lost",
  "protocol_unsupported",
  "host_busy",
  "secrets_missing",
  "not_configured",
  "cloudflare_refused",
  "body_too_large",
  "rate_limited",
  "unavailable",
  "internal",
] as const;
export type ProblemCode = (typeof PROBLEM_CODES)[number];

/** A command a person can copy, and when it is the right one. */
export const nextStepSchema = z.object({ command: z.string(), when: z.string() });
export type NextStep = z.infer<typeof nextStepSchema>;

/** RFC 9457 problem details, plus: a stable `code`, where exactly it is wrong, and what to do next. */
export const problemSchema = z.object({
  type: z.string(),
  title: z.string(),
  status: z.number().int(),
  code: z.enum(PROBLEM_CODES),
  detail: z.string(),
  /** `pointer` is a JSON pointer or a manifest path; line and column (1-based) when the input was text. */
  errors: z
    .array(
      z.object({
        pointer: z.string(),
        detail: z.string(),
        line: z.number().int().optional(),
        column: z.number().int().optional(),
      }),
    )
    .optional(),
  next: z.array(nextStepSchema).default([]),
  requestId: z.string().optional(),
});
export type Problem = z.infer<typeof problemSchema>;
export const PROBLEM_TYPE = "application/problem+json";
