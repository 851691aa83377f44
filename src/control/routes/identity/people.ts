import { createRoute, z } from "@hono/zod-openapi";
import {
  accessSchema,
  allowPersonSchema,
  type GrantView,
  grantSchema,
  linkPersonSchema,
  peopleSchema,
} from "../../../protocol/people.ts";
import { authorize } from "../../http/auth.ts";
import type { AppContext } from "../../http/context.ts";
import { ProblemError } from "../../http/problems.ts";
import { body, json, newRouter } from "../../http/route-parts.ts";
import { isLocalControl, issuerProblem } from "../../identity/issuer.ts";
import { everything } from "../../identity/roles.ts";
import { newId } from "../../ids.ts";
import { iso } from "../../iso.ts";
import { runBatch } from "../../store/db.ts";
import { insertEvent } from "../../store/events.ts";
import {
  deleteAccess,
  deleteGrant,
  deleteLink,
  type GrantRow,
  insertGrant,
  listGrants,
  listLinks,
  MOST_GRANTS,
  putAccess,
  putLink,
  readAccess,
  readGrant,
  readLink,
} from "../../store/identity/people.ts";

const tags = ["people"];

const list = createRoute({
  method: "get",
  path: "/api/v1/people",
  summary: "Who may come through Cloudflare Access, and whose accounts are whose",
  tags,
  responses: { 200: json(peopleSchema, "All of it") },
});

const allow = createRoute({
  method: "post",
  path: "/api/v1/people/grants",
  summary: "Give a person, a domain, a group or a service token a role",
  tags,
  request: {
    headers: z.object({ "idempotency-key": z.string().optional() }),
    body: body(allowPersonSchema),
  },
  responses: { 201: json(grantSchema, "The grant; several of a person's add up") },
});

const remove = createRoute({
  method: "delete",
  path: "/api/v1/people/grants/{id}",
  summary: "Take a role back",
  description: "It holds no more from their next request on.",
  tags,
  request: { params: z.object({ id: z.string().max(64) }) },
  responses: { 204: { description: "It is not there (any more)" } },
});

const link = createRoute({
  method: "put",
  path: "/api/v1/people/links",
  summary: "Say whose an account elsewhere is",
  description:
    "Buttons in Slack count for who is linked alone, and nobody approves what they started from CI.",
  tags,
  request: { body: body(linkPersonSchema) },
  responses: { 204: { description: "It is theirs, and nobody else's" } },
});

const unlink = createRoute({
  method: "delete",
  path: "/api/v1/people/links/{identity}",
  summary: "Say that an account is nobody's",
  tags,
  request: { params: z.object({ identity: z.string().max(200) }) },
  responses: { 204: { description: "It is not there (any more)" } },
});

const setAccess = createRoute({
  method: "put",
  path: "/api/v1/people/access",
  summary: "Name the Access application in front of control",
  description: "From then on its signed tokens count, and those of no other team or application.",
  tags,
  request: { body: body(accessSchema) },
  responses: { 204: { description: "Its tokens count from now on" } },
});

const dropAccess = createRoute({
  method: "delete",
  path: "/api/v1/people/access",
  summary: "Believe no Access application any more",
  tags,
  responses: { 204: { description: "None is believed (any more)" } },
});

/** People who come through Cloudflare Access. All of it is an administrator's. */
export const peopleRoutes = () => newRouter().route("/", grantRoutes()).route("/", accountRoutes());

