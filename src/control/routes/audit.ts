import { createRoute } from "@hono/zod-openapi";
import { eventSchema } from "../../protocol/api/events.ts";
import { pageOf } from "../../protocol/api/scalars.ts";
import { authorize } from "../http/auth.ts";
import { decodeCursor, json, newRouter, pageQuery, toPage } from "../http/router.ts";
import { listEvents } from "../store/events.ts";
import { eventView } from "../views/rows.ts";

const list = createRoute({
  method: "get",
  path: "/api/v1/audit",
  summary: "Everything that changed, and who did it",
  description: "A token with a scope sees the events of its scope.",
  tags: ["audit"],
  request: { query: pageQuery(200, 50) },
  responses: { 200: json(pageOf(eventSchema), "A page, newest first") },
});

export const auditRoutes = () =>
  newRouter().openapi(list, async (c) => {
    const { app, environment } = c.var.principal;
    authorize(c, { role: "viewer", app, environment });
    const { limit, cursor } = c.req.valid("query");
    const after = decodeCursor(cursor, /^\d{1,15}$/);
    const before = after === null ? null : Number(after) || 0;
    const rows = await listEvents(c.var.db, { before, limit: limit + 1, app, environment });
    const page = toPage(rows, limit, { item: eventView, cursor: ({ id }) => String(id) });
    return c.json({ ...page, items: page.items.filter((item) => item !== undefined) }, 200);
  });
