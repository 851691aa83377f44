import { createRoute, z } from "@hono/zod-openapi";
import {
  askImagesSchema,
  blobSchema,
  digestSchema,
  imageSchema,
  knownImagesSchema,
  putBlobSchema,
  putImageSchema,
  SHIPPED,
} from "../../../protocol/images.ts";
import { authorize } from "../../http/auth.ts";
import { type AppContext, orRefuse } from "../../http/context.ts";
import { requireEnvironment } from "../../http/require.ts";
import { body, environmentParams, json, newRouter } from "../../http/route-parts.ts";
import { putBlob } from "../../images/blobs.ts";
import { requireBucket } from "../../images/bucket.ts";
import { putImage } from "../../images/manifest.ts";
import { putPart } from "../../images/upload-parts.ts";
import { findKnown } from "../../store/images/blobs.ts";

const tags = ["images"];
const params = environmentParams.extend({ digest: digestSchema });

const ask = createRoute({
  method: "post",
  path: "/api/v1/apps/{app}/envs/{env}/images/known",
  summary: "Which parts of an image are there already",
  description:
    "Of this app alone: what others have is never told. What is asked for stays for a day, so that it can be counted on.",
  tags,
  request: { params: environmentParams, body: body(askImagesSchema) },
  responses: { 200: json(knownImagesSchema, "Of what was asked for, that which is there") },
});

const part = createRoute({
  method: "put",
  path: "/api/v1/apps/{app}/envs/{env}/images/parts/{digest}",
  summary: "Send a part of a layer",
  description:
    "At most 32 MiB, with its Content-Length. The digest is of this part; it is compared as it comes. Parts of which no blob is made go after a day.",
  tags,
  request: {
    params,
    body: { required: true, content: { "application/octet-stream": { schema: z.any() } } },
  },
  responses: { 204: { description: "It is there" } },
});

const blob = createRoute({
  method: "put",
  path: "/api/v1/apps/{app}/envs/{env}/images/blobs/{digest}",
  summary: "Make a blob of parts",
  description: "Refused unless all parts are there, and have this digest together.",
  tags,
  request: { params, body: body(putBlobSchema) },
  responses: { 200: json(blobSchema, "It is there") },
});

const image = createRoute({
  method: "put",
  path: "/api/v1/apps/{app}/envs/{env}/images/{digest}",
  summary: "Keep an image",
  description:
    "An OCI manifest, as the text that the digest is of. Refused unless its configuration and all of its layers are there. Kept as long as a release needs it.",
  tags,
  request: { params, body: body(putImageSchema) },
  responses: { 200: json(imageSchema, "What to release it by") },
});

/** Images without a registry: what `sluice ship --to-hosts` sends. */
export const imageRoutes = () =>
  newRouter()
    .openapi(ask, async (c) => {
      const { keeping, environment } = await keepingOf(c, c.req.valid("param"));
      const { db, appId, now } = keeping;
      const asked = { appId, environmentId: environment.id, now, ...c.req.valid("json") };
      return c.json(knownImagesSchema.parse(await findKnown(db, asked)), 200);
    })
    .openapi(part, async (c) => {
      const { keeping } = await keepingOf(c, c.req.valid("param"));
      const size = Number(c.req.header("content-length") ?? Number.NaN);
      const { digest } = c.req.valid("param");
      orRefuse(await putPart(keeping, { digest, size, body: c.req.raw.body }));
      return c.body(null, 204);
    })
    .openapi(blob, async (c) => {
      const { keeping } = await keepingOf(c, c.req.valid("param"));
      const { digest } = c.req.valid("param");
      const { size, parts } = c.req.valid("json");
      orRefuse(await putBlob(keeping, { digest, size, parts }));
      return c.json({ digest, size }, 200);
    })
    .openapi(image, async (c) => {
      const { keeping, environment, actor } = await keepingOf(c, c.req.valid("param"));
      const { app, env, digest } = c.req.valid("param");
      const { manifest } = c.req.valid("json");
      const place = { id: environment.id, app, name: env };
      const bytes = orRefuse(await putImage(keeping, { digest, manifest, environment: place, actor }));
      return c.json({ image: `${SHIPPED}/${app}@${digest}`, bytes }, 200);
    });

/** Whoever may deploy there may send images of its app. */
async function keepingOf(c: AppContext, { app, env }: z.output<typeof environmentParams>) {
  const { actor } = authorize(c, { role: "deployer", app, environment: env, action: "deploy" });
  const bucket = requireBucket(c.env);
  const { environment } = await requireEnvironment(c, app, env);
  const keeping = { db: c.var.db, bucket, appId: environment.appId, now: c.var.now() };
  return { keeping, environment, actor };
}