const grantRoutes = () =>
  newRouter()
    .openapi(list, async (c) => {
      authorize(c, everything("admin"));
      const { db } = c.var;
      const [access, grants, links] = await Promise.all([readAccess(db), listGrants(db), listLinks(db)]);
      const shown = access ? { team: access.issuer, audience: access.audience } : null;
      return c.json(
        {
          access: shown,
          grants: grants.map(grantView),
          links: links.map(({ identity, email }) => ({ identity, email })),
        },
        200,
      );
    })
    .openapi(allow, async (c) => {
      const { actor } = authorize(c, everything("admin"));
      const { who, role, app = null, environment = null } = c.req.valid("json");
      if ((await listGrants(c.var.db)).length >= MOST_GRANTS)
        throw new ProblemError({ code: "conflict", detail: `there are ${MOST_GRANTS} grants: use groups` });
      const now = c.var.now();
      const name = /^(?:group|service):/.test(who) ? who : who.toLowerCase();
      const row = {
        id: newId("grant", now),
        who: name,
        role,
        app,
        environment,
        createdAt: now,
        createdBy: actor,
      };
      const after = grantView(row);
      await write(
        c,
        { type: "people.allowed", says: `${name} may be ${role}`, app, environment, data: { after } },
        [insertGrant(c.var.db, row)],
      );
      return c.json(after, 201);
    })
    .openapi(remove, async (c) => {
      authorize(c, everything("admin"));
      const row = await readGrant(c.var.db, c.req.valid("param").id);
      if (!row) return c.body(null, 204);
      const { who, role, app, environment } = row;
      const data = { before: grantView(row) };
      await write(
        c,
        { type: "people.removed", says: `${who} is no ${role} any more`, app, environment, data },
        [deleteGrant(c.var.db, row.id)],
      );
      return c.body(null, 204);
    });

const accountRoutes = () =>
  newRouter()
    .openapi(link, async (c) => {
      const { actor } = authorize(c, everything("admin"));
      const { identity, email } = c.req.valid("json");
      const before = (await readLink(c.var.db, identity))?.email ?? null;
      const row = { identity, email, createdAt: c.var.now(), createdBy: actor };
      const data = { identity, before, after: email };
      await write(c, { type: "people.linked", says: `${identity} is ${email}`, data }, [
        putLink(c.var.db, row),
      ]);
      return c.body(null, 204);
    })
    .openapi(unlink, async (c) => {
      authorize(c, everything("admin"));
      const row = await readLink(c.var.db, c.req.valid("param").identity);
      if (!row) return c.body(null, 204);
      const { identity, email } = row;
      const data = { identity, before: email, after: null };
      await write(c, { type: "people.unlinked", says: `${identity} is nobody's`, data }, [
        deleteLink(c.var.db, identity),
      ]);
      return c.body(null, 204);
    })
    .openapi(setAccess, async (c) => {
      authorize(c, everything("admin"));
      const { team, audience } = c.req.valid("json");
      const after = { issuer: issuerOf(c, team), audience };
      const data = { before: (await readAccess(c.var.db)) ?? null, after };
      await write(c, { type: "people.access", says: `tokens of ${after.issuer} count`, data }, [
        putAccess(c.var.db, after),
      ]);
      return c.body(null, 204);
    })
    .openapi(dropAccess, async (c) => {
      authorize(c, everything("admin"));
      const before = await readAccess(c.var.db);
      if (!before) return c.body(null, 204);
      const data = { before, after: null };
      await write(c, { type: "people.access", says: `tokens of ${before.issuer} count no more`, data }, [
        deleteAccess(c.var.db),
      ]);
      return c.body(null, 204);
    });

const grantView = ({ id, who, role, app, environment, createdAt, createdBy }: GrantRow): GrantView => ({
  ...{ id, who, role, app, environment, createdBy },
  createdAt: iso(createdAt),
});

interface Happened {
  readonly type: `people.${string}`;
  readonly says: string;
  readonly app?: string | null;
  readonly environment?: string | null;
  readonly data: Record<string, unknown>;
}

function write(
  c: AppContext,
  { says: message, ...event }: Happened,
  statements: Parameters<typeof runBatch>[1],
) {
  const { actor } = c.var.principal;
  const row = insertEvent(c.var.db, { ...event, at: c.var.now(), actor, message });
  return runBatch(c.var.db, [...statements, row]);
}

/** Access signs for `https://<team>.cloudflareaccess.com` alone; a stand-in may be on this machine where control is, too. */
function issuerOf(c: AppContext, team: string): string {
  const name = /^(?:https:\/\/)?([a-z0-9-]{1,63})(?:\.cloudflareaccess\.com\/?)?$/i.exec(team)?.[1];
  if (name !== undefined) return `https://${name.toLowerCase()}.cloudflareaccess.com`;
  const isLocal = isLocalControl(c.req.url);
  if (isLocal && team.startsWith("http://") && issuerProblem(team, true) === undefined) return team;
  const detail = `\`${team}\` is no team of Cloudflare Access: write its name, or https://<team>.cloudflareaccess.com`;
  throw new ProblemError({ code: "invalid_request", detail });
}
