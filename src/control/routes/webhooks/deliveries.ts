import { createRoute, z } from "@hono/zod-openapi";
import { pageOf } from "../../../protocol/api/scalars.ts";
import { deliverySchema, replayedSchema, replaySchema } from "../../../protocol/webhooks.ts";
import { authorize } from "../../http/auth.ts";
import { inBackground } from "../../http/context.ts";
import { ProblemError } from "../../http/problems.ts";
import { body, decodeCursor, json, newRouter, pageQuery, toPage } from "../../http/route-parts.ts";
import { everything } from "../../identity/roles.ts";
import { pokeNotifier } from "../../notify/poke.ts";
import { listDeliveries, replay } from "../../store/notify/deliveries.ts";
import type { WebhookRow } from "../../store/notify/webhooks.ts";
import { deliveryView } from "../../views/webhook.ts";
import { requireWebhook, write } from "./target.ts";

const tags = ["webhooks"];
const params = z.object({ id: z.string().max(64) });

const log = createRoute({
  method: "get",
  path: "/api/v1/webhooks/{id}/deliveries",
  summary: "What was sent, what is to be, and how it went",
  tags,
  request: {
    params,
    query: pageQuery(200, 50).extend({ state: z.enum(["failed"]).optional().describe("Only given up ones") }),
  },
  responses: { 200: json(pageOf(deliverySchema), "A page, newest first") },
});

const again = createRoute({
  method: "post",
  path: "/api/v1/webhooks/{id}/replay",
  summary: "Send again what was sent or given up",
  description: "As it was, under the same `webhook-id`.",
  tags,
  request: { params, body: body(replaySchema) },
  responses: { 200: json(replayedSchema, "How many are to be sent again") },
});

const test = createRoute({
  method: "post",
  path: "/api/v1/webhooks/{id}/test",
  summary: "Send a test message",
  description: "A `webhook.test`, whatever the target asked for. Its delivery says how it went.",
  tags,
  request: { params },
  responses: { 202: { description: "It is on its way" } },
});

/** What targets were told, and what they are to be told again. */
export const deliveryRoutes = () =>
  newRouter()
    .openapi(log, async (c) => {
      authorize(c, everything("admin"));
      const { id } = await requireWebhook(c);
      const { limit, cursor, state } = c.req.valid("query");
      const after = decodeCursor(cursor, /^\d{1,15}$/);
      const rows = await listDeliveries(c.var.db, {
        webhookId: id,
        before: after === null ? null : Number(after),
        limit: limit + 1,
        failed: state === "failed",
      });
      const as = { item: deliveryView, cursor: ({ eventId }: { eventId: number }) => String(eventId) };
      return c.json(toPage(rows, limit, as), 200);
    })
    .openapi(again, async (c) => {
      const { actor } = authorize(c, everything("admin"));
      const row = await requireWebhook(c);
      refuseDisabled(row);
      const { delivery = null } = c.req.valid("json");
      const replayed = await replay(c.var.db, { webhookId: row.id, id: delivery }, c.var.now());
      if (delivery !== null && replayed === 0)
        throw new ProblemError({
          code: "not_found",
          detail: `${row.id} has no delivery \`${delivery}\` (any more)`,
        });
      await write(c, { row, actor, type: "webhook.replayed", says: `is sent ${replayed} again` }, []);
      inBackground(c, "notify.poke", pokeNotifier(c.env, { changed: true }));
      return c.json({ replayed }, 200);
    })
    .openapi(test, async (c) => {
      const { actor } = authorize(c, everything("admin"));
      const row = await requireWebhook(c);
      refuseDisabled(row);
      await write(c, { row, actor, type: "webhook.test", says: "is sent a test message" }, []);
      inBackground(c, "notify.poke", pokeNotifier(c.env, { changed: true }));
      return c.body(null, 202);
    });

function refuseDisabled({ id, disabledCause }: WebhookRow): void {
  if (disabledCause === null) return;
  const detail = `${id} is told of nothing more: ${disabledCause}. Remove it, and add it again`;
  throw new ProblemError({ code: "conflict", detail });
}
