import { createRoute, z } from "@hono/zod-openapi";
import { environmentSchema } from "../../protocol/api/environments.ts";
import { visitsSchema } from "../../protocol/api/figures/visits.ts";
import { rollbackAnswerSchema, rollbackSchema, weightsSchema } from "../../protocol/api/moves.ts";
import { MOVES, movePlanSchema } from "../../protocol/api/plans.ts";
import { toBasisPoints } from "../environment/weights.ts";
import { authorize } from "../http/auth.ts";
import { coordinatorOf, orRefuse } from "../http/context.ts";
import { ProblemError } from "../http/problems.ts";
import {
  etagOf,
  releaseStatusView,
  requireEnvironment,
  requireEnvironmentId,
  requireRelease,
  statusView,
} from "../http/require.ts";
import { body, environmentParams, json, newRouter } from "../http/route-parts.ts";
import { readRecent } from "../meter/meter-parts.ts";
import { metersOf } from "../objects.ts";
import { findReleases } from "../store/status.ts";
import { isReady } from "../views/rows.ts";
import { visitsView } from "../views/visits.ts";
import { movePlanView } from "./move-plan.ts";

const rollback = createRoute({
  method: "post",
  path: "/api/v1/apps/{app}/envs/{env}/rollback",
  summary: "Go back to an earlier release",
  description:
    "`instant` flips the traffic to instances that are still warm; `restart` starts the old image again.",
  tags: ["traffic"],
  request: {
    params: environmentParams,
    headers: z.object({ "idempotency-key": z.string().optional() }),
    body: body(rollbackSchema),
  },
  responses: { 202: json(rollbackAnswerSchema, "It is on its way; `Location` is the release to follow") },
});

const weights = createRoute({
  method: "put",
  path: "/api/v1/apps/{app}/envs/{env}/weights",
  summary: "Set the whole split by hand",
  description: "Percent by release id or label, at most two decimals, summing to 100.",
  tags: ["traffic"],
  request: {
    params: environmentParams,
    headers: z.object({
      "if-match": z
        .string()
        .optional()
        .describe("`ETag` of the status this was decided on; 412 when it has changed"),
    }),
    body: body(weightsSchema),
  },
  responses: { 200: json(environmentSchema, "The environment as it is now") },
});

const planned = createRoute({
  method: "get",
  path: "/api/v1/apps/{app}/envs/{env}/plan/{move}",
  summary: "What a promote, an abort or a rollback would do now",
  description: "Changes nothing: the very command, on a copy of the state.",
  tags: ["traffic"],
  request: { params: environmentParams.extend({ move: z.enum(MOVES) }) },
  responses: { 200: json(movePlanSchema, "The split after it, or why it would be refused") },
});

const visits = createRoute({
  method: "get",
  path: "/api/v1/apps/{app}/envs/{env}/visits",
  summary: "Requests, errors and latency of the last minute",
  description: "By release and instance, as the edge counted them; whole windows of ten seconds.",
  tags: ["traffic"],
  request: { params: environmentParams },
  responses: { 200: json(visitsSchema, "The last minute") },
});

/** Traffic, seen and moved by hand. */
export const trafficRoutes = () =>
  newRouter()
    .openapi(rollback, async (c) => {
      const { app, env } = c.req.valid("param");
      const { actor } = authorize(c, { role: "deployer", app, environment: env, action: "deploy" });
      const id = await requireEnvironmentId(c, app, env);
      const { to = null, from: seen = null } = c.req.valid("json");
      const done = orRefuse(await coordinatorOf(c.env, id).rollback({ to, seen, actor }));
      const [from, target, followed] = await Promise.all([
        requireRelease(c, done.from),
        requireRelease(c, done.to),
        requireRelease(c, done.release),
      ]);
      c.header("location", `/api/v1/releases/${done.release}`);
      const answer = {
        how: done.how,
        from: { release: done.from, version: from.release.version },
        to: { release: done.to, version: target.release.version },
        release: await releaseStatusView(c, followed),
      };
      return c.json(answer, 202);
    })
    .openapi(planned, async (c) => {
      const { app, env, move } = c.req.valid("param");
      authorize(c, { role: "viewer", app, environment: env });
      const { environment } = await requireEnvironment(c, app, env);
      return c.json(await movePlanView(c, environment.id, move), 200);
    })
    .openapi(visits, async (c) => {
      const { app, env } = c.req.valid("param");
      authorize(c, { role: "viewer", app, environment: env });
      const status = await requireEnvironment(c, app, env);
      const now = c.var.now();
      const counted = await readRecent(metersOf(c.env), status.environment.id, now);
      return c.json(visitsView(status, counted, now), 200);
    })
    .openapi(weights, async (c) => {
      const { app, env } = c.req.valid("param");
      const { actor } = authorize(c, { role: "deployer", app, environment: env, action: "deploy" });
      const status = await requireEnvironment(c, app, env);
      const ifMatch = c.req.header("if-match");
      const isGuarded = isGuard(ifMatch);
      if (isGuarded) refuseStale(ifMatch, etagOf(status));
      const asked = c.req.valid("json");
      const known = await findReleases(c.var.db, status.environment.id, Object.keys(asked));
      const ready = new Set(status.instances.filter(isReady).map((instance) => instance.releaseId));
      const valid = status.releases.filter(({ id }) => ready.has(id)).map(({ version }) => version);
      const split = orRefuse(toBasisPoints(asked, known, valid));
      // Once more in the coordinator's turn: between this look and that one it may have moved on.
      const seenRev = isGuarded ? status.environment.rev : null;
      const coordinator = coordinatorOf(c.env, status.environment.id);
      orRefuse(await coordinator.setWeights({ weights: split, actor, seenRev }));
      const now = await requireEnvironment(c, app, env);
      c.header("etag", etagOf(now));
      return c.json(await statusView(c, now), 200);
    });

const isGuard = (ifMatch: string | undefined): ifMatch is string =>
  ifMatch !== undefined && ifMatch.trim() !== "*";

function refuseStale(ifMatch: string, etag: string): void {
  if (ifMatch.split(",").some((tag) => tag.trim() === etag)) return;
  const detail = `the environment has changed since you looked (it is ${etag} now, you had ${ifMatch}): look again`;
  throw new ProblemError({ code: "precondition_failed", detail });
}
