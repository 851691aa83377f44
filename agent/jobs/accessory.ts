import type { JobResult } from "../../src/protocol/agent/job-results.ts";
import type { Job } from "../../src/protocol/agent/jobs.ts";
import { pull } from "../host/pull.ts";
import { failed, type Outcome } from "../outcome.ts";
import type { AccessoryOrder } from "../runtime/runtime.ts";
import { AGENT_STOPS, type JobContext } from "./context.ts";

type AccessoryJob = Extract<Job, { kind: "accessory" }>;

const turns = new Map<string, Promise<unknown>>();

/** Does what a person asked for with an accessory; one thing at a time, since a job whose time is over still clears up. */
export async function accessory(job: AccessoryJob, context: JobContext): Promise<Outcome<JobResult>> {
  const { accessories } = context.runtime;
  const { spec } = job;
  if (!accessories) {
    return failed(
      "start_failed",
      `this host runs plain processes, and accessory ${spec.name} is a container: use a host with Docker, or run it here by other means`,
    );
  }
  const turn = (turns.get(spec.accessory) ?? Promise.resolve()).then(() =>
    accessories[job.action](orderOf(job, context)),
  );
  // Its failure is told to whoever asked for it.
  const over = turn.catch(() => {});
  turns.set(spec.accessory, over);
  void over.then(() => turns.get(spec.accessory) === over && turns.delete(spec.accessory));
  return turn;
}

function orderOf(job: AccessoryJob, context: JobContext): AccessoryOrder {
  const { spec, login, environmentId } = job;
  const { signal, progress, deadlineAt } = context;
  return {
    spec,
    job: job.id,
    signal,
    progress,
    deadlineAt,
    isLeaving: () => signal.aborted && signal.reason === AGENT_STOPS,
    pull: () => pull({ image: spec.image, login, environmentId }, context),
  };
}
