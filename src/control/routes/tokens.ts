import { createRoute, z } from "@hono/zod-openapi";
import { pageOf } from "../../protocol/api/scalars.ts";
import { createdTokenSchema, createTokenSchema, tokenSchema } from "../../protocol/api/tokens.ts";
import { authorize } from "../http/auth.ts";
import { inBackground } from "../http/context.ts";
import { ProblemError } from "../http/problems.ts";
import { body, decodeCursor, json, newRouter, pageQuery, toPage } from "../http/route-parts.ts";
import { everything } from "../identity/roles.ts";
import { newId, newSecret, sha256 } from "../ids.ts";
import { objectIn } from "../objects.ts";
import { runBatch } from "../store/db.ts";
import { insertEvent } from "../store/events.ts";
import { insertToken, listTokens, readToken, revokeToken, type TokenRow } from "../store/tokens.ts";
import { tokenView } from "../views/rows.ts";

const DAY_MS = 86_400_000;

const list = createRoute({
  method: "get",
  path: "/api/v1/tokens",
  summary: "All tokens, never their secrets",
  tags: ["tokens"],
  request: { query: pageQuery(100, 50) },
  responses: { 200: json(pageOf(tokenSchema), "A page, newest first") },
});

const create = createRoute({
  method: "post",
  path: "/api/v1/tokens",
  summary: "Make a token",
  tags: ["tokens"],
  request: {
    headers: z.object({ "idempotency-key": z.string().optional() }),
    body: body(createTokenSchema),
  },
  responses: { 201: json(createdTokenSchema, "The token, shown this once") },
});

const revoke = createRoute({
  method: "delete",
  path: "/api/v1/tokens/{id}",
  summary: "End a token",
  description: "It stops working with its next request. Revoking it again changes nothing.",
  tags: ["tokens"],
  request: { params: z.object({ id: z.string().max(64) }) },
  responses: { 200: json(tokenSchema, "The token, revoked") },
});

/** Tokens: who may do what. */
export const tokenRoutes = () =>
  newRouter()
    .openapi(list, async (c) => {
      authorize(c, everything("admin"));
      const { limit, cursor } = c.req.valid("query");
      const rows = await listTokens(c.var.db, {
        before: decodeCursor(cursor, /^tok_[0-9a-z]+$/),
        limit: limit + 1,
      });
      return c.json(toPage(rows, limit, { item: tokenView, cursor: ({ id }) => id }), 200);
    })
    .openapi(create, async (c) => {
      const { actor, identities, madeBy } = authorize(c, everything("admin"));
      const makers = [...new Set([...identities, ...madeBy])];
      const { row, token } = await newToken(c.req.valid("json"), makers, c.var.now());
      const view = tokenView(row);
      await runBatch(c.var.db, [
        insertToken(c.var.db, row),
        insertEvent(c.var.db, {
          at: row.createdAt,
          type: "token.created",
          actor,
          app: row.app,
          environment: row.environment,
          message: `token ${row.name} created with the role ${row.role}`,
          data: { after: view },
        }),
      ]);
      return c.json({ ...view, token }, 201);
    })
    .openapi(revoke, async (c) => {
      const { actor } = authorize(c, everything("admin"));
      const { id } = c.req.valid("param");
      const row = await readToken(c.var.db, id);
      if (!row) throw new ProblemError({ code: "not_found", detail: `there is no token \`${id}\`` });
      if (row.revokedAt !== null) return c.json(tokenView(row), 200);
      const now = c.var.now();
      await runBatch(c.var.db, [
        revokeToken(c.var.db, id, now),
        insertEvent(c.var.db, {
          at: now,
          type: "token.revoked",
          actor,
          app: row.app,
          environment: row.environment,
          message: `token ${row.name} revoked`,
          data: { before: tokenView(row) },
        }),
      ]);
      if (row.hostId !== null)
        inBackground(
          c,
          "host.shut",
          objectIn(c.env.HOST_LINK, row.hostId, c.env).shut("its token was revoked"),
        );
      return c.json(tokenView({ ...row, revokedAt: now }), 200);
    });

async function newToken(
  asked: z.output<typeof createTokenSchema>,
  madeBy: readonly string[],
  now: number,
): Promise<{ row: TokenRow; token: string }> {
  const { name, role, app = null, environment = null, action, expiresInDays, person } = asked;
  const token = newSecret("slu");
  const row = {
    id: newId("tok", now),
    name,
    hash: await sha256(token),
    role,
    app,
    environment,
    hostId: null,
    createdAt: now,
    expiresAt: now + expiresInDays * DAY_MS,
    revokedAt: null,
    lastUsedAt: null,
    replaces: null,
    trustId: null,
    action: action === "any" ? null : action,
    pull: null,
    identities: person === undefined ? null : [`person:${person}`],
    madeBy,
  };
  return { row, token };
}
