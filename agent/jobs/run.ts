import type { JobResult } from "../../src/protocol/agent/job-results.ts";
import type { Job } from "../../src/protocol/agent/jobs.ts";
import { failed, type Outcome } from "../outcome.ts";
import type { JobContext } from "./context.ts";

type RunJob = Extract<Job, { kind: "run" | "command" }>;

/** Runs a hook, a scheduled process or a person's command to its end, once. Its own deadline ends it, not this job's signal: it must be known how it ended. */
export async function run(
  job: RunJob,
  { hooks, images, deadlineAt: localDeadlineAt, progress }: JobContext,
): Promise<Outcome<JobResult>> {
  const { id, lease, kind, environmentId, deadlineAt, leaseExpiresAt, ...spec } = job;
  await images.used(environmentId, spec.image);
  const login = "login" in spec ? spec.login : undefined;
  const hook = hooks.begin({ ...spec, hook: "hook" in spec ? spec.hook : "" }, localDeadlineAt, login);
  hook.listeners.add(progress);
  return (await hook.outcome) ?? failed("internal", "the agent stopped meanwhile");
}
