import { createRoute, z } from "@hono/zod-openapi";
import { doctorSchema } from "../../protocol/api/doctor.ts";
import { settingsOf } from "../cloudflare/api.ts";
import { examineAllowances } from "../doctor/allowances.ts";
import { examine } from "../doctor/doctor.ts";
import { examinePaths } from "../doctor/live.ts";
import { examinePlaces } from "../doctor/places.ts";
import { examineWebhooks } from "../doctor/webhooks.ts";
import { authorize } from "../http/auth.ts";
import { json, newRouter } from "../http/route-parts.ts";
import { everything } from "../identity/roles.ts";
import { iso } from "../iso.ts";

const examination = createRoute({
  method: "get",
  path: "/api/v1/doctor",
  summary: "What is wrong with this installation, and what mends it",
  description:
    "Control's own parts, every host, every public hostname. With `live=1` also the real paths through the tunnels: that needs an admin, since it names slots. Changes nothing.",
  tags: ["health"],
  request: {
    query: z.object({
      live: z.enum(["0", "1"]).optional(),
      /** `allowances`: what is used of the Free plan's day, and nothing else. */
      only: z.enum(["allowances"]).optional(),
    }),
  },
  responses: { 200: json(doctorSchema, "Every check, those that are fine too") },
});

export const doctorRoutes = () =>
  newRouter().openapi(examination, async (c) => {
    const { live, only } = c.req.valid("query");
    const isLive = live === "1" && only === undefined;
    const { actor, role } = authorize(c, everything(isLive ? "admin" : "viewer"));
    const now = c.var.now();
    const at = { env: c.env, db: c.var.db, now };
    const isCloudflare = settingsOf(c.env) !== null;
    const [checks, webhooks, places, allowances, paths] = await Promise.all([
      only === undefined ? examine(at) : [],
      only === undefined ? examineWebhooks(at) : [],
      only === undefined && isCloudflare ? examinePlaces(at) : [],
      isCloudflare ? examineAllowances(at) : [],
      isLive ? examinePaths(c.var.db, c.env) : undefined,
    ]);
    const view = { now: iso(now), version: c.env.VERSION ?? "dev", actor, role };
    return c.json(
      {
        ...view,
        checks: [...checks, ...webhooks, ...places, ...allowances, ...(paths?.checks ?? [])],
        slots: [...(paths?.slots ?? [])],
      },
      200,
    );
  });
