import { type Job, jobSchema } from "../protocol/agent.ts";
import { logFailure } from "./context.ts";
import type { Db } from "./store/db.ts";
import { finishJob, type JobRow, type LeaseRequest, leaseJobs } from "./store/jobs.ts";

/**
 * Jobs for a polling agent, as the wire has them. `touched`: environments in which a job ended here, because it was past
 * its deadline or is one that no agent could read.
 */
export async function leaseForPoll(
  db: Db,
  request: LeaseRequest,
): Promise<{ jobs: Job[]; touched: string[] }> {
  const { leased, overdue } = await leaseJobs(db, request);
  const touched = new Set(overdue);
  const jobs: Job[] = [];
  for (const row of leased) {
    const job = jobSchema.safeParse(toWire(row));
    if (job.success) jobs.push(job.data);
    else {
      // One unreadable job would make the agent drop the whole answer, again and again.
      logFailure("job.unreadable", job.error, { job: row.id });
      const error = { code: "internal", message: "control made a job that no agent can read", logs: [] };
      const held = { job: row.id, hostId: request.hostId, lease: row.lease ?? "", now: request.now };
      await finishJob(db, held, { ok: false, error });
      touched.add(row.environmentId);
    }
  }
  return { jobs, touched: [...touched] };
}

/** What control notes in a payload for itself: which secrets are to be opened, what an accessory is declared as. */
const OWN = new Set(["secretNames", "declared"]);

const toWire = (row: JobRow): Record<string, unknown> => ({
  ...Object.fromEntries(Object.entries(withFence(row)).filter(([key]) => !OWN.has(key))),
  id: row.id,
  kind: row.kind,
  lease: row.lease,
  environmentId: row.environmentId,
  fence: row.fence,
  deadlineAt: row.deadlineAt,
  leaseExpiresAt: row.leaseExpiresAt,
});

/** A start's instance carries the fence, too: the container's labels tell who decided it. */
function withFence({ kind, payload, fence }: JobRow): Record<string, unknown> {
  const { spec } = payload;
  return kind === "start" && spec !== null && typeof spec === "object"
    ? { ...payload, spec: { ...spec, fence } }
    : payload;
}
