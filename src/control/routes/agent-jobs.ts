import { createRoute, z } from "@hono/zod-openapi";
import {
  jobDoneSchema,
  jobProgressAnswerSchema,
  jobProgressSchema,
} from "../../protocol/agent/job-results.ts";
import { asHost, authenticate, authorizeAgent } from "../http/auth.ts";
import { type AppContext, pokeAll } from "../http/context.ts";
import { ProblemError } from "../http/problems.ts";
import { body, json, newRouter } from "../http/route-parts.ts";
import { logInfo } from "../log.ts";
import { finishJob, LEASE_MS, progressJob, readJob } from "../store/jobs.ts";

const tags = ["agent"];
const jobParams = z.object({ id: z.string().min(1).max(128) });

const progress = createRoute({
  method: "post",
  path: "/agent/v1/jobs/{id}/progress",
  summary: "Renew a job's lease and say how it goes",
  tags,
  middleware: [authenticate] as const,
  request: { params: jobParams, body: body(jobProgressSchema) },
  responses: { 200: json(jobProgressAnswerSchema, "The lease's new end") },
});

const done = createRoute({
  method: "post",
  path: "/agent/v1/jobs/{id}/done",
  summary: "End a job with its result",
  tags,
  request: { params: jobParams, body: body(jobDoneSchema) },
  responses: { 200: json(z.object({}), "Written; the same again answers the same") },
});

/** How agents tell of the jobs that are leased to them. */
export const agentJobRoutes = () =>
  newRouter()
    .openapi(progress, async (c) => {
      const { hostId, actor } = authorizeAgent(c);
      const { lease, message } = c.req.valid("json");
      const now = c.var.now();
      const held = { job: c.req.valid("param").id, hostId, lease, now };
      if (!(await progressJob(c.var.db, held, message, actor))) throw leaseLost(held.job);
      return c.json({ leaseExpiresAt: now + LEASE_MS }, 200);
    })
    .openapi(done, async (c) => {
      const { lease, ...outcome } = c.req.valid("json");
      const held = { job: c.req.valid("param").id, lease, now: c.var.now() };
      const { requestId: request } = c.var;
      const environment = await asHost(c, (db, hostId) => finishJob(db, { ...held, hostId }, outcome));
      if (environment !== undefined) {
        logInfo(outcome.ok ? "job.done" : "job.failed", {
          request,
          job: held.job,
          environment,
        });
        pokeAll(c, [environment]);
      } else await refuseUnlessRepeated(c, { ...held, hostId: authorizeAgent(c).hostId }, outcome);
      return c.json({}, 200);
    });

/** The answer to a `done` may get lost: the same lease with the same outcome is success, again. */
async function refuseUnlessRepeated(
  c: AppContext,
  held: { job: string; hostId: string; lease: string },
  outcome: { ok: boolean; result?: unknown; error?: unknown },
): Promise<void> {
  const job = await readJob(c.var.db, held.job);
  const isSame =
    job?.hostId === held.hostId &&
    job.lease === held.lease &&
    job.state === (outcome.ok ? "done" : "failed") &&
    JSON.stringify(outcome.ok ? job.result : job.error) ===
      JSON.stringify(outcome.ok ? outcome.result : outcome.error);
  if (!isSame) throw leaseLost(held.job);
}

const leaseLost = (job: string) =>
  new ProblemError({
    code: "lease_lost",
    detail: `this lease of job ${job} is not valid any more (it ran out and went to another poll, or the job was ended): drop the result`,
  });
