import { createRoute, z } from "@hono/zod-openapi";
import { sql } from "drizzle-orm";
import { endingSchema } from "../../protocol/api/endings.ts";
import { authorize } from "../http/auth.ts";
import { type AppContext, coordinatorOf, orRefuse } from "../http/context.ts";
import { ProblemError } from "../http/problems.ts";
import { requireEnvironment } from "../http/require.ts";
import { appParams, environmentParams, json, newRouter } from "../http/route-parts.ts";
import { runBatch } from "../store/db.ts";
import { listRunning, listWorkers } from "../store/processes/beside.ts";
import { instances } from "../store/schema/instances.ts";
import { jobs } from "../store/schema/jobs.ts";
import { type EnvironmentStatus, readApp, readEnvironments } from "../store/status.ts";
import { endApp, findUntold } from "../store/upkeep/endings.ts";
import { endingView } from "../views/ending.ts";

const confirmation = (what: string) =>
  z.object({ confirm: z.string().max(100).optional().describe(`${what}, as proof that it is meant`) });
const description =
  "Ends what is on its way, drains and stops all instances, removes accessories' containers, secrets, hostnames and tokens. Data volumes on the hosts stay, and so does the audit log. Answers at once with what it waits for; said again it answers how far it is.";

const destroyEnvironment = createRoute({
  method: "delete",
  path: "/api/v1/apps/{app}/envs/{env}",
  summary: "Destroy an environment",
  description,
  tags: ["apps"],
  request: { params: environmentParams, query: confirmation("`<app>/<environment>`") },
  responses: { 202: json(endingSchema, "It is on its way out") },
});

const destroyApp = createRoute({
  method: "delete",
  path: "/api/v1/apps/{app}",
  summary: "Destroy an app with all of its environments",
  description,
  tags: ["apps"],
  request: { params: appParams, query: confirmation("The app's name") },
  responses: { 202: json(endingSchema, "It is on its way out") },
});

/** The ends of environments and apps. */
export const endingRoutes = () =>
  newRouter()
    .openapi(destroyEnvironment, async (c) => {
      const { app, env } = c.req.valid("param");
      const { actor } = authorize(c, { role: "admin", app, environment: env });
      const { environment } = await requireEnvironment(c, app, env);
      requireConfirmed(c.req.valid("query").confirm, `${app}/${env}`);
      orRefuse(await coordinatorOf(c.env, environment.id).destroy({ actor }));
      const status = await requireEnvironment(c, app, env);
      const of = { app, environment: env, by: actor, now: c.var.now() };
      return c.json(endingView(of, [status], await besideOf(c, [status])), 202);
    })
    .openapi(destroyApp, async (c) => {
      const { app } = c.req.valid("param");
      const { actor } = authorize(c, { role: "admin", app, environment: null });
      const row = await readApp(c.var.db, app);
      if (!row) throw new ProblemError({ code: "not_found", detail: `there is no app \`${app}\`` });
      requireConfirmed(c.req.valid("query").confirm, app);
      if (row.ending === null) await runBatch(c.var.db, endApp(c.var.db, row, { actor, now: c.var.now() }));
      await tellEnvironments(c, row.id);
      const statuses = await readEnvironments(c.var.db, { apps: [row.id] });
      const of = { app, environment: null, by: actor, now: c.var.now() };
      return c.json(endingView(of, statuses, await besideOf(c, statuses)), 202);
    });

export async function besideOf(c: AppContext, statuses: readonly EnvironmentStatus[]) {
  const ids = JSON.stringify(statuses.map(({ environment }) => environment.id));
  const isOne = sql`IN (SELECT value FROM json_each(${ids}))`;
  const [workers, runs] = await Promise.all([
    listWorkers(c.var.db, sql`${instances.environmentId} ${isOne}`),
    listRunning(c.var.db, sql`${jobs.environmentId} ${isOne}`),
  ]);
  return { workers, runs };
}

/** Some of them: the sweep tells the rest, also should this end in between. */
async function tellEnvironments(c: AppContext, appId: string): Promise<void> {
  for (const { id, by } of await findUntold(c.var.db, appId))
    orRefuse(await coordinatorOf(c.env, id).destroy({ actor: by }));
}

function requireConfirmed(given: string | undefined, wanted: string): void {
  if (given === wanted) return;
  const said = given === undefined ? "without `confirm`" : `with \`confirm=${given}\``;
  const detail = `this came ${said}: it destroys ${wanted}, so it wants \`confirm=${wanted}\``;
  throw new ProblemError({ code: "invalid_request", detail, errors: [{ pointer: "/confirm", detail }] });
}
