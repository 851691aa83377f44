import { createRoute } from "@hono/zod-openapi";
import { doctorSchema } from "../../protocol/api.ts";
import { authorize, everything } from "../auth.ts";
import { examine } from "../doctor.ts";
import { iso } from "../iso.ts";
import { json, newRouter } from "./router.ts";

const examination = createRoute({
  method: "get",
  path: "/api/v1/doctor",
  summary: "What is wrong with this installation, and what mends it",
  description: "Control's own parts, every host, every public hostname. Changes nothing.",
  tags: ["health"],
  responses: { 200: json(doctorSchema, "Every check, those that are fine too") },
});

export const doctorRoutes = () =>
  newRouter().openapi(examination, async (c) => {
    authorize(c, everything("viewer"));
    const now = c.var.now();
    const checks = await examine({ env: c.env, db: c.var.db, now });
    const { actor, role } = c.var.principal;
    return c.json({ now: iso(now), version: c.env.VERSION ?? "dev", actor, role, checks }, 200);
  });
