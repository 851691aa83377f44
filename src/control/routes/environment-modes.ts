import { createRoute } from "@hono/zod-openapi";
import type { z } from "zod";
import type { TrafficMode } from "../../domain/routing/table.ts";
import { environmentSchema } from "../../protocol/api/environments.ts";
import { createLockSchema, createMaintenanceSchema } from "../../protocol/api/modes.ts";
import { authorize } from "../http/auth.ts";
import { type AppContext, coordinatorOf, orRefuse } from "../http/context.ts";
import { etagOf, requireEnvironment, statusView } from "../http/require.ts";
import { body, environmentParams, json, newRouter } from "../http/route-parts.ts";

/** The edge holds a request no longer than this. */
const HELD_MS = 30_000;
const answer = { 200: json(environmentSchema, "The environment as it is now") };

const lock = createRoute({
  method: "put",
  path: "/api/v1/apps/{app}/envs/{env}/lock",
  summary: "Keep releases from beginning",
  description: "One lock at a time (423 `locked` names the holder). It ends by itself at `expiresAt`.",
  tags: ["environments"],
  request: { params: environmentParams, body: body(createLockSchema) },
  responses: answer,
});

const unlock = createRoute({
  method: "delete",
  path: "/api/v1/apps/{app}/envs/{env}/lock",
  summary: "End a lock",
  description: "Whoever may release may end it; the audit log says who did.",
  tags: ["environments"],
  request: { params: environmentParams },
  responses: answer,
});

const shut = createRoute({
  method: "put",
  path: "/api/v1/apps/{app}/envs/{env}/maintenance",
  summary: "Let no visitor in",
  description:
    "`maintenance`: 503 with `Retry-After` and the message. `pause`: new requests are held for up to 30 s, then 503.",
  tags: ["environments"],
  request: { params: environmentParams, body: body(createMaintenanceSchema) },
  responses: answer,
});

const open = createRoute({
  method: "delete",
  path: "/api/v1/apps/{app}/envs/{env}/maintenance",
  summary: "Let visitors in again",
  tags: ["environments"],
  request: { params: environmentParams },
  responses: answer,
});

/** What keeps releases, or visitors, out of an environment. */
export const environmentModeRoutes = () =>
  newRouter()
    .openapi(lock, async (c) => {
      const { at, port, actor } = await enter(c, c.req.valid("param"));
      const { reason, expiresInMinutes } = c.req.valid("json");
      const expiresAt = c.var.now() + expiresInMinutes * 60_000;
      orRefuse(await port.lock({ actor, reason, expiresAt }));
      return c.json(await after(c, at), 200);
    })
    .openapi(unlock, async (c) => {
      const { at, port, actor } = await enter(c, c.req.valid("param"));
      orRefuse(await port.unlock({ actor }));
      return c.json(await after(c, at), 200);
    })
    .openapi(shut, async (c) => {
      const { at, port, actor } = await enter(c, c.req.valid("param"));
      orRefuse(await port.setMode({ actor, mode: modeOf(c.req.valid("json"), c.var.now()) }));
      return c.json(await after(c, at), 200);
    })
    .openapi(open, async (c) => {
      const { at, port, actor } = await enter(c, c.req.valid("param"));
      orRefuse(await port.setMode({ actor, mode: { kind: "open" } }));
      return c.json(await after(c, at), 200);
    });

interface At {
  readonly app: string;
  readonly env: string;
}

async function enter(c: AppContext, at: At) {
  const { actor } = authorize(c, { role: "deployer", app: at.app, environment: at.env });
  const { environment } = await requireEnvironment(c, at.app, at.env);
  return { at, actor, port: coordinatorOf(c.env, environment.id) };
}

async function after(c: AppContext, { app, env }: At) {
  const status = await requireEnvironment(c, app, env);
  c.header("etag", etagOf(status));
  return statusView(c, status);
}

function modeOf(asked: z.output<typeof createMaintenanceSchema>, now: number): TrafficMode {
  if (asked.mode === "pause") return { kind: "paused", until: now + HELD_MS };
  return { kind: "maintenance", retryAfterS: asked.retryAfterS, message: asked.message ?? null };
}
