import { createHash, randomUUID } from "node:crypto";

/** One run of one job, told apart from its retries. The first whose variables are all set names the run. */
const CI_RUNS = [
  ["GITHUB_RUN_ID", "GITHUB_RUN_ATTEMPT", "GITHUB_JOB", "GITHUB_REPOSITORY"],
  ["CI_JOB_ID", "CI_PROJECT_ID"],
  ["BUILDKITE_JOB_ID"],
  ["CIRCLE_WORKFLOW_JOB_ID"],
  ["BUILD_BUILDID", "SYSTEM_JOBATTEMPT"],
  ["BITBUCKET_STEP_UUID", "BITBUCKET_BUILD_NUMBER"],
] as const;

/**
 * In CI the key comes from the run, its attempt, the target and what is asked: a step that runs again after a lost
 * answer joins the release it started. At a terminal every deploy is meant, so the key is random.
 */
export function idempotencyKey(
  env: Readonly<Record<string, string | undefined>>,
  asked: { app: string; environment: string; body: object },
): string {
  const run = CI_RUNS.find((names) => names.every((name) => env[name]));
  if (!run) return randomUUID();
  const facts = [...run.map((name) => `${name}=${env[name]}`), asked.app, asked.environment, asked.body];
  return `ci-${createHash("sha256").update(JSON.stringify(facts)).digest("hex").slice(0, 40)}`;
}
