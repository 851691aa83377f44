import { createRoute } from "@hono/zod-openapi";
import { ownRelease as refuseOwn } from "../../domain/commands/approve.ts";
import { approveSchema, rejectSchema } from "../../protocol/api/moves.ts";
import { releaseSchema } from "../../protocol/api/releases.ts";
import { authorize } from "../http/auth.ts";
import { type AppContext, coordinatorOf, orRefuse, type Principal } from "../http/context.ts";
import { releaseStatusView, requireRelease } from "../http/require.ts";
import { body, json, newRouter, releaseParams } from "../http/route-parts.ts";
import { allIdentities } from "../store/identity/people.ts";
import type { ReleaseRow } from "../store/status.ts";

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

/** All that is known by now of who asks and of who started it. */
async function known(c: AppContext, { actor, madeBy, identities }: Principal, release: ReleaseRow) {
  const [own = [], starter = []] = await Promise.all(
    [identities, release.startedAs ?? [release.by]].map((of) => allIdentities(c.var.db, of)),
  );
  return { actor, madeBy, identities: own, starter };
}

/** Why whoever asks could not approve a release, however much they may: they started it. Undefined: they did not. */
export async function ownRelease(c: AppContext, id: string) {
  const { release } = await requireRelease(c, id);
  return refuseOwn(release, await known(c, c.var.principal, release));
}

export const approvalRoutes = () =>
  newRouter()
    .openapi(approve, async (c) => {
      const { id } = c.req.valid("param");
      const { principal, release, port } = await approvable(c, id);
      const { digest: subject = null, step = null } = c.req.valid("json");
      orRefuse(await port.approve({ release: id, subject, step, ...(await known(c, principal, release)) }));
      return c.json(await releaseStatusView(c, await requireRelease(c, id)), 200);
    })
    .openapi(reject, async (c) => {
      const { id } = c.req.valid("param");
      const { principal, port } = await approvable(c, id);
      const { reason = null } = c.req.valid("json");
      orRefuse(await port.reject({ release: id, actor: principal.actor, reason }));
      return c.json(await releaseStatusView(c, await requireRelease(c, id)), 202);
    });
