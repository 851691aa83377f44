import type { OpenAPIHono } from "@hono/zod-openapi";
import type { MiddlewareHandler } from "hono";
import { methodNotAllowed } from "hono/method-not-allowed";
import { manifestJsonSchema } from "../protocol/manifest/json-schema.ts";
import { authenticatePeople } from "./http/auth.ts";
import type { AppContext, AppEnv } from "./http/context.ts";
import { docsPage } from "./http/docs-page.ts";
import { idempotent } from "./http/idempotency.ts";
import { type OpenApiDocument, openApiDocument } from "./http/openapi.ts";
import { statusOf, toRefusal, toResponse } from "./http/problems.ts";
import { rateLimit, Strangers } from "./http/rate-limit.ts";
import { newRouter } from "./http/route-parts.ts";
import { httpsOnly } from "./http/secure.ts";
import { wholeBody } from "./http/whole-body.ts";
import { type AskOptions, Keys } from "./identity/keys.ts";
import { newId } from "./ids.ts";
import { logFailure } from "./log.ts";
import { assetRoutes, pageRoutes } from "./pages/mount.tsx";
import { problemPage, wantsPage } from "./pages/problem.tsx";
import type { Refusal } from "./refusal.ts";
import { accessoryRoutes } from "./routes/accessories.ts";
import { agentRoutes } from "./routes/agent.ts";
import { agentJobRoutes } from "./routes/agent-jobs.ts";
import { approvalRoutes } from "./routes/approvals.ts";
import { appRoutes } from "./routes/apps.ts";
import { auditRoutes } from "./routes/audit.ts";
import { docsRoutes } from "./routes/docs/docs.ts";
import { doctorRoutes } from "./routes/doctor.ts";
import { doctorQuestionRoutes } from "./routes/doctor-questions.ts";
import { endingRoutes } from "./routes/endings.ts";
import { environmentModeRoutes } from "./routes/environment-modes.ts";
import { feedRoutes } from "./routes/feed.ts";
import { doraRoutes } from "./routes/figures/dora.ts";
import { metricsRoutes } from "./routes/figures/metrics.ts";
import { healthRoutes } from "./routes/health.ts";
import { drainRoutes } from "./routes/host-drain.ts";
import { hostnameRoutes } from "./routes/hostnames.ts";
import { hostRoutes } from "./routes/hosts.ts";
import { peopleRoutes } from "./routes/identity/people.ts";
import { sessionRoutes } from "./routes/identity/sessions.ts";
import { exchangeRoutes, trustRoutes } from "./routes/identity/trusts.ts";
import { agentImageRoutes } from "./routes/images/agent-images.ts";
import { imageRoutes } from "./routes/images/images.ts";
import { installRoutes } from "./routes/install.ts";
import { logRoutes } from "./routes/logs.ts";
import { previewPassRoutes } from "./routes/previews/pass.ts";
import { pullPreviewRoutes } from "./routes/previews/pulls.ts";
import { registryRoutes } from "./routes/registries.ts";
import { releaseRoutes } from "./routes/releases.ts";
import { runRoutes } from "./routes/runs.ts";
import { secretRoutes } from "./routes/secrets.ts";
import { steerRoutes } from "./routes/steer.ts";
import { tokenRoutes } from "./routes/tokens.ts";
import { trafficRoutes } from "./routes/traffic.ts";
import { deliveryRoutes } from "./routes/webhooks/deliveries.ts";
import { slackActionRoutes } from "./routes/webhooks/slack-actions.ts";
import { webhookRoutes } from "./routes/webhooks/targets.ts";
import type { FeedTimes } from "./streams/feed.ts";
import type { LogTimes } from "./streams/log-order.ts";
import { Readers } from "./streams/readers.ts";

/** A megabyte over a bad line. */
const BODY_WITHIN_MS = 20_000;
/** Eight streams of a host, each with a chunk in 100 ms. */
const LOG_CHUNKS_PER_MINUTE = 4_800;
const REQUESTS_PER_MINUTE = { people: 600, agents: 1_200 };

export interface AppOptions {
  /** Epoch ms. */
  readonly now?: () => number;
  readonly feed?: FeedTimes;
  readonly logs?: LogTimes;
  /** For a reader that takes nothing. */
  readonly readerPatienceMs?: number;
  /** For a body that does not come. */
  readonly senderPatienceMs?: number;
  /** How the keys of CI systems are read. */
  readonly issuers?: AskOptions;
  readonly perMinute?: { readonly people: number; readonly agents: number };
}

