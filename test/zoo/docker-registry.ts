import { deepStrictEqual, strictEqual } from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import type { Resident } from "./resident.ts";
import type { Visitor } from "./visitor.ts";

const PART_BYTES = 512 * 1024;
const PAUSE_MS = 50;
const MANIFEST = "application/vnd.oci.image.manifest.v1+json";
const digestOf = (bytes: Buffer) => `sha256:${createHash("sha256").update(bytes).digest("hex")}`;

/** What `docker push` and `docker pull` send: a layer in parts, a config at once, a manifest, and all of it back. */
export const dockerRegistry: Resident = {
  name: "docker-registry",
  programs: { "docker-registry": "/usr/bin/docker-registry" },
  options: { command: ["sh", "start.sh"], ready: "/v2/" },
  async visit(visitor) {
    const layer = randomBytes(3 * PART_BYTES);
    const config = Buffer.from(JSON.stringify({ created: new Date().toISOString() }));
    for (const [name, bytes] of Object.entries({ layer, config })) await push(visitor, name, bytes);
    const tag = digestOf(config).slice(-12);
    const manifest = JSON.stringify({
      schemaVersion: 2,
      mediaType: MANIFEST,
      config: { mediaType: "application/vnd.oci.image.config.v1+json", ...sizeOf(config) },
      layers: [{ mediaType: "application/vnd.oci.image.layer.v1.tar", ...sizeOf(layer) }],
    });
    const at = `/v2/app/manifests/${tag}`;
    await visitor.step("the manifest", () =>
      visitor.ask(201, at, { method: "PUT", body: manifest, headers: { "content-type": MANIFEST } }),
    );
    await visitor.step("pulls the manifest", async () => {
      strictEqual((await visitor.ask(200, at, { headers: { accept: MANIFEST } })).text, manifest);
    });
    await visitor.step("pulls the layer", async () => {
      const { body } = await visitor.ask(200, `/v2/app/blobs/${digestOf(layer)}`);
      strictEqual(digestOf(body), digestOf(layer));
    });
  },
};

const sizeOf = (bytes: Buffer) => ({ size: bytes.length, digest: digestOf(bytes) });

async function push(visitor: Visitor, name: string, bytes: Buffer): Promise<void> {
  let at = await visitor.step(`begins the ${name}`, async () =>
    next(visitor, (await visitor.ask(202, "/v2/app/blobs/uploads/", { method: "POST" })).headers.location),
  );
  for (let from = 0; from < bytes.length; from += PART_BYTES) {
    const body = bytes.subarray(from, from + PART_BYTES);
    const headers = {
      "content-type": "application/octet-stream",
      "content-range": `${from}-${from + body.length - 1}`,
    };
    at = await visitor.step(`a part of the ${name}`, async () => {
      const { headers: answered } = await visitor.ask(202, at, { method: "PATCH", body, headers });
      return next(visitor, answered.location);
    });
    await sleep(PAUSE_MS);
  }
  await visitor.step(`ends the ${name}`, async () => {
    const { headers } = await visitor.ask(201, `${at}&digest=${digestOf(bytes)}`, {
      method: "PUT",
      body: "",
    });
    strictEqual(headers["docker-content-digest"], digestOf(bytes));
  });
}

/** Where the upload goes on: at the name that the visitor knows, or a client would leave the edge. */
function next(visitor: Visitor, location = ""): string {
  const { origin, pathname, search } = new URL(location, visitor.origin);
  deepStrictEqual({ location, origin }, { location, origin: visitor.origin });
  return pathname + search;
}
