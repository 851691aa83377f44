import { createRoute, z } from "@hono/zod-openapi";
import { registeredName } from "../../../domain/routing/hostname.ts";
import { nameOf, prefixOf } from "../../../domain/routing/site.ts";
import { inWords } from "../../../domain/state-words.ts";
import { createPreviewSchema, previewSchema } from "../../../protocol/api/previews/pass.ts";
import { signPreview } from "../../environment/preview.ts";
import { authorize } from "../../http/auth.ts";
import { ProblemError } from "../../http/problems.ts";
import { requireRelease } from "../../http/require.ts";
import { body, json, newRouter, releaseParams } from "../../http/route-parts.ts";
import type { ReleaseStatus } from "../../store/status.ts";
import { isReady } from "../../views/rows.ts";

const preview = createRoute({
  method: "post",
  path: "/api/v1/releases/{id}/preview",
  summary: "Sign a preview pass",
  description:
    "Whoever sends the header or the cookie reaches this release, whatever its weight, until the pass expires.",
  tags: ["releases"],
  request: {
    params: releaseParams,
    headers: z.object({ "idempotency-key": z.string().optional() }),
    body: body(createPreviewSchema),
  },
  responses: { 201: json(previewSchema, "The pass, as a header and as a cookie") },
});

export const previewPassRoutes = () =>
  newRouter().openapi(preview, async (c) => {
    const { id } = c.req.valid("param");
    const status = await requireRelease(c, id);
    const { app, environment } = status;
    authorize(c, { role: "deployer", app, environment: environment.name, action: "deploy" });
    const { expiresInMinutes, hostname } = c.req.valid("json");
    refuseUnreachable(status);
    const pass = await signPreview({
      release: id,
      hostname: hostnameOf(status, hostname),
      previewKey: environment.previewKey,
      expiresAt: c.var.now() + expiresInMinutes * 60_000,
    });
    return c.json(pass, 201);
  });

/** A pass to nothing would only be found out by the one it was given to. */
function refuseUnreachable({ release, instances }: ReleaseStatus): void {
  if (instances.some(isReady)) return;
  const detail = `${release.version} is ${inWords(release.state)} and has no ready instance: there is nothing to preview`;
  throw new ProblemError({ code: "release_not_serving", detail });
}

function hostnameOf({ environment }: ReleaseStatus, asked: string | undefined): string {
  const { hostnames } = environment.spec;
  const named = asked ?? hostnames.find((name) => !name.startsWith("*."));
  if (named !== undefined && !named.startsWith("*.")) {
    const site = nameOf(named).toLowerCase() + prefixOf(named);
    const first = hostnames.find((own) => own.startsWith(`${site}/`));
    if (registeredName(hostnames, site) !== undefined) return site;
    if (first !== undefined) return first;
  }
  const detail =
    named === undefined
      ? `${environment.name} has wildcards only (${hostnames.join(", ")}): say which hostname the preview is for`
      : `${environment.name} has no hostname \`${asked}\`; it has ${hostnames.join(", ")}`;
  throw new ProblemError({ code: "invalid_request", detail });
}
