import { createRoute } from "@hono/zod-openapi";
import { z } from "zod";
import { traceContextOf } from "../../domain/tracing/context.ts";
import { abortSchema } from "../../protocol/api/moves.ts";
import { planSchema } from "../../protocol/api/plans.ts";
import { createReleaseSchema, releaseSchema } from "../../protocol/api/releases.ts";
import { pageOf } from "../../protocol/api/scalars.ts";
import { authorize } from "../http/auth.ts";
import { type AppContext, coordinatorOf, orRefuse } from "../http/context.ts";
import { parseKey } from "../http/idempotency.ts";
import { ProblemError } from "../http/problems.ts";
import { releaseStatusView, requireEnvironment, requireRelease } from "../http/require.ts";
import {
  body,
  decodeCursor,
  dryRunQuery,
  environmentParams,
  json,
  newRouter,
  pageQuery,
  releaseParams,
  toPage,
} from "../http/route-parts.ts";
import type { Need } from "../identity/roles.ts";
import { imageLack } from "../images/lack.ts";
import { logInfo } from "../log.ts";
import type { Refusal } from "../refusal.ts";
import { secretsLack, wantedBy } from "../secrets/secrets.ts";
import { loadEnvironment } from "../store/environments.ts";
import { type EnvironmentStatus, listReleases } from "../store/status.ts";
import { accessoryViews } from "../views/accessory.ts";
import { planRelease } from "../views/plan.ts";
import { releaseView } from "../views/release.ts";
import { priceFor } from "./move-plan.ts";
import { promotion } from "./releases/promotion.ts";

const create = createRoute({
  method: "post",
  path: "/api/v1/apps/{app}/envs/{env}/releases",
  summary: "Start a release",
  description:
    "Answers at once; follow it by its events. With `dryRun=1` answers the plan and changes nothing.",
  tags: ["releases"],
  request: {
    params: environmentParams,
    query: dryRunQuery,
    headers: z.object({
      traceparent: z
        .string()
        .optional()
        .describe("W3C Trace Context: the trace that the release is to be part of"),
      tracestate: z.string().optional(),
    }),
    body: body(createReleaseSchema),
  },
  responses: {
    200: json(planSchema, "`dryRun=1`: what it would do"),
    202: json(releaseSchema, "The release is queued; `Location` is where it can be watched"),
  },
});

const list = createRoute({
  method: "get",
  path: "/api/v1/apps/{app}/envs/{env}/releases",
  summary: "An environment's releases",
  tags: ["releases"],
  request: { params: environmentParams, query: pageQuery(100, 20) },
  responses: { 200: json(pageOf(releaseSchema), "A page, newest first") },
});

const show = createRoute({
  method: "get",
  path: "/api/v1/releases/{id}",
  summary: "One release",
  tags: ["releases"],
  request: { params: releaseParams },
  responses: { 200: json(releaseSchema, "State, step, timings, and what failed with which value") },
});

const abort = createRoute({
  method: "post",
  path: "/api/v1/releases/{id}/abort",
  summary: "End a release that is on its way",
  description: "The release before it has the traffic afterwards.",
  tags: ["releases"],
  request: { params: releaseParams, body: body(abortSchema) },
  responses: { 202: json(releaseSchema, "It ends, or has ended") },
});

const deploys = (role: "deployer" | "approver", app: string, environment: string): Need => ({
  role,
  app,
  environment,
  action: "deploy",
});

