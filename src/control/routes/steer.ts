import { createRoute } from "@hono/zod-openapi";
import type { Steer } from "../../domain/commands/steer.ts";
import type { Result } from "../../domain/result.ts";
import { pauseSchema, promoteSchema, resumeSchema } from "../../protocol/api/moves.ts";
import { releaseSchema } from "../../protocol/api/releases.ts";
import { pageOf } from "../../protocol/api/scalars.ts";
import { replayQuerySchema, replaySchema, verdictSchema } from "../../protocol/api/verdicts.ts";
import type { CoordinatorPort } from "../environment/coordinator-port.ts";
import { authorize } from "../http/auth.ts";
import { type AppContext, coordinatorOf, orRefuse } from "../http/context.ts";
import { releaseStatusView, requireRelease } from "../http/require.ts";
import {
  body,
  decodeCursor,
  json,
  newRouter,
  pageQuery,
  releaseParams,
  toPage,
} from "../http/route-parts.ts";
import type { Refusal } from "../refusal.ts";
import { listKeptWindows, listVerdicts } from "../store/verdicts.ts";
import { failedRequestView, verdictView } from "../views/release.ts";
import { replayView } from "../views/replay.ts";

const moved = { 200: json(releaseSchema, "The release as it is now") };
const stale =
  "Name the step you saw (0-based): if the release has moved on it is refused (409 `stale_step`), so a double click skips nothing.";

const promote = createRoute({
  method: "post",
  path: "/api/v1/releases/{id}/promote",
  summary: "End the current step, or all of them",
  description: `Ends a pause, a bake or a hold; with \`full\` the release takes all traffic at once. ${stale}`,
  tags: ["releases"],
  request: { params: releaseParams, body: body(promoteSchema) },
  responses: moved,
});

const pause = createRoute({
  method: "post",
  path: "/api/v1/releases/{id}/pause",
  summary: "Hold a release where it is",
  description: `Until it is resumed, promoted or aborted. ${stale}`,
  tags: ["releases"],
  request: { params: releaseParams, body: body(pauseSchema) },
  responses: moved,
});

const resume = createRoute({
  method: "post",
  path: "/api/v1/releases/{id}/resume",
  summary: "Let a paused release go on",
  description: `It goes on with the step it was in. ${stale}`,
  tags: ["releases"],
  request: { params: releaseParams, body: body(resumeSchema) },
  responses: moved,
});

const verdicts = createRoute({
  method: "get",
  path: "/api/v1/releases/{id}/verdicts",
  summary: "A canary's judgements",
  description: "Each with every number it was reached from.",
  tags: ["releases"],
  request: { params: releaseParams, query: pageQuery(100, 20) },
  responses: { 200: json(pageOf(verdictSchema), "A page, newest first") },
});

const replays = createRoute({
  method: "get",
  path: "/api/v1/releases/{id}/replay",
  summary: "A canary judged again, by today's settings",
  description:
    "Judges the counts that were kept with its verdicts by the environment's limits of today, or by others. Nothing is done.",
  tags: ["releases"],
  request: { params: releaseParams, query: replayQuerySchema },
  responses: { 200: json(replaySchema, "How it would have come out") },
});
/** Three hours. */
const MOST_REPLAYED = 1_080;

type Order = (port: CoordinatorPort, steer: Steer) => Promise<Result<null, Refusal>>;

/** A person at the wheel of a release on its way. */
async function steer(c: AppContext, id: string, step: number | undefined, order: Order) {
  const { app, environment } = await requireRelease(c, id);
  const { actor } = authorize(c, { role: "approver", app, environment: environment.name, action: "deploy" });
  orRefuse(await order(coordinatorOf(c.env, environment.id), { release: id, actor, step: step ?? null }));
  return releaseStatusView(c, await requireRelease(c, id));
}

export const steerRoutes = () =>
  newRouter()
    .openapi(promote, async (c) => {
      const { step, full } = c.req.valid("json");
      const { id } = c.req.valid("param");
      return c.json(await steer(c, id, step, (port, input) => port.promote({ ...input, full })), 200);
    })
    .openapi(pause, async (c) => {
      const { step } = c.req.valid("json");
      return c.json(await steer(c, c.req.valid("param").id, step, (port, input) => port.pause(input)), 200);
    })
    .openapi(resume, async (c) => {
      const { step } = c.req.valid("json");
      return c.json(await steer(c, c.req.valid("param").id, step, (port, input) => port.resume(input)), 200);
    })
    .openapi(replays, async (c) => {
      const { id } = c.req.valid("param");
      const { app, environment, release } = await requireRelease(c, id);
      authorize(c, { role: "viewer", app, environment: environment.name });
      const { errorRateMax, p95MaxMs } = c.req.valid("query");
      const other = {
        ...(errorRateMax === undefined ? {} : { errorRateMax }),
        ...(p95MaxMs === undefined ? {} : { p95MaxMs }),
      };
      const [kept, [last]] = await Promise.all([
        listKeptWindows(c.var.db, id, MOST_REPLAYED),
        listVerdicts(c.var.db, { release: id, before: null, limit: 1 }),
      ]);
      return c.json(replayView({ release, kept, last, spec: environment.spec, other }), 200);
    })
    .openapi(verdicts, async (c) => {
      const { id } = c.req.valid("param");
      const { app, environment, release } = await requireRelease(c, id);
      authorize(c, { role: "viewer", app, environment: environment.name });
      const { limit, cursor } = c.req.valid("query");
      const after = decodeCursor(cursor, /^\d{1,15}$/);
      const before = after === null ? null : Number(after);
      const rows = await listVerdicts(c.var.db, { release: id, before, limit: limit + 1 });
      const item = verdictView(failedRequestView(release.failedRequest, c.var.now()));
      const page = toPage(rows, limit, { item, cursor: ({ window }) => String(window) });
      return c.json(page, 200);
    });
