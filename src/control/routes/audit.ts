import { createRoute } from "@hono/zod-openapi";
import { eventSchema } from "../../protocol/api/events.ts";
import { pageOf } from "../../protocol/api/scalars.ts";
import { auditChainSchema } from "../../protocol/audit.ts";
import { sealAudit } from "../audit/seal.ts";
import { authorize } from "../http/auth.ts";
import { decodeCursor, json, newRouter, pageQuery, toPage } from "../http/route-parts.ts";
import { everything } from "../identity/roles.ts";
import { readEntries } from "../store/audit.ts";
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

const chain = createRoute({
  method: "get",
  path: "/api/v1/audit/chain",
  summary: "The whole log with the hashes that chain it, oldest first",
  description:
    "What was written just now is chained before it answers. An event that was pruned has left its link. `sluice audit verify` follows the chain by itself, and believes no word of control's.",
  tags: ["audit"],
  request: { query: pageQuery(500, 500) },
  responses: { 200: json(auditChainSchema, "A page, oldest first") },
});

export const auditRoutes = () =>
  newRouter()
    .openapi(chain, async (c) => {
      authorize(c, everything("viewer"));
      const { limit, cursor } = c.req.valid("query");
      const head = await sealAudit(c.env);
      const after = Number(decodeCursor(cursor, /^\d{1,15}$/) ?? 0);
      const rows = await readEntries(c.var.db, after, limit + 1);
      const page = toPage(rows, limit, { item: (entry) => entry, cursor: ({ id }) => String(id) });
      return c.json({ ...page, head }, 200);
    })
    .openapi(list, async (c) => {
      const { app, environment } = c.var.principal;
      authorize(c, { role: "viewer", app, environment });
      const { limit, cursor } = c.req.valid("query");
      const after = decodeCursor(cursor, /^\d{1,15}$/);
      const before = after === null ? null : Number(after) || 0;
      const rows = await listEvents(c.var.db, { before, limit: limit + 1, app, environment });
      const page = toPage(rows, limit, { item: eventView, cursor: ({ id }) => String(id) });
      return c.json({ ...page, items: page.items.filter((item) => item !== undefined) }, 200);
    });
