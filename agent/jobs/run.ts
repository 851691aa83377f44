import type { JobResult } from "../../src/protocol/agent/job-results.ts";
import type { Job } from "../../src/protocol/agent/jobs.ts";
import { failed, type Outcome } from "../outcome.ts";
import type { JobContext } from "./context.ts";

type RunJob = Extract<Job, { kind: "run" }>;

/** Runs a hook to its end, once. Its own deadline ends it, not this job's signal: it must be known how it ended. */
export async function run(
  { id, lease, kind, environmentId, deadlineAt, leaseExpiresAt, ...spec }: RunJob,
  { hooks, images, deadlineAt: localDeadlineAt, progress }: JobContext,
): Promise<Outcome<JobResult>> {
  await images.used(environmentId, spec.image);
  const hook = hooks.begin(spec, localDeadlineAt);
  hook.listeners.add(progress);
  return (await hook.outcome) ?? failed("internal", "the agent stopped meanwhile");
}
