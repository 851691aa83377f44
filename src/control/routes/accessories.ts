import { createRoute, z } from "@hono/zod-openapi";
import type { AccessoryAction } from "../../domain/accessory.ts";
import { type AccessoryView, accessorySchema } from "../../protocol/api/accessories.ts";
import { nameSchema, pageOf } from "../../protocol/api/scalars.ts";
import { commandAccessory } from "../apps/accessories.ts";
import { authorize } from "../http/auth.ts";
import { type AppContext, inBackground } from "../http/context.ts";
import { ProblemError } from "../http/problems.ts";
import { requireEnvironment } from "../http/require.ts";
import { environmentParams, json, newRouter } from "../http/route-parts.ts";
import { objectIn } from "../objects.ts";
import { secretsLack } from "../secrets/secrets.ts";
import { accessoryViews } from "../views/accessory.ts";

const accessoryParams = environmentParams.extend({ name: nameSchema });

const list = createRoute({
  method: "get",
  path: "/api/v1/apps/{app}/envs/{env}/accessories",
  summary: "An environment's accessories",
  description: "Those that were started, and those that its manifest declares.",
  tags: ["accessories"],
  request: { params: environmentParams },
  responses: { 200: json(pageOf(accessorySchema), "All of them, by name") },
});

const command = createRoute({
  method: "post",
  path: "/api/v1/apps/{app}/envs/{env}/accessories/{name}/{action}",
  summary: "Start, stop or upgrade an accessory",
  description:
    "`start` runs what was there as it was, or makes it from the manifest; `stop` keeps container and volumes; `upgrade` replaces the container by what the manifest has now, on the same volumes. Answers at once; `job` tells how it goes. What is so already, or under way, is answered as it is.",
  tags: ["accessories"],
  request: {
    params: accessoryParams.extend({ action: z.enum(["start", "stop", "upgrade"]) }),
  },
  responses: { 202: json(accessorySchema, "The accessory as it is now") },
});

const remove = createRoute({
  method: "delete",
  path: "/api/v1/apps/{app}/envs/{env}/accessories/{name}",
  summary: "Remove an accessory's container",
  description: "Never a volume: `volumes` names those that stay, `next` how a person removes them by hand.",
  tags: ["accessories"],
  request: { params: accessoryParams },
  responses: { 202: json(accessorySchema, "The accessory as it is now") },
});

/** Accessories: a database, a cache beside the app. No release touches them. */
export const accessoryRoutes = () =>
  newRouter()
    .openapi(list, async (c) => {
      const { app, env } = c.req.valid("param");
      authorize(c, { role: "viewer", app, environment: env });
      return c.json({ items: await views(c, app, env), nextCursor: null }, 200);
    })
    .openapi(command, async (c) => {
      const { action, ...at } = c.req.valid("param");
      return c.json(await obey(c, at, action), 202);
    })
    .openapi(remove, async (c) => c.json(await obey(c, c.req.valid("param"), "remove"), 202));

async function obey(
  c: AppContext,
  { app, env, name }: z.output<typeof accessoryParams>,
  action: AccessoryAction,
): Promise<AccessoryView> {
  const { actor } = authorize(c, { role: "deployer", app, environment: env });
  const { environment } = await requireEnvironment(c, app, env);
  const lackOf = (names: readonly string[]) =>
    secretsLack(c.var.db, c.env, { environmentId: environment.id, app, environment: env, names });
  const before = (await views(c, app, env)).find((view) => view.name === name);
  const done = await commandAccessory(c.var.db, {
    environment,
    name,
    action,
    actor,
    lackOf,
    now: c.var.now(),
  });
  if (!done.ok) throw new ProblemError(done.error);
  if (done.value !== null)
    inBackground(c, "accessory.wake", objectIn(c.env.HOST_LINK, done.value, c.env).wake());
  const after = (await views(c, app, env)).find((view) => view.name === name);
  if (after) return after;
  if (before) return { ...before, state: "absent", job: null, next: [] };
  throw new Error(`accessory ${name} is neither before nor after ${action}`);
}

async function views(c: AppContext, app: string, env: string): Promise<AccessoryView[]> {
  const { environment, accessories } = await requireEnvironment(c, app, env);
  return accessoryViews(environment.spec, accessories, c.var.now());
}
