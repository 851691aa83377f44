import { createRoute, z } from "@hono/zod-openapi";
import { applyAnswerSchema, appSchema } from "../../protocol/api/apps.ts";
import { environmentSchema } from "../../protocol/api/environments.ts";
import { pageOf } from "../../protocol/api/scalars.ts";
import { applyManifest } from "../apps/apply.ts";
import { reservedNames } from "../apps/grants.ts";
import { tendHostnamesSoon } from "../cloudflare/tend-hostnames.ts";
import { authorize } from "../http/auth.ts";
import { type AppContext, coordinatorOf, inBackground } from "../http/context.ts";
import { ProblemError } from "../http/problems.ts";
import { etagOf, requireEnvironment, statusView } from "../http/require.ts";
import {
  appParams,
  decodeCursor,
  dryRunQuery,
  environmentParams,
  json,
  newRouter,
  pageQuery,
  toPage,
} from "../http/route-parts.ts";
import { everything, reaches } from "../identity/roles.ts";
import { iso } from "../iso.ts";
import { logFailure } from "../log.ts";
import { type EnvironmentStatus, listApps, readApp, readEnvironments } from "../store/status.ts";

const apply = createRoute({
  method: "put",
  path: "/api/v1/apps/{app}",
  summary: "Apply a manifest",
  description:
    "Idempotent. Releases nothing. Answers what changed, or with `dryRun=1` what would. Hostnames must have been granted to the app; an administrator's apply grants those it names.",
  tags: ["apps"],
  request: {
    params: appParams,
    query: dryRunQuery.extend({
      claim: z
        .enum(["0", "1"])
        .optional()
        .describe("1: also hostnames that lead to another site by now (admin)"),
    }),
    body: {
      required: true,
      description: "`sluice.yaml`, or the same as JSON",
      content: { "application/yaml": { schema: z.string() } },
    },
  },
  responses: { 200: json(applyAnswerSchema, "What changed, per key") },
});

const list = createRoute({
  method: "get",
  path: "/api/v1/apps",
  summary: "All apps with their environments",
  tags: ["apps"],
  request: { query: pageQuery(50, 20) },
  responses: { 200: json(pageOf(appSchema), "A page, by name") },
});

const show = createRoute({
  method: "get",
  path: "/api/v1/apps/{app}",
  summary: "One app with its environments",
  tags: ["apps"],
  request: { params: appParams },
  responses: { 200: json(appSchema, "The app") },
});

const showEnvironment = createRoute({
  method: "get",
  path: "/api/v1/apps/{app}/envs/{env}",
  summary: "An environment's status",
  description: "The `ETag` names the state that moves depend on (not its counters): send it as `If-Match`.",
  tags: ["apps"],
  request: { params: environmentParams },
  responses: {
    200: json(environmentSchema, "What serves, what is on its way, and what a rollback would do"),
  },
});

/** Apps: what a manifest declares, and what has become of it. */
export const appRoutes = () =>
  newRouter()
    .openapi(apply, async (c) => {
      const { app } = c.req.valid("param");
      const principal = authorize(c, { role: "deployer", app, environment: null, action: "deploy" });
      const { dryRun, claim } = c.req.valid("query");
      const input = {
        app,
        text: decode(await c.req.arrayBuffer()),
        dryRun: dryRun === "1",
        leave: {
          grants: reaches(principal, everything("admin")),
          claim: claim === "1",
          reserved: reservedNames(c.env, c.req.url),
        },
        actor: principal.actor,
        now: c.var.now(),
      };
      const applied = await applyManifest(c.var.db, input);
      if (!applied.ok) throw new ProblemError(applied.error);
      await poke(c, applied.value.changed);
      const { changed, answer } = applied.value;
      if (changed.length + answer.granted.length > 0 && !answer.dryRun)
        inBackground(c, "hostnames.not_tended", tendHostnamesSoon(c.env));
      return c.json(answer, 200);
    })
    .openapi(list, async (c) => {
      const { limit, cursor } = c.req.valid("query");
      const { app, environment } = c.var.principal;
      authorize(c, { role: "viewer", app, environment });
      return c.json(await listed(c, { limit, after: decodeCursor(cursor, /^[a-z0-9-]+$/) }), 200);
    })
    .openapi(show, async (c) => {
      const { app } = c.req.valid("param");
      const { environment } = c.var.principal;
      authorize(c, { role: "viewer", app, environment });
      const row = await readApp(c.var.db, app);
      if (!row) throw new ProblemError(noApp(app));
      const statuses = await readEnvironments(c.var.db, { apps: [row.id], environment });
      const environments = await Promise.all(statuses.map((status) => statusView(c, status)));
      return c.json({ app: row.name, createdAt: iso(row.createdAt), environments }, 200);
    })
    .openapi(showEnvironment, async (c) => {
      const { app, env } = c.req.valid("param");
      authorize(c, { role: "viewer", app, environment: env });
      const status = await requireEnvironment(c, app, env);
      c.header("etag", etagOf(status));
      return c.json(await statusView(c, status), 200);
    });

/** A page of what the asker may see. */
async function listed(c: AppContext, { limit, after }: { limit: number; after: string | null }) {
  const { principal } = c.var;
  const rows = await listApps(c.var.db, { after, limit: limit + 1, only: principal.app });
  const ids = rows.slice(0, limit).map((row) => row.id);
  const statuses = await readEnvironments(c.var.db, { apps: ids, environment: principal.environment });
  const fits = fitting(ids, statuses);
  const shown = statuses.filter(({ environment }) => ids.indexOf(environment.appId) < fits);
  const views = await Promise.all(shown.map((status) => statusView(c, status)));
  const item = (row: (typeof rows)[number]) => ({
    app: row.name,
    createdAt: iso(row.createdAt),
    environments: views.filter((view) => view.app === row.name),
  });
  return toPage(rows, fits, { item, cursor: (row) => row.name });
}

/** Each environment's coordinator is asked, and asks its meter's four: a page has no more, unless one app alone has. */
const MOST_ENVIRONMENTS = 200;

/** How many of these apps, in their order, go on one page. */
function fitting(ids: readonly string[], statuses: readonly EnvironmentStatus[]): number {
  const counts = Map.groupBy(statuses, ({ environment }) => environment.appId);
  let sum = 0;
  const over = ids.findIndex((id, index) => {
    sum += counts.get(id)?.length ?? 0;
    return index > 0 && sum > MOST_ENVIRONMENTS;
  });
  return over === -1 ? ids.length : over;
}

/** By hand, because the runtime warns of text in a type that doesn't say `text`. */
function decode(bytes: ArrayBuffer): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: false }).decode(bytes);
  } catch {
    // The decoder says no more than that.
    throw new ProblemError({
      code: "manifest_invalid",
      detail: "the manifest is not UTF-8 text: save it as UTF-8",
    });
  }
}

const noApp = (app: string) => ({
  code: "not_found" as const,
  detail: `there is no app \`${app}\``,
  next: [{ command: "sluice apply", when: "its manifest was never applied" }],
});

/** The coordinators publish what was applied. One that can't now does at its next tick, and the log says so. */
async function poke(c: AppContext, environments: readonly string[]): Promise<void> {
  const done = await Promise.allSettled(environments.map((id) => coordinatorOf(c.env, id).poke()));
  done.forEach((result, index) => {
    if (result.status === "rejected")
      logFailure("apply.poke_failed", result.reason, { environment: environments[index] });
  });
}
