import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import http from "node:http";
import { buffer } from "node:stream/consumers";
import { gzipSync } from "node:zlib";
import { pack } from "tar-stream";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { systemClock } from "../../../agent/clock.ts";
import { createDockerRuntime } from "../../../agent/runtime/docker/docker.ts";
import { engineRef } from "../../../agent/runtime/docker/shipped.ts";
import { serveImage } from "../../../agent/shipped/endpoint.ts";
import { fetchingFromControl } from "../../../agent/shipped/fetching.ts";
import { CONFIG_TYPE, LAYER_TYPES, MANIFEST_TYPE } from "../../../src/protocol/images.ts";
import { dockerTest, theEngine } from "../../support/engine/docker.ts";

/** Images that are in no registry: how the engine of a host gets them from control. */
const digestOf = (bytes: Uint8Array | string) => `sha256:${createHash("sha256").update(bytes).digest("hex")}`;

interface Image {
  readonly digest: string;
  readonly reference: string;
  readonly manifest: string;
  readonly blobs: ReadonlyMap<string, Buffer>;
  readonly layers: readonly string[];
}

async function layerOf(name: string, content: Buffer) {
  const tar = pack();
  tar.entry({ name }, content);
  tar.finalize();
  const raw = await buffer(tar);
  return { diffId: digestOf(raw), bytes: gzipSync(raw, { level: 1 }) };
}
type Layer = Awaited<ReturnType<typeof layerOf>>;

function imageOf(layers: readonly Layer[]): Image {
  const config = Buffer.from(
    JSON.stringify({
      architecture: "amd64",
      os: "linux",
      config: { Cmd: ["/none"] },
      rootfs: { type: "layers", diff_ids: layers.map(({ diffId }) => diffId) },
      history: layers.map(() => ({ created_by: "test" })),
    }),
  );
  const about = (bytes: Buffer) => ({ digest: digestOf(bytes), size: bytes.length });
  const manifest = JSON.stringify({
    schemaVersion: 2,
    mediaType: MANIFEST_TYPE,
    config: { mediaType: CONFIG_TYPE, ...about(config) },
    layers: layers.map(({ bytes }) => ({ mediaType: LAYER_TYPES[0], ...about(bytes) })),
  });
  const digest = digestOf(manifest);
  return {
    digest,
    manifest,
    reference: `sluice.local/shop@${digest}`,
    blobs: new Map([config, ...layers.map(({ bytes }) => bytes)].map((bytes) => [digestOf(bytes), bytes])),
    layers: layers.map(({ bytes }) => digestOf(bytes)),
  };
}

/** Control, as far as it serves images. */
class Control {
  readonly asked: { readonly path: string; readonly range: string | undefined }[] = [];
  images: Image[] = [];
  /** A blob's first answer ends after so many bytes, its connection broken. */
  cutAfter = Number.POSITIVE_INFINITY;
  readonly #cut = new Set<string>();
  readonly #server = http.createServer((request, response) => this.#answer(request, response));
  url = "";

  async open() {
    this.#server.listen(0, "127.0.0.1");
    await once(this.#server, "listening");
    const address = this.#server.address();
    this.url = `http://127.0.0.1:${address !== null && typeof address === "object" ? address.port : 0}`;
  }

  async close() {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, "close");
  }

  #answer({ url = "", headers }: http.IncomingMessage, response: http.ServerResponse): void {
    const [, , , , digest, , blob] = url.split("/");
    this.asked.push({ path: blob ?? "manifest", range: headers.range });
    const image =
      headers.authorization === "Bearer slu_host" && this.images.find((one) => one.digest === digest);
    const bytes = image && (blob === undefined ? Buffer.from(image.manifest) : image.blobs.get(blob));
    if (!bytes) return void response.writeHead(404).end('{"detail":"no image that this host has to run"}');
    const start = Number(/^bytes=(\d+)-/.exec(headers.range ?? "")?.[1] ?? 0);
    response.writeHead(start > 0 ? 206 : 200, { "content-length": bytes.length - start });
    if (blob === undefined || bytes.length < this.cutAfter || this.#cut.has(blob))
      return void response.end(bytes.subarray(start));
    this.#cut.add(blob);
    response.write(bytes.subarray(0, this.cutAfter), () => setImmediate(() => response.destroy()));
  }
}

const control = new Control();
beforeEach(() => control.open());
const references: string[] = [];
afterEach(async () => {
  await control.close();
  control.asked.length = 0;
  control.cutAfter = Number.POSITIVE_INFINITY;
  for (const reference of references.splice(0))
    await theEngine()
      .bytes("DELETE", `/images/${encodeURIComponent(engineRef(reference))}`)
      .catch(() => {});
});

