import { createRoute, z } from "@hono/zod-openapi";
import { digestSchema, MANIFEST_TYPE } from "../../../protocol/images.ts";
import { authenticate, authorizeAgent } from "../../http/auth.ts";
import type { AppContext } from "../../http/context.ts";
import { ProblemError } from "../../http/problems.ts";
import { newRouter } from "../../http/route-parts.ts";
import { requireBucket } from "../../images/bucket.ts";
import { rangeOf, readSlices, within } from "../../images/read.ts";
import { readBlob } from "../../store/images/blobs.ts";
import { findWanted, type ImageRow } from "../../store/images/images.ts";

const tags = ["agent"];
const imageParams = z.object({ digest: digestSchema });
const blobParams = imageParams.extend({ blob: digestSchema });

const manifest = createRoute({
  method: "get",
  path: "/agent/v1/images/{digest}",
  summary: "The manifest of an image that is in no registry",
  description: "Only for a host that has a job or an instance of it.",
  tags,
  middleware: [authenticate] as const,
  request: { params: imageParams },
  responses: { 200: { description: "The text that the digest is of" } },
});

const blob = createRoute({
  method: "get",
  path: "/agent/v1/images/{digest}/blobs/{blob}",
  summary: "A layer or the configuration of such an image",
  description: "The whole, or `Range: bytes=<first>-[<last>]` of it.",
  tags,
  middleware: [authenticate] as const,
  request: { params: blobParams },
  responses: {
    200: { description: "Its bytes" },
    206: { description: "Those of them that were asked for" },
    416: { description: "It has no such bytes" },
  },
});

/** Where agents fetch images from that are in no registry. */
export const agentImageRoutes = () =>
  newRouter()
    .openapi(manifest, async (c) => {
      const image = await requireWanted(c, c.req.valid("param").digest);
      return c.body(image.manifest, 200, { "content-type": MANIFEST_TYPE });
    })
    .openapi(blob, async (c) => {
      const { digest, blob: wanted } = c.req.valid("param");
      const image = await requireWanted(c, digest);
      const row = image.blobs.includes(wanted) ? await readBlob(c.var.db, image.appId, wanted) : undefined;
      if (!row) throw new ProblemError({ code: "not_found", detail: `${digest} has no ${wanted}` });
      const { size, parts } = row;
      const range = rangeOf(c.req.header("range"), size);
      if (range === "unsatisfiable")
        return new Response(null, { status: 416, headers: { "content-range": `bytes */${size}` } });
      const { start, end } = range ?? { start: 0, end: size - 1 };
      const headers = {
        "content-type": "application/octet-stream",
        "content-length": String(end - start + 1),
        "accept-ranges": "bytes",
        ...(range && { "content-range": `bytes ${start}-${end}/${size}` }),
      };
      const bytes = readSlices(requireBucket(c.env), within(parts, { start, end }));
      return new Response(bytes, { status: range ? 206 : 200, headers });
    });

async function requireWanted(c: AppContext, digest: string): Promise<ImageRow> {
  const { hostId } = authorizeAgent(c);
  requireBucket(c.env);
  const image = await findWanted(c.var.db, hostId, digest);
  if (image) return image;
  const detail = `no image ${digest} is kept that this host has to run now`;
  throw new ProblemError({ code: "not_found", detail });
}
