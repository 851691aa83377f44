import { createRoute, z } from "@hono/zod-openapi";
import { registrySchema, setRegistrySchema } from "../../protocol/api/secrets.ts";
import { authorize } from "../http/auth.ts";
import type { AppContext } from "../http/context.ts";
import { ProblemError } from "../http/problems.ts";
import { appParams, body, json, newRouter } from "../http/route-parts.ts";
import { toRegistry } from "../secrets/logins.ts";
import { readKeyring, seal } from "../secrets/seal.ts";
import { registryView, requireKeyring } from "../secrets/secrets.ts";
import { runBatch } from "../store/db.ts";
import { insertEvent } from "../store/events.ts";
import { deleteRegistry, listRegistries, putRegistry, readRegistry } from "../store/registries.ts";
import { readApp } from "../store/status.ts";

const tags = ["registries"];
const registryParams = appParams.extend({
  registry: z.string().max(300).describe("Host and port, such as `ghcr.io`; `docker.io` for Docker Hub"),
});

const list = createRoute({
  method: "get",
  path: "/api/v1/apps/{app}/registries",
  summary: "An app's logins at registries, never their passwords",
  tags,
  request: { params: appParams },
  responses: { 200: json(z.object({ items: z.array(registrySchema) }), "All of them, by registry") },
});

const set = createRoute({
  method: "put",
  path: "/api/v1/apps/{app}/registries/{registry}",
  summary: "Log an app in at a registry",
  description:
    "Sealed before it is written, and opened only for an agent that pulls an image of this app from there.",
  tags,
  request: { params: registryParams, body: body(setRegistrySchema) },
  responses: { 200: json(registrySchema, "The login, without its password") },
});

const remove = createRoute({
  method: "delete",
  path: "/api/v1/apps/{app}/registries/{registry}",
  summary: "Forget a login",
  description: "Hosts then pull with what `docker login` left on them, if anything.",
  tags,
  request: { params: registryParams },
  responses: { 204: { description: "It is not there (any more)" } },
});

/** Who an app is to the registries its images come from. */
export const registryRoutes = () =>
  newRouter()
    .openapi(list, async (c) => {
      const { app } = c.req.valid("param");
      authorize(c, { role: "viewer", app, environment: null });
      const keyring = await readKeyring(c.env);
      const rows = await listRegistries(c.var.db, await requireAppId(c, app));
      const items = rows.map((row) => registryView(row, keyring.ok ? keyring.value : undefined));
      return c.json({ items }, 200);
    })
    .openapi(set, async (c) => {
      const { app } = c.req.valid("param");
      const registry = requireRegistry(c.req.valid("param").registry);
      const { actor } = authorize(c, { role: "deployer", app, environment: null });
      const appId = await requireAppId(c, app);
      const keyring = await requireKeyring(c.env);
      const { username, password } = c.req.valid("json");
      const sealed = await seal(keyring, { purpose: "registry", owner: appId, name: registry }, password);
      const now = c.var.now();
      const row = { appId, registry, username, ...sealed, updatedAt: now, updatedBy: actor };
      const message = `${app}: login at ${registry} set`;
      const event = { at: now, type: "registry.set", actor, app, message, data: { registry, username } };
      await runBatch(c.var.db, [putRegistry(c.var.db, row), insertEvent(c.var.db, event)]);
      return c.json(registryView(row, keyring), 200);
    })
    .openapi(remove, async (c) => {
      const { app } = c.req.valid("param");
      const registry = requireRegistry(c.req.valid("param").registry);
      const { actor } = authorize(c, { role: "deployer", app, environment: null });
      const appId = await requireAppId(c, app);
      if (await readRegistry(c.var.db, appId, registry)) {
        const message = `${app}: login at ${registry} removed`;
        const event = { at: c.var.now(), type: "registry.removed", actor, app, message, data: { registry } };
        await runBatch(c.var.db, [deleteRegistry(c.var.db, appId, registry), insertEvent(c.var.db, event)]);
      }
      return c.body(null, 204);
    });

async function requireAppId(c: AppContext, name: string): Promise<string> {
  const app = await readApp(c.var.db, name);
  if (app) return app.id;
  const next = [{ command: "sluice apply", when: "its manifest was never applied" }];
  throw new ProblemError({ code: "not_found", detail: `there is no app \`${name}\``, next });
}

function requireRegistry(given: string): string {
  const registry = toRegistry(given);
  if (registry !== undefined) return registry;
  const detail = `\`${given}\` is no registry: it must be host and port, such as ghcr.io or registry.example.com:5000; docker.io for Docker Hub`;
  throw new ProblemError({ code: "invalid_request", detail });
}
