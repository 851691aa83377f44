import { createRoute } from "@hono/zod-openapi";
import { isSlotHostname } from "../../domain/routing/slot.ts";
import { insideAnswerSchema, insideQuestionSchema } from "../../protocol/api/doctor.ts";
import { askBatch, lookFrom } from "../doctor/ask-inside.ts";
import { authorize } from "../http/auth.ts";
import { ProblemError } from "../http/problems.ts";
import { json, newRouter } from "../http/route-parts.ts";
import { everything } from "../identity/roles.ts";

const question = createRoute({
  method: "post",
  path: "/api/v1/doctor/questions",
  summary: "Asks from inside Cloudflare what nobody outside can find out",
  description:
    "For `sluice doctor --live`: how a request of control's own meets a slot's hostname, and how D1 counts a batch. Changes nothing. Needs an admin.",
  tags: ["health"],
  request: { body: { content: { "application/json": { schema: insideQuestionSchema } }, required: true } },
  responses: { 200: json(insideAnswerSchema, "What was seen") },
});

export const doctorQuestionRoutes = () =>
  newRouter().openapi(question, async (c) => {
    authorize(c, everything("admin"));
    const asked = c.req.valid("json");
    if (asked.kind === "batch")
      return c.json({ kind: "batch" as const, refused: await askBatch(c.env) }, 200);
    const zone = c.env.SLOT_ZONE;
    // Whoever may ask control to fetch may have it fetch slots, and nothing else.
    if (zone === undefined || !isSlotHostname(asked.hostname, zone))
      throw new ProblemError({
        code: "invalid_request",
        detail: `${asked.hostname} is no slot's hostname in the slots' zone`,
      });
    return c.json({ kind: "look" as const, seen: await lookFrom(c.env, asked.from, asked.hostname) }, 200);
  });
