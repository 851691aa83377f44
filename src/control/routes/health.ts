import { createRoute } from "@hono/zod-openapi";
import { healthAnswerSchema } from "../../protocol/api/health.ts";
import type { AppContext } from "../http/context.ts";
import { json, newRouter } from "../http/route-parts.ts";

/** A database that needs longer than this is not one to be ready on. */
const DEADLINE_MS = 2_000;
/** Checks are shared for this long, so that probing costs the database next to nothing. */
const REUSE_MS = 1_000;

const route = (path: "/health" | "/ready", summary: string) =>
  createRoute({
    method: "get",
    path,
    summary,
    tags: ["health"],
    security: [],
    responses: {
      200: json(healthAnswerSchema, "All is well"),
      503: json(healthAnswerSchema, "The database does not answer"),
    },
  });

const live = createRoute({
  method: "get",
  path: "/live",
  summary: "Whether control runs at all",
  tags: ["health"],
  security: [],
  responses: { 200: json(healthAnswerSchema, "It runs") },
});

type Check = { status: "up" | "down"; responseTimeMs: number; message?: string };

/** Health, without a token: what monitors and load balancers ask. */
export const healthRoutes = () => {
  // The finished check, not its promise: a Worker may not wait for what another request began.
  let last: { at: number; check: Check } | undefined;
  const answer = async (c: AppContext) => {
    const now = c.var.now();
    const reusable = last && now - last.at < REUSE_MS ? last.check : undefined;
    const database = reusable ?? (await checkDatabase(c.env.DB));
    if (!reusable) last = { at: now, check: database };
    const isUp = database.status === "up";
    const view = {
      status: isUp ? ("healthy" as const) : ("unhealthy" as const),
      version: c.env.VERSION ?? "dev",
      checks: { database },
    };
    return c.json(view, isUp ? 200 : 503);
  };
  return newRouter()
    .openapi(route("/health", "Health, with each check and its time"), answer)
    .openapi(route("/ready", "Whether control can do its work"), answer)
    .openapi(live, (c) =>
      c.json({ status: "healthy" as const, version: c.env.VERSION ?? "dev", checks: {} }, 200),
    );
};

async function checkDatabase(db: D1Database): Promise<Check> {
  const start = performance.now();
  const spent = () => Math.round(performance.now() - start);
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new Error(`no answer within ${DEADLINE_MS} ms`)), DEADLINE_MS);
  try {
    await Promise.race([db.prepare("SELECT 1").run(), late]);
    return { status: "up", responseTimeMs: spent() };
  } catch {
    // The cause may name internals, and anyone may ask: the deployment's log has it.
    return { status: "down", responseTimeMs: spent(), message: "the database does not answer" };
  } finally {
    clearTimeout(timer);
  }
}
