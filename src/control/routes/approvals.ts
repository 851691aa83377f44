import { createRoute } from "@hono/zod-openapi";
import { approveSchema, rejectSchema } from "../../protocol/api/moves.ts";
import { releaseSchema } from "../../protocol/api/releases.ts";
import { authorize } from "../http/auth.ts";
import { type AppContext, coordinatorOf, orRefuse } from "../http/context.ts";
import { body, json, newRouter, releaseParams } from "../http/router.ts";
import { allIdentities } from "../store/identity/people.ts";
import { releaseStatusView, requireRelease } from "./status.ts";

const approve = createRoute({
  method: "post",
  path: "/api/v1/releases/{id}/approve",
  summary: "Let a release that waits for it go on",
  description:
    "Refused to who started it (403 `own_release`), with any token of theirs. Name the digest you looked at: another one is refused.",
  tags: ["releases"],
  request: { params: releaseParams, body: body(approveSchema) },
  responses: { 200: json(releaseSchema, "The release as it is now") },
});

const reject = createRoute({
  method: "post",
  path: "/api/v1/releases/{id}/reject",
  summary: "End a release that waits for an approval",
  tags: ["releases"],
  request: { params: releaseParams, body: body(rejectSchema) },
  responses: { 202: json(releaseSchema, "It ends, or has ended") },
});

/** The release, for those who may approve it. A job's token that is for deploying alone is none of them. */
async function approvable(c: AppContext, id: string) {
  const { app, environment, release } = await requireRelease(c, id);
  const principal = authorize(c, { role: "approver", app, environment: environment.name });
  return { principal, release, port: coordinatorOf(c.env, environment.id) };
}

export const approvalRoutes = () =>
  newRouter()
    .openapi(approve, async (c) => {
      const { id } = c.req.valid("param");
      const { principal, release, port } = await approvable(c, id);
      const { actor, madeBy } = principal;
      const { digest: subject = null, step = null } = c.req.valid("json");
      const [identities, starter] = await Promise.all(
        [principal.identities, release.startedAs ?? [release.by]].map((of) => allIdentities(c.var.db, of)),
      );
      orRefuse(
        await port.approve({
          ...{ release: id, actor, madeBy, subject, step },
          ...{ identities: identities ?? [], starter: starter ?? [] },
        }),
      );
      return c.json(await releaseStatusView(c, await requireRelease(c, id)), 200);
    })
    .openapi(reject, async (c) => {
      const { id } = c.req.valid("param");
      const { principal, port } = await approvable(c, id);
      const { reason = null } = c.req.valid("json");
      orRefuse(await port.reject({ release: id, actor: principal.actor, reason }));
      return c.json(await releaseStatusView(c, await requireRelease(c, id)), 202);
    });
