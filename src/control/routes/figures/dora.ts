import { createRoute, z } from "@hono/zod-openapi";
import { doraOf, windowStart } from "../../../domain/dora.ts";
import { doraSchema } from "../../../protocol/api/figures/dora.ts";
import { nameSchema } from "../../../protocol/api/scalars.ts";
import { authorize } from "../../http/auth.ts";
import { json, newRouter } from "../../http/route-parts.ts";
import { iso } from "../../iso.ts";
import { readDelivered } from "../../store/figures/dora.ts";

const dora = createRoute({
  method: "get",
  path: "/api/v1/dora",
  summary: "Deployment frequency, lead time, change failure rate and time to restore",
  description: "Of each environment, from its releases. A token with a scope sees its own.",
  tags: ["metrics"],
  request: {
    query: z.object({
      app: nameSchema.optional(),
      environment: nameSchema.optional(),
      days: z.coerce.number().int().min(1).max(366).default(30),
    }),
  },
  responses: { 200: json(doraSchema, "The four keys") },
});

export const doraRoutes = () =>
  newRouter().openapi(dora, async (c) => {
    const { principal } = c.var;
    const asked = c.req.valid("query");
    const app = asked.app ?? principal.app;
    const environment = asked.environment ?? principal.environment;
    authorize(c, { role: "viewer", app, environment });
    const from = windowStart(c.var.now(), asked.days);
    const found = await readDelivered(c.var.db, { app, environment, from });
    const items = found.map(({ releases, ...names }) => ({ ...names, ...doraOf(releases, asked.days) }));
    return c.json({ from: iso(from), days: asked.days, items }, 200);
  });
