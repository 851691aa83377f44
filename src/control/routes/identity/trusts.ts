import { createRoute, z } from "@hono/zod-openapi";
import { defineTrust } from "../../../domain/trust/define.ts";
import { pageOf } from "../../../protocol/api/scalars.ts";
import {
  createTrustSchema,
  exchangedSchema,
  exchangeSchema,
  explainedSchema,
  explainSchema,
  renewedSchema,
  type TrustView,
  trustSchema,
} from "../../../protocol/api/trusts.ts";
import { authorize } from "../../http/auth.ts";
import { type AppContext, orRefuse } from "../../http/context.ts";
import { ProblemError } from "../../http/problems.ts";
import { body, json, newRouter } from "../../http/route-parts.ts";
import { exchange, explain, MOST_TOKEN_MS, TOKEN_MS } from "../../identity/exchange.ts";
import { isLocalControl, issuerProblem } from "../../identity/issuer.ts";
import type { Keys } from "../../identity/keys.ts";
import { everything } from "../../identity/roles.ts";
import type { Check } from "../../identity/verify.ts";
import { newId } from "../../ids.ts";
import { iso } from "../../iso.ts";
import { openDb, runBatch } from "../../store/db.ts";
import { insertEvent } from "../../store/events.ts";
import {
  countTrusts,
  insertTrust,
  listTrusts,
  MOST_TRUSTS,
  readTrust,
  removeTrust,
  type TrustRow,
} from "../../store/identity/trusts.ts";
import { prolongToken, readToken } from "../../store/tokens.ts";

const tags = ["trusts"];

const trade = createRoute({
  method: "post",
  path: "/api/v1/oidc/exchange",
  summary: "Trade a CI system's token for one of control's",
  description:
    "The token must be made for this control plane (`aud` is its address), fit a trust, and not have been traded before. What it is traded for lives 15 minutes; a job that goes on prolongs it.",
  tags,
  security: [],
  request: { body: body(exchangeSchema) },
  responses: { 201: json(exchangedSchema, "The token, shown this once") },
});

const renew = createRoute({
  method: "post",
  path: "/api/v1/oidc/renew",
  summary: "Prolong a token that a CI system's was traded for",
  description: "By 15 minutes from now, up to 6 hours in all, for as long as its trust is there.",
  tags,
  responses: { 200: json(renewedSchema, "Until when it counts") },
});

const explainToken = createRoute({
  method: "post",
  path: "/api/v1/oidc/explain",
  summary: "Say where a CI system's token differs from each trust",
  description: "Gives nothing, and does not use the token up.",
  tags,
  request: { body: body(explainSchema) },
  responses: { 200: json(explainedSchema, "What is wrong with it, and the claims that differ") },
});

const list = createRoute({
  method: "get",
  path: "/api/v1/trusts",
  summary: "Whose CI jobs get a token without a secret",
  tags,
  responses: { 200: json(z.object({ items: pageOf(trustSchema).shape.items }), "All of them, newest first") },
});

const create = createRoute({
  method: "post",
  path: "/api/v1/trusts",
  summary: "Trust the jobs of a CI project",
  tags,
  request: {
    headers: z.object({ "idempotency-key": z.string().optional() }),
    body: body(createTrustSchema),
  },
  responses: { 201: json(trustSchema, "The trust, with every claim that it wants") },
});

const remove = createRoute({
  method: "delete",
  path: "/api/v1/trusts/{id}",
  summary: "Trust a CI project no longer",
  description: "The tokens that it gave stop working with their next request.",
  tags,
  request: { params: z.object({ id: z.string().max(64) }) },
  responses: { 204: { description: "It is not there (any more)" } },
});

const checkOf = (c: AppContext, keys: Keys): Check => ({
  audience: new URL(c.req.url).origin,
  now: c.var.now(),
  isLocal: isLocalControl(c.req.url),
  keys,
});

/** Where a CI job comes in, with what its own system says of it. */
export const exchangeRoutes = (keys: Keys) =>
  newRouter().openapi(trade, async (c) => {
    const { token, app = null, environment = null } = c.req.valid("json");
    const input = { token: token.trim(), wanted: { app, environment } };
    const { trust, ...given } = orRefuse(await exchange(openDb(c.env.DB), input, checkOf(c, keys)));
    const { role, action } = trustView(trust);
    const place = { app: trust.app, environment: trust.environment };
    const answer = { ...given, expiresAt: iso(given.expiresAt), role, action, ...place, trust: trust.id };
    return c.json(answer, 201);
  });