/** Releases: start, watch, end. */
export const releaseRoutes = () =>
  newRouter()
    .openapi(create, async (c) => {
      const { app, env } = c.req.valid("param");
      const principal = authorize(c, deploys("deployer", app, env));
      const status = await requireEnvironment(c, app, env);
      const { environment } = status;
      const input = c.req.valid("json");
      const promoted = input.from && (await promotion(c, app, input.from));
      const isPlan = c.req.valid("query").dryRun === "1";
      const lack = await lackOf(c, status, { image: promoted?.image ?? input.image ?? null, isPlan });
      if (isPlan) return c.json(await dryRun(c, status, { input, lack }), 200);
      if (lack) throw new ProblemError(lack);
      const key = c.req.header("idempotency-key");
      const made = await coordinatorOf(c.env, environment.id).createRelease({
        ...whatFor(input, promoted),
        whenBusy: input.whenBusy,
        hold: input.hold,
        override: input.override,
        actor: principal.actor,
        startedAs: principal.identities,
        requestKey: key === undefined ? null : `${principal.keyScope}:${parseKey(key)}`,
        trace: traceContextOf(c.req.header("traceparent"), c.req.header("tracestate")),
      });
      const { release, created } = orRefuse(made);
      // Another token's answer can't be read again; that the release is an earlier request's is told all the same.
      if (!created) c.header("idempotency-replayed", "true");
      logInfo("release.requested", { request: c.var.requestId, release, environment: environment.id });
      c.header("location", `/api/v1/releases/${release}`);
      return c.json(await releaseStatusView(c, await requireRelease(c, release)), 202);
    })
    .openapi(list, async (c) => {
      const { app, env } = c.req.valid("param");
      authorize(c, { role: "viewer", app, environment: env });
      const { limit, cursor } = c.req.valid("query");
      const { environment } = await requireEnvironment(c, app, env);
      const before = readReleaseCursor(cursor);
      const rows = await listReleases(c.var.db, { environmentId: environment.id, before, limit: limit + 1 });
      const context = { live: await coordinatorOf(c.env, environment.id).inspect(), now: c.var.now() };
      const page = toPage(rows, limit, {
        item: (row) => releaseView(row, context),
        cursor: ({ release }) => releaseKey(release),
      });
      return c.json(page, 200);
    })
    .openapi(show, async (c) => {
      const status = await requireRelease(c, c.req.valid("param").id);
      authorize(c, { role: "viewer", app: status.app, environment: status.environment.name });
      return c.json(await releaseStatusView(c, status), 200);
    })
    .openapi(abort, async (c) => {
      const { id } = c.req.valid("param");
      const { app, environment } = await requireRelease(c, id);
      const principal = authorize(c, deploys("approver", app, environment.name));
      const reason = c.req.valid("json").reason ?? null;
      orRefuse(
        await coordinatorOf(c.env, environment.id).abort({ release: id, actor: principal.actor, reason }),
      );
      return c.json(await releaseStatusView(c, await requireRelease(c, id)), 202);
    });

/** What the environment or the store of images has not got, and a release would need. */
async function lackOf(
  c: AppContext,
  { app, environment }: EnvironmentStatus,
  asked: { readonly image: string | null; readonly isPlan: boolean },
): Promise<Refusal | undefined> {
  const { appId, spec } = environment;
  const { db } = c.var;
  return (
    (await secretsLack(db, c.env, wantedBy(environment, spec.secrets ?? []))) ??
    (await imageLack(db, { app, appId, manifestImage: spec.image, ...asked, now: c.var.now() }))
  );
}

/** The image and where it comes from: as asked, or what serves elsewhere. */
const whatFor = (
  { image, version, git }: z.output<typeof createReleaseSchema>,
  promoted: Awaited<ReturnType<typeof promotion>> | undefined,
) => ({
  image: promoted?.image ?? image ?? null,
  origin: promoted?.origin ?? null,
  version: version ?? null,
  git: promoted?.git ?? git ?? null,
});

/** Changes nothing. */
async function dryRun(
  c: AppContext,
  { environment, accessories }: EnvironmentStatus,
  { input, lack }: { input: z.output<typeof createReleaseSchema>; lack: Refusal | undefined },
) {
  const loaded = await loadEnvironment(c.var.db, environment.id, { withHosts: true });
  if (!loaded) throw new ProblemError({ code: "not_found", detail: "the environment was just deleted" });
  const { hold, override, whenBusy } = input;
  const asked = { version: input.version ?? null, hold, override, whenBusy };
  const now = c.var.now();
  const views = accessoryViews(loaded.facts.spec, accessories, now);
  const plan = planRelease({ facts: loaded.facts, asked, accessories: views, now });
  return {
    ...plan,
    problems: [...plan.problems, ...planProblems(lack)],
    price: plan.replaces ? await priceFor(c, loaded.facts, { spec: loaded.facts.spec, from: 0 }, now) : null,
  };
}

/** A plan's problem has no commands of its own: they stand in its words. */
const planProblems = (reason: Refusal | undefined) =>
  reason === undefined
    ? []
    : [
        {
          code: reason.code,
          detail: [reason.detail, ...(reason.next ?? []).map(({ command }) => command)].join("; "),
        },
      ];

/** What a page of releases goes on behind, by its `cursor`. */
export function readReleaseCursor(cursor: string | undefined): { createdAt: number; id: string } | null {
  const [createdAt, id] = decodeCursor(cursor, /^\d{1,15} rel_[0-9a-z]+$/)?.split(" ") ?? [];
  return createdAt === undefined || id === undefined ? null : { createdAt: Number(createdAt), id };
}

export const releaseKey = ({ createdAt, id }: { createdAt: number; id: string }): string =>
  `${createdAt} ${id}`;
