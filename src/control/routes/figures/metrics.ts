import { createRoute, z } from "@hono/zod-openapi";
import { BoundedMap } from "../../bounded-map.ts";
import { EXPOSITION_TYPE } from "../../figures/exposition.ts";
import { type Metered, metricsText } from "../../figures/metrics.ts";
import { authorize } from "../../http/auth.ts";
import type { AppContext } from "../../http/context.ts";
import { newRouter } from "../../http/route-parts.ts";
import { logFailure } from "../../log.ts";
import { readTotals } from "../../meter/meter-parts.ts";
import { metersOf } from "../../objects.ts";
import { type MetricsScope, readMetrics } from "../../store/figures/metrics.ts";

/** What one scrape shows: four meter objects are asked of each, and a Worker may make 1,000 such calls. */
const MOST_ENVIRONMENTS = 200;
/** An answer is given again for so long: two Prometheus servers cost what one does. */
const REUSE_MS = 5_000;
const METER_WITHIN_MS = 3_000;
const SCOPES_KEPT = 20;

const metrics = createRoute({
  method: "get",
  path: "/metrics",
  summary: "Metrics for Prometheus",
  description: "Text format 0.0.4. A token with a scope sees its own app or environment, and no hosts.",
  tags: ["metrics"],
  responses: {
    200: { description: "All metrics", content: { "text/plain": { schema: z.string() } } },
  },
});

/** Metrics, the same from whichever isolate answers: of rows and meter objects, never of what this isolate saw. */
export const metricsRoutes = () => {
  const kept = new BoundedMap<string, { at: number; text: string }>(SCOPES_KEPT);
  return newRouter().openapi(metrics, async (c) => {
    const { app, environment } = c.var.principal;
    authorize(c, { role: "viewer", app, environment });
    const now = c.var.now();
    const key = JSON.stringify([app, environment]);
    const last = kept.get(key);
    const isFresh = last && now >= last.at && now - last.at < REUSE_MS;
    const text = isFresh ? last.text : await collect(c, { app, environment }, now);
    if (!isFresh) kept.set(key, { at: now, text });
    return c.text(text, 200, { "content-type": EXPOSITION_TYPE });
  });
};

async function collect(c: AppContext, scope: MetricsScope, now: number): Promise<string> {
  const rows = await readMetrics(c.var.db, scope, MOST_ENVIRONMENTS);
  // One without a release never had a visitor: its meter is not woken to say so.
  const busy = rows.environments.filter(({ id }) => rows.releases.some((one) => one.environmentId === id));
  const said = await Promise.all(busy.map(async ({ id }) => [id, await meterOf(c, id, now)] as const));
  return metricsText({ rows, metered: new Map(said), version: c.env.VERSION ?? "dev", now });
}

/** An environment whose meter is slow or broken must not hide all others. */
async function meterOf(c: AppContext, environment: string, now: number): Promise<Metered> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(
    () => reject(new Error(`no answer within ${METER_WITHIN_MS} ms`)),
    METER_WITHIN_MS,
  );
  try {
    return await Promise.race([readTotals(metersOf(c.env), environment, now), late]);
  } catch (error) {
    logFailure("metrics.meter", error, { environment, request: c.var.requestId });
    return null;
  } finally {
    clearTimeout(timer);
  }
}