/** Trusts: whose CI jobs may do what, without a stored secret. */
export const trustRoutes = (keys: Keys) =>
  newRouter()
    .openapi(renew, async (c) => {
      const { app, environment, id, actor, action } = c.var.principal;
      // Whatever it is for, it may be that for longer.
      authorize(c, { role: "viewer", app, environment, ...(action ? { action } : {}) });
      const row = await readToken(c.var.db, id);
      const now = c.var.now();
      if (!row || row.trustId === null || row.expiresAt === null) {
        const detail = `${actor} was traded for no CI system's token: it ends when it ends`;
        throw new ProblemError({ code: "conflict", detail });
      }
      const expiresAt = Math.max(row.expiresAt, Math.min(now + TOKEN_MS, row.createdAt + MOST_TOKEN_MS));
      await prolongToken(c.var.db, id, expiresAt);
      return c.json({ expiresAt: iso(expiresAt) }, 200);
    })
    .openapi(explainToken, async (c) => {
      authorize(c, everything("admin"));
      return c.json(await explain(c.var.db, c.req.valid("json").token.trim(), checkOf(c, keys)), 200);
    })
    .openapi(list, async (c) => {
      authorize(c, everything("admin"));
      return c.json({ items: (await listTrusts(c.var.db)).map(trustView) }, 200);
    })
    .openapi(create, async (c) => {
      const { actor } = authorize(c, everything("admin"));
      const row = await newTrust(c, c.req.valid("json"), actor);
      const view = trustView(row);
      await runBatch(c.var.db, [
        insertTrust(c.var.db, row),
        insertEvent(c.var.db, {
          ...eventOf(row, actor),
          at: row.createdAt,
          type: "trust.added",
          message: `${row.project} on ${row.provider} is trusted`,
          data: { after: view },
        }),
      ]);
      return c.json(view, 201);
    })
    .openapi(remove, async (c) => {
      const { actor } = authorize(c, everything("admin"));
      const row = await readTrust(c.var.db, c.req.valid("param").id);
      if (!row) return c.body(null, 204);
      const now = c.var.now();
      await runBatch(c.var.db, [
        ...removeTrust(c.var.db, row.id, now),
        insertEvent(c.var.db, {
          ...eventOf(row, actor),
          at: now,
          type: "trust.removed",
          message: `${row.project} on ${row.provider} is not trusted any more`,
          data: { before: trustView(row) },
        }),
      ]);
      return c.body(null, 204);
    });

const eventOf = ({ app, environment }: TrustRow, actor: string) => ({ actor, app, environment });

async function newTrust(
  c: AppContext,
  asked: z.output<typeof createTrustSchema>,
  by: string,
): Promise<TrustRow> {
  const { app, environment = null, role, action, issuer = null, ...rest } = asked;
  const defined = defineTrust({ ...rest, issuer, action });
  const problem = defined.ok ? issuerProblem(defined.value.issuer, isLocalControl(c.req.url)) : defined.error;
  if (!defined.ok || problem !== undefined)
    throw new ProblemError({ code: "invalid_request", detail: problem ?? "the trust is not whole" });
  if ((await countTrusts(c.var.db)) >= MOST_TRUSTS)
    throw new ProblemError({
      code: "conflict",
      detail: `there are ${MOST_TRUSTS} trusts: remove those of the past first`,
    });
  const now = c.var.now();
  const place = { app, environment, role, action: action === "any" ? null : action };
  return { id: newId("tru", now), ...defined.value, ...place, createdAt: now, createdBy: by };
}

const trustView = (row: TrustRow): TrustView => ({
  ...row,
  pins: Object.fromEntries(Object.entries(row.pins).map(([claim, values]) => [claim, [...values]])),
  refs: [...row.refs],
  pinOnFirstUse: [...row.pinOnFirstUse],
  action: row.action ?? "any",
  createdAt: iso(row.createdAt),
});
