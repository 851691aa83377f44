import { createRoute, z } from "@hono/zod-openapi";
import {
  againSchema,
  createRunSchema,
  type RunView,
  runSchema,
  scaleSchema,
} from "../../protocol/api/runs.ts";
import { pageOf } from "../../protocol/api/scalars.ts";
import { authorize } from "../http/auth.ts";
import { type AppContext, coordinatorOf, orRefuse } from "../http/context.ts";
import { ProblemError } from "../http/problems.ts";
import { requireEnvironment } from "../http/require.ts";
import {
  body,
  decodeCursor,
  environmentParams,
  json,
  newRouter,
  pageQuery,
  toPage,
} from "../http/route-parts.ts";
import { listRuns, type RunRow, readRun } from "../store/processes/runs.ts";
import { runView } from "../views/run.ts";

const tags = ["processes"];
const ENV = "/api/v1/apps/{app}/envs/{env}";
const runParams = environmentParams.extend({ run: z.string().min(1).max(64) });

const list = createRoute({
  method: "get",
  path: `${ENV}/runs`,
  summary: "What ran to its end, or is about to: schedules and people's commands",
  tags,
  request: {
    params: environmentParams,
    query: pageQuery(100, 20).extend({
      process: z.string().max(40).optional().describe("only of this process"),
    }),
  },
  responses: { 200: json(pageOf(runSchema), "A page, newest first") },
});

const read = createRoute({
  method: "get",
  path: `${ENV}/runs/{run}`,
  summary: "One run",
  tags,
  request: { params: runParams },
  responses: { 200: json(runSchema, "The run as it is now") },
});

const create = createRoute({
  method: "post",
  path: `${ENV}/runs`,
  summary: "Run a command once in the live image",
  description:
    "With the app's environment and secrets, on a host that has the image; the host's policy may forbid it (`commands: false`). Its output: `GET …/logs?run=<id>`. It is never begun twice.",
  tags,
  request: { params: environmentParams, body: body(createRunSchema) },
  responses: { 201: json(runSchema, "The run, which waits for its host") },
});

const stop = createRoute({
  method: "post",
  path: `${ENV}/runs/{run}/stop`,
  summary: "End a run",
  description: "SIGTERM, and SIGKILL after ten seconds. One that has ended stays as it is.",
  tags,
  request: { params: runParams },
  responses: { 200: json(runSchema, "The run as it is now") },
});

const restart = createRoute({
  method: "post",
  path: `${ENV}/restart`,
  summary: "Start what is live anew, one by one",
  tags,
  request: { params: environmentParams },
  responses: { 202: json(againSchema, "The release that does it") },
});

const scale = createRoute({
  method: "put",
  path: `${ENV}/scale`,
  summary: "Set how many of each process run",
  description: "Until the next `apply`, which says what it puts back.",
  tags,
  request: { params: environmentParams, body: body(scaleSchema) },
  responses: { 202: json(againSchema, "The release that does it, if one is needed") },
});

export const runRoutes = () =>
  newRouter()
    .openapi(list, async (c) => {
      const { environment } = await reach(c, c.req.valid("param"), "viewer");
      const { limit, cursor, process = null } = c.req.valid("query");
      const after = decodeCursor(cursor, /^\d{1,15}\/[\w-]{1,64}$/);
      const [createdAt = "", id = ""] = after?.split("/") ?? [];
      const before = after === null ? null : { createdAt: Number(createdAt), id };
      const rows = await listRuns(c.var.db, {
        environmentId: environment.id,
        process,
        before,
        limit: limit + 1,
      });
      const key = ({ run }: RunRow) => `${run.createdAt}/${run.id}`;
      return c.json(toPage(rows, limit, { item: runView, cursor: key }), 200);
    })
    .openapi(read, async (c) => {
      const { environment } = await reach(c, c.req.valid("param"), "viewer");
      return c.json(await require(c, environment.id, c.req.valid("param").run), 200);
    })
    .openapi(create, async (c) => {
      const { environment, actor } = await reach(c, c.req.valid("param"), "deployer");
      const { command, deadlineSeconds } = c.req.valid("json");
      const order = { command, deadlineMs: deadlineSeconds * 1_000, actor };
      const { run } = orRefuse(await coordinatorOf(c.env, environment.id).createRun(order));
      return c.json(await require(c, environment.id, run), 201);
    })
    .openapi(stop, async (c) => {
      const { environment, actor } = await reach(c, c.req.valid("param"), "deployer");
      const { run } = c.req.valid("param");
      await require(c, environment.id, run);
      orRefuse(await coordinatorOf(c.env, environment.id).stopRun({ run, actor }));
      return c.json(await require(c, environment.id, run), 200);
    })
    .openapi(restart, async (c) => {
      const { environment, actor } = await reach(c, c.req.valid("param"), "deployer");
      return c.json(orRefuse(await coordinatorOf(c.env, environment.id).restart({ actor })), 202);
    })
    .openapi(scale, async (c) => {
      const { environment, actor } = await reach(c, c.req.valid("param"), "deployer");
      const { counts } = c.req.valid("json");
      return c.json(orRefuse(await coordinatorOf(c.env, environment.id).scale({ actor, counts })), 202);
    });

async function reach(
  c: AppContext,
  { app, env }: { readonly app: string; readonly env: string },
  role: "viewer" | "deployer",
) {
  const { actor } = authorize(c, { role, app, environment: env });
  const { environment } = await requireEnvironment(c, app, env);
  return { environment, actor };
}

async function require(c: AppContext, environmentId: string, id: string): Promise<RunView> {
  const row = await readRun(c.var.db, environmentId, id);
  if (row) return runView(row);
  throw new ProblemError({
    code: "not_found",
    detail: `there is no run \`${id}\` in this environment`,
    next: [{ command: "sluice runs", when: "to see its runs" }],
  });
}
