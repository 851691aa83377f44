import { createRoute, z } from "@hono/zod-openapi";
import { covers, whyReserved } from "../../domain/hostnames.ts";
import {
  allowHostnameSchema,
  type HostnameGrantView,
  hostnameGrantSchema,
  hostnamePatternSchema,
} from "../../protocol/api/hostnames.ts";
import { reservedNames } from "../apps/grants.ts";
import { tendHostnamesSoon } from "../cloudflare/tend-hostnames.ts";
import { authorize } from "../http/auth.ts";
import { type AppContext, inBackground } from "../http/context.ts";
import { ProblemError } from "../http/problems.ts";
import { appParams, body, json, newRouter } from "../http/route-parts.ts";
import { everything } from "../identity/roles.ts";
import { iso } from "../iso.ts";
import { readAppState } from "../store/apps.ts";
import { runBatch } from "../store/db.ts";
import { insertEvent } from "../store/events.ts";
import { lookAgainAt, putGrant, revokeGrant } from "../store/grants.ts";

const tags = ["hostnames"];
const patternParams = appParams.extend({
  pattern: hostnamePatternSchema.describe(
    "`shop.example.com`, `*.shop.example.com`, or `shop.example.com/api` (its slash as `%2F`)",
  ),
});

const list = createRoute({
  method: "get",
  path: "/api/v1/apps/{app}/hostnames",
  summary: "Which hostnames an app may have",
  tags,
  request: { params: appParams },
  responses: { 200: json(z.object({ items: z.array(hostnameGrantSchema) }), "All of them, by pattern") },
});

const allow = createRoute({
  method: "put",
  path: "/api/v1/apps/{app}/hostnames/{pattern}",
  summary: "Let an app have a hostname, or all below one",
  description:
    "The app need not be there yet. Control's own hostname and those of slots stay out of reach, whatever covers them.",
  tags,
  request: { params: patternParams, body: body(allowHostnameSchema) },
  responses: { 200: json(hostnameGrantSchema, "The grant") },
});

const revoke = createRoute({
  method: "delete",
  path: "/api/v1/apps/{app}/hostnames/{pattern}",
  summary: "Take a grant back",
  description:
    "Refused while a hostname of the app stands on it alone: that one is in a manifest, and serves.",
  tags,
  request: { params: patternParams },
  responses: { 204: { description: "It is not there (any more)" } },
});

/** Which hostnames an app may have: an administrator's word, since a hostname's visitors bring their passwords with them. */
export const hostnameRoutes = () =>
  newRouter()
    .openapi(list, async (c) => {
      const { app } = c.req.valid("param");
      authorize(c, { role: "viewer", app, environment: null });
      return c.json({ items: await grantsOf(c, app) }, 200);
    })
    .openapi(allow, async (c) => {
      const { app, pattern } = c.req.valid("param");
      const { actor } = authorize(c, everything("admin"));
      refuseReserved(c, pattern);
      const { claim } = c.req.valid("json");
      const now = c.var.now();
      const row = { app, pattern, claim, by: actor, createdAt: now };
      const message = `${app} may have ${pattern}${claim ? ", also from another site" : ""}`;
      const data = { patterns: [pattern], claim };
      const { owners } = await readAppState(c.var.db, app, []);
      const covered = owners.filter(({ hostname }) => covers(pattern, hostname));
      await runBatch(c.var.db, [
        putGrant(c.var.db, row),
        lookAgainAt(
          c.var.db,
          covered.map(({ hostname }) => hostname),
        ),
        insertEvent(c.var.db, { at: now, type: "hostname.granted", actor, app, message, data }),
      ]);
      if (claim) inBackground(c, "hostnames.not_tended", tendHostnamesSoon(c.env));
      const granted = await grantOf(c, app, pattern);
      if (!granted)
        throw new ProblemError({ code: "conflict", detail: `${pattern} was taken back meanwhile` });
      return c.json(granted, 200);
    })
    .openapi(revoke, async (c) => {
      const { app, pattern } = c.req.valid("param");
      const { actor } = authorize(c, everything("admin"));
      if (await revokeGrant(c.var.db, app, pattern)) {
        const message = `${app} may not have ${pattern} any more`;
        const event = { at: c.var.now(), type: "hostname.revoked", actor, app, message };
        await runBatch(c.var.db, [insertEvent(c.var.db, { ...event, data: { patterns: [pattern] } })]);
      } else {
        const kept = await grantOf(c, app, pattern);
        if (kept) throw inUse(app, kept);
      }
      return c.body(null, 204);
    });

function inUse(app: string, { pattern, covers: used }: HostnameGrantView): ProblemError {
  const names = used.map(({ hostname, environment }) => `${hostname} (${environment})`).join(", ");
  const detail = `${app} has ${names} by the grant ${pattern}: take it out of the manifest and apply that first, or grant that name by itself`;
  return new ProblemError({ code: "conflict", detail });
}

/** A pattern may cover more than a manifest will ever name; a name by itself is refused where it could never be had. */
function refuseReserved(c: AppContext, pattern: string): void {
  const why = pattern.startsWith("*.") ? null : whyReserved(pattern, reservedNames(c.env, c.req.url));
  if (why !== null) throw new ProblemError({ code: "hostname_reserved", detail: why });
}

const grantOf = async (c: AppContext, app: string, pattern: string) =>
  (await grantsOf(c, app)).find((grant) => grant.pattern === pattern);

async function grantsOf(c: AppContext, app: string): Promise<HostnameGrantView[]> {
  const { grants, owners } = await readAppState(c.var.db, app, []);
  return grants.map(({ pattern, claim, by, createdAt }) => ({
    pattern,
    claim,
    by,
    createdAt: iso(createdAt),
    covers: owners
      .filter(({ hostname }) => covers(pattern, hostname))
      .map(({ hostname, environment }) => ({ hostname, environment })),
  }));
}