/** Control's HTTP surface: every request through the same doors, every error out of the same one. */
export function createApp(options: AppOptions = {}): OpenAPIHono<AppEnv> {
  const { now = Date.now, perMinute = REQUESTS_PER_MINUTE } = options;
  const app = newRouter();
  app.onError(async (error, c) => {
    const refusal = toRefusal(error);
    if (statusOf(refusal.code) >= 500) {
      const { requestId: request } = c.var;
      logFailure("request.failed", error, { request, method: c.req.method, path: c.req.path });
    }
    const answer = wantsPage(c) ? await problemPage(c, refusal) : toResponse(refusal, c.var.requestId);
    return secured(answer);
  });
  app.notFound(async (c) => {
    const refusal = nowhere(c.req.path);
    return secured(wantsPage(c) ? await problemPage(c, refusal) : toResponse(refusal, c.var.requestId));
  });
  app.use(opening(now), wholeBody(options.senderPatienceMs ?? BODY_WITHIN_MS));
  app.use(methodNotAllowed<AppEnv>({ app, onMethodNotAllowed }));
  app.route("/", healthRoutes());
  app.use(httpsOnly);
  app.route("/", installRoutes());
  app.route("/", docsRoutes());
  let description: OpenApiDocument | undefined;
  const described = () => (description ??= openApiDocument(app));
  app.get("/api/openapi.json", (c) => c.json(described()));
  app.get("/api/manifest.schema.json", (c) => c.json(manifestJsonSchema()));
  app.get("/api/docs", (c) => c.html(docsPage(described())));
  const keys = new Keys(options.issuers);
  const strangers = new Strangers();
  const people = rateLimit(perMinute.people, strangers);
  // What the token of a CI system is shown to: it is no token of control's yet.
  app.use("/api/v1/oidc/exchange", people);
  app.route("/", exchangeRoutes(keys));
  app.use("/api/v1/*", people, authenticatePeople(keys), idempotent);
  app.use("/metrics", people, authenticatePeople(keys));
  app.on("POST", ["/login", "/logout"], people);
  app.use("/slack/*", people);
  for (const pages of ["/", "/ui/*"]) app.use(pages, people, authenticatePeople(keys));
  const agents = rateLimit(perMinute.agents, strangers);
  const logChunks = rateLimit(LOG_CHUNKS_PER_MINUTE, strangers);
  // Lines in plenty must not keep a host from its polls: they have a bucket of their own.
  app.use("/agent/v1/*", (c, next) =>
    (c.req.path.startsWith("/agent/v1/logs/") ? logChunks : agents)(c, next),
  );
  app.route("/", trustRoutes(keys));
  for (const router of resources(options)) app.route("/", router);
  app.route("/", assetRoutes());
  app.route(
    "/",
    pageRoutes((c, request) => app.fetch(request, c.env, c.executionCtx)),
  );
  return app;
}

function onMethodNotAllowed(c: AppContext, taken: string[]): Response {
  const allow = [...taken, "OPTIONS"].toSorted().join(", ");
  if (c.req.method !== "OPTIONS")
    return toResponse(wrongMethod(c.req.method, c.req.path, { taken, allow }), c.var.requestId);
  // No word of origins: to a page of elsewhere control answers nothing, whatever it asks first.
  c.res.headers.delete("content-type");
  return c.body(null, 204, { allow });
}

/** A router per resource, behind the doors. */
function resources(options: AppOptions) {
  const readers = new Readers(options.readerPatienceMs);
  const releases = [
    releaseRoutes(),
    steerRoutes(),
    approvalRoutes(),
    previewPassRoutes(),
    feedRoutes(readers, options.feed),
  ];
  const environments = [
    appRoutes(),
    endingRoutes(),
    accessoryRoutes(),
    runRoutes(),
    trafficRoutes(),
    environmentModeRoutes(),
    secretRoutes(),
    registryRoutes(),
    imageRoutes(),
    hostnameRoutes(),
    pullPreviewRoutes(),
  ];
  const others = [
    hostRoutes(),
    drainRoutes(),
    tokenRoutes(),
    webhookRoutes(),
    deliveryRoutes(),
    slackActionRoutes(),
    sessionRoutes(),
    peopleRoutes(),
    auditRoutes(),
    metricsRoutes(),
    doraRoutes(),
    doctorRoutes(),
    doctorQuestionRoutes(),
    agentRoutes(),
    agentJobRoutes(),
    agentImageRoutes(),
    logRoutes(readers, options.logs),
  ];
  return [...environments, ...releases, ...others];
}

/** Gives the request its id and clock, and its answer the headers that every answer has. */
const opening =
  (now: () => number): MiddlewareHandler<AppEnv> =>
  async (c, next) => {
    const given = c.req.header("x-request-id");
    c.set("requestId", given && /^[\w.-]{8,64}$/.test(given) ? given : newId("req", now()));
    c.set("now", now);
    await next();
    // An upgraded socket's answer is the Durable Object's own, and can't be changed.
    if (c.res.status === 101) return;
    c.res.headers.set("x-request-id", c.var.requestId);
    c.res = secured(c.res);
  };

const SECURITY = {
  "x-content-type-options": "nosniff",
  "x-frame-options": "DENY",
  "referrer-policy": "no-referrer",
  "content-security-policy":
    "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'",
  "strict-transport-security": "max-age=31536000",
};

function secured(response: Response): Response {
  for (const [name, value] of Object.entries(SECURITY))
    if (!response.headers.has(name)) response.headers.set(name, value);
  if (!response.headers.has("cache-control")) response.headers.set("cache-control", "no-store");
  return response;
}

const nowhere = (path: string): Refusal => ({
  code: "not_found",
  detail: `there is nothing at ${path}: /api/docs lists what there is`,
});

const wrongMethod = (
  method: string,
  path: string,
  { taken, allow }: { taken: string[]; allow: string },
): Refusal => ({
  code: "method_not_allowed",
  detail: `${path} does not take ${method}: use ${taken.toSorted().join(" or ")}`,
  headers: { allow },
});