const signal = new AbortController().signal;
function pull(reference: string, { engine = theEngine() } = {}) {
  references.push(reference);
  const runtime = createDockerRuntime({ host: "host-1", engine });
  const fetching = fetchingFromControl(runtime, {
    url: control.url,
    token: () => "slu_host",
    clock: systemClock,
  });
  return fetching.pull({ image: reference }, () => {}, signal);
}

describe("an image that is in no registry", () => {
  dockerTest("comes from control, goes on where a connection broke, and has one lasting name", async () => {
    const image = imageOf([await layerOf("a", randomBytes(6_000_000)), await layerOf("b", randomBytes(100))]);
    control.images = [image];
    control.cutAfter = 2_000_000;
    const pulled = await pull(image.reference);
    expect(pulled).toEqual({
      ok: true,
      value: { image: image.reference, digest: image.digest, downloaded: true },
    });
    const [large = ""] = image.layers;
    const asked = control.asked.filter(({ path }) => path === large);
    expect(asked.map(({ range }) => range ?? "whole")).toEqual([
      "whole",
      expect.stringMatching(/^bytes=\d{6,}-$/),
    ]);
    const found = await theEngine().bytes(
      "GET",
      `/images/${encodeURIComponent(engineRef(image.reference))}/json`,
    );
    const { RepoTags, RepoDigests } = JSON.parse(found.toString());
    expect([RepoTags, RepoDigests]).toEqual([[engineRef(image.reference)], []]);
    control.asked.length = 0;
    expect(await pull(image.reference)).toMatchObject({ ok: true });
    expect(control.asked).toEqual([]);
  });

  dockerTest("is asked for by the layers that the engine lacks, and no more", async () => {
    const shared = await layerOf("shared", randomBytes(1_000_000));
    const [one, two] = [imageOf([shared]), imageOf([shared, await layerOf("own", randomBytes(50))])];
    control.images = [one, two];
    expect(await pull(one.reference)).toMatchObject({ ok: true });
    control.asked.length = 0;
    expect(await pull(two.reference)).toMatchObject({ ok: true });
    expect(control.asked.map(({ path }) => path)).not.toContain(one.layers[0]);
    expect(control.asked.map(({ path }) => path)).toContain(two.layers[1]);
  });

  dockerTest("does not run where control sends other bytes, or has none for this host", async () => {
    const image = imageOf([await layerOf("a", randomBytes(5_000))]);
    const [layer = ""] = image.layers;
    control.images = [
      {
        ...image,
        blobs: new Map([...image.blobs, [layer, randomBytes(image.blobs.get(layer)?.length ?? 0)]]),
      },
    ];
    const forged = await pull(image.reference);
    expect(forged.ok ? "" : forged.error.code).toBe("image_pull_failed");
    control.images = [{ ...image, manifest: image.manifest.replace("layers", "Layers") }];
    const other = await pull(image.reference);
    expect(other.ok ? "" : other.error.message).toContain("control sent the manifest");
    control.images = [];
    const none = await pull(image.reference);
    expect(none.ok ? "" : `${none.error.code}: ${none.error.message}`).toBe(
      `image_not_found: ${image.reference} can't be fetched: control answered 404: no image that this host has to run`,
    );
  });

  test("is served on loopback alone, below a name that only the engine is told", async () => {
    const image = imageOf([await layerOf("a", Buffer.from("text"))]);
    const endpoint = await serveImage("shop", image.digest, {
      manifest: async () => ({ text: image.manifest, parsed: JSON.parse(image.manifest) }),
      async *blob(digest, { start, end }) {
        yield (image.blobs.get(digest) ?? Buffer.alloc(0)).subarray(start, end);
      },
    });
    try {
      expect(endpoint.repository).toMatch(/^127\.0\.0\.1:\d+\/[0-9a-f]{32}\/shop$/);
      const [host = "", nonce, app] = endpoint.repository.split("/");
      const [layer = ""] = image.layers;
      const ask = (path: string, init?: RequestInit) => fetch(`http://${host}/v2/${path}`, init);
      const own = `${nonce}/${app}`;
      expect((await ask("")).status).toBe(200);
      const head = await ask(`${own}/manifests/${image.digest}`, { method: "HEAD" });
      expect(head.headers.get("docker-content-digest")).toBe(image.digest);
      const rest = await ask(`${own}/blobs/${layer}`, { headers: { range: "bytes=5-" } });
      expect([rest.status, Buffer.from(await rest.arrayBuffer())]).toEqual([
        206,
        image.blobs.get(layer)?.subarray(5),
      ]);
      const strangers = [
        `shop/manifests/${image.digest}`,
        `${own}/blobs/sha256:${"0".repeat(64)}`,
        `${own}/tags/list`,
      ];
      for (const path of strangers) expect((await ask(path)).status).toBe(404);
      expect((await ask(`${own}/blobs/uploads/`, { method: "POST" })).status).toBe(405);
    } finally {
      await endpoint.close();
    }
  });
});
