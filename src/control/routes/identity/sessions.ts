import { createRoute } from "@hono/zod-openapi";
import { identitySchema, type SignIn, signedInSchema, signInSchema } from "../../../protocol/api/sessions.ts";
import { authorize, identify, tokenHash } from "../../http/auth.ts";
import type { AppContext, Principal } from "../../http/context.ts";
import { ProblemError } from "../../http/problems.ts";
import { json, newRouter } from "../../http/route-parts.ts";
import { accessAssertionOf, beginSession, foreignPage, leaveSession, sessionOf } from "../../http/session.ts";
import { iso } from "../../iso.ts";
import type { Refusal } from "../../refusal.ts";
import { openDb } from "../../store/db.ts";

const FORM = "application/x-www-form-urlencoded";

const signIn = createRoute({
  method: "post",
  path: "/login",
  summary: "Sign a browser in with a token",
  description:
    "Answers with a cookie (HttpOnly, SameSite=Lax) that stands for the token for 12 hours and ends with it; only control's own pages may ask. A form is answered with a redirect: to `next`, or to `/login?problem=<code>`.",
  tags: ["sessions"],
  security: [],
  request: {
    // Were it required, each kind would be asked of every body.
    body: {
      content: { "application/json": { schema: signInSchema }, [FORM]: { schema: signInSchema } },
    },
  },
  responses: {
    200: json(signedInSchema, "Signed in"),
    303: { description: "A form's answer" },
  },
});

const signOut = createRoute({
  method: "post",
  path: "/logout",
  summary: "End a browser's session",
  description: "The token that it was begun with goes on. Without a session it changes nothing.",
  tags: ["sessions"],
  security: [],
  responses: { 204: { description: "Signed out" }, 303: { description: "A form's answer: to `/login`" } },
});

const whoami = createRoute({
  method: "get",
  path: "/api/v1/whoami",
  summary: "Who asks, and what for",
  tags: ["sessions"],
  responses: { 200: json(identitySchema, "As the token or the session says") },
});

/** A browser's way in: the dashboard has a session where scripts have a token. */
export const sessionRoutes = () =>
  newRouter()
    .openapi(signIn, async (c) => {
      const foreign = foreignPage(c.req.raw);
      if (foreign) throw new ProblemError(foreign);
      const isForm = isFormOf(c);
      const { token = "", next } = isForm ? c.req.valid("form") : (c.req.valid("json") as Partial<SignIn>);
      const db = openDb(c.env.DB);
      const hash = await tokenHash(`Bearer ${token.trim()}`);
      const found = await identify({ env: c.env, db, now: c.var.now(), sent: "a token" }, hash);
      const refusal = found.ok ? agentsRefusal(found.value.principal) : found.error;
      if (refusal && isForm) return c.redirect(`/login?problem=${refusal.code}`, 303);
      if (refusal || !found.ok || hash === undefined) throw new ProblemError(refusal ?? NO_TOKEN);
      const expiresAt = await beginSession(c, db, hash);
      if (isForm) return c.redirect(ownPath(next), 303);
      return c.json({ ...identityView(found.value.principal), expiresAt: iso(expiresAt) }, 200);
    })
    .openapi(signOut, async (c) => {
      const foreign = foreignPage(c.req.raw);
      if (foreign) throw new ProblemError(foreign);
      const isAccess = sessionOf(c) === undefined && accessAssertionOf(c) !== undefined;
      await leaveSession(c, openDb(c.env.DB));
      // Who came through Access leaves there: control has no session of theirs.
      const to = isAccess ? "/cdn-cgi/access/logout" : "/login";
      return isFormOf(c) ? c.redirect(to, 303) : c.body(null, 204);
    })
    .openapi(whoami, (c) => {
      const { app, environment } = c.var.principal;
      return c.json(identityView(authorize(c, { role: "viewer", app, environment })), 200);
    });

const NO_TOKEN: Refusal = { code: "unauthenticated", detail: "this is no token of Sluice's" };

const agentsRefusal = ({ role, actor }: Principal): Refusal | undefined =>
  role === "agent"
    ? { code: "forbidden", detail: `${actor} is a host's token: it opens no page` }
    : undefined;

const isFormOf = (c: AppContext) => c.req.header("content-type")?.startsWith(FORM) === true;

/** A path on control, or its first page: `//elsewhere` and `/\elsewhere` are other sites to a browser. */
const ownPath = (next: string | undefined) =>
  next !== undefined && /^\/(?![/\\])[\x21-\x7e]*$/.test(next) ? next : "/";

const identityView = ({ actor, role, app, environment }: Principal) => ({ actor, role, app, environment });
