import { jobKey } from "../../domain/tracing/spans.ts";
import type { JobError } from "../../protocol/agent/job-results.ts";
import { type Job, jobSchema } from "../../protocol/agent/jobs.ts";
import type { ControlEnv } from "../env.ts";
import { logFailure } from "../log.ts";
import type { Db } from "../store/db.ts";
import { finishJob, type JobRow, type LeaseRequest, leaseJobs } from "../store/jobs.ts";
import { contextWithin } from "../trace-ids.ts";
import { type ClaimedJob, handOut } from "./hand-out.ts";

interface Leased {
  readonly jobs: Job[];
  /** By job: which of its variables are secrets. */
  readonly secrets: Record<string, string[]>;
  /** By job: the request that its lines are to be about. */
  readonly requests: Record<string, string>;
  readonly touched: string[];
}

/**
 * Jobs for a polling agent, as the wire has them. `touched`: environments in which a job ended here, because it was past
 * its deadline, is one that no agent could read, or needs a secret that control can't give.
 */
export async function leaseForPoll(at: { db: Db; env: ControlEnv }, request: LeaseRequest): Promise<Leased> {
  const { leased, overdue } = await leaseJobs(at.db, request);
  const touched = new Set(overdue);
  const end = async (row: JobRow, error: JobError) => {
    const held = { job: row.id, hostId: request.hostId, lease: row.lease ?? "", now: request.now };
    await finishJob(at.db, held, { ok: false, error });
    touched.add(row.environmentId);
  };
  const requests: Record<string, string> = {};
  const readable: { row: JobRow; claimed: ClaimedJob }[] = [];
  for (const row of leased) {
    // Control's own notes: which secrets are to be opened, which request lines are to be about, what an accessory is declared and pinned as, whose trace a hook is part of.
    const { secrets, declared, pin, trace, request: about, ...wire } = toWire(row);
    if (typeof about === "string") requests[row.id] = about;
    const job = jobSchema.safeParse(await withContext(row, trace, wire));
    if (job.success)
      readable.push({
        row,
        claimed: {
          job: job.data,
          instanceId: row.instanceId,
          releaseId: row.releaseId,
          secrets: namesIn(secrets),
        },
      });
    else {
      // One unreadable job would make the agent drop the whole answer, again and again.
      logFailure("job.unreadable", job.error, {
        job: row.id,
        release: row.releaseId ?? undefined,
        host: row.hostId,
      });
      await end(row, { code: "internal", message: "control made a job that no agent can read", logs: [] });
    }
  }
  const handed = await handOut(
    at.db,
    at.env,
    readable.map(({ claimed }) => claimed),
  );
  const jobs: Job[] = [];
  const secrets: Record<string, string[]> = {};
  for (const [index, { row, claimed }] of readable.entries()) {
    const result = handed[index];
    if (result?.ok) {
      jobs.push(result.value);
      secrets[row.id] = [...claimed.secrets];
    } else if (result) await end(row, result.error);
  }
  return { jobs, secrets, requests, touched: [...touched] };
}

/** A hook's command finds its trace where OpenTelemetry's environment carriers look for it, unless the manifest says another. */
async function withContext(row: JobRow, trace: unknown, wire: Record<string, unknown>) {
  if (row.releaseId === null || typeof trace !== "object" || trace === null) return wire;
  const { traceparent, tracestate } = await contextWithin({ id: row.releaseId, trace }, jobKey(row.id));
  const context = {
    ...(traceparent && { TRACEPARENT: traceparent }),
    ...(tracestate && { TRACESTATE: tracestate }),
  };
  return { ...wire, env: { ...context, ...(wire.env as object) } };
}

const toWire = (row: JobRow): Record<string, unknown> => ({
  ...withFence(row),
  id: row.id,
  kind: row.kind,
  lease: row.lease,
  environmentId: row.environmentId,
  fence: row.fence,
  deadlineAt: row.deadlineAt,
  leaseExpiresAt: row.leaseExpiresAt,
});

const namesIn = (secrets: unknown): string[] =>
  Array.isArray(secrets) ? secrets.filter((name) => typeof name === "string") : [];

/** A start's instance carries the fence, too: the container's labels tell who decided it. */
function withFence({ kind, payload, fence }: JobRow): Record<string, unknown> {
  const { spec } = payload;
  return kind === "start" && spec !== null && typeof spec === "object"
    ? { ...payload, spec: { ...spec, fence } }
    : payload;
}
