import { randomBytes } from "node:crypto";
import { once } from "node:events";
import http from "node:http";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { type ImageManifest, MANIFEST_TYPE } from "../../src/protocol/images.ts";
import { words } from "../outcome.ts";

/** Where an image comes from: its manifest's text, and the bytes of its blobs from one on. */
export interface Source {
  manifest(): Promise<{ readonly text: string; readonly parsed: ImageManifest }>;
  blob(digest: string, range: { start: number; end: number }): AsyncIterable<Buffer>;
}

/** An endpoint while one image is pulled. */
export interface Endpoint {
  /** As the engine is to name the image's repository: `127.0.0.1:41234/5f…/shop`. */
  readonly repository: string;
  /** What went wrong last in getting the image; undefined: nothing did. */
  readonly trouble: Error | undefined;
  /** The engine has found the way here. */
  readonly wasAsked: boolean;
  close(): Promise<void>;
}

/**
 * One image as the pull side of a registry (OCI distribution-spec 1.1, §Pull), for the engine on this machine alone: it listens on
 * loopback, on a port of chance, and below a name that only the engine is told. The engine asks for the layers that it lacks,
 * and compares every digest itself.
 */
export async function serveImage(app: string, digest: string, source: Source): Promise<Endpoint> {
  const name = `${randomBytes(16).toString("hex")}/${app}`;
  const seen: { trouble: Error | undefined; wasAsked: boolean } = { trouble: undefined, wasAsked: false };
  const answer = answering({ name, digest, source });
  const server = http.createServer((request, response) => {
    seen.wasAsked = true;
    answer(request, response).catch((thrown: unknown) => {
      // An engine that lets go of a layer is no trouble of ours.
      if (!request.destroyed || response.headersSent === false)
        seen.trouble = thrown instanceof Error ? thrown : new Error(words(thrown));
      if (response.headersSent) response.destroy();
      else response.writeHead(502).end(words(thrown));
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  const port = address !== null && typeof address === "object" ? address.port : 0;
  return {
    repository: `127.0.0.1:${port}/${name}`,
    get trouble() {
      return seen.trouble;
    },
    get wasAsked() {
      return seen.wasAsked;
    },
    async close() {
      server.close();
      server.closeAllConnections();
      await once(server, "close");
    },
  };
}

interface Served {
  readonly name: string;
  readonly digest: string;
  readonly source: Source;
}
type Answer = (request: http.IncomingMessage, response: http.ServerResponse) => Promise<void>;

const answering =
  ({ name, digest, source }: Served): Answer =>
  async (request, response) => {
    response.setHeader("docker-distribution-api-version", "registry/2.0");
    if (request.method !== "GET" && request.method !== "HEAD") return void response.writeHead(405).end();
    if (request.url === "/v2/") return void response.writeHead(200).end();
    const [, kind, wanted = ""] =
      /^\/(manifests|blobs)\/(sha256:[0-9a-f]{64})$/.exec(below(name, request.url)) ?? [];
    const { text, parsed } = await source.manifest();
    if (kind === "manifests" && wanted === digest) return sendManifest(request, response, { text, digest });
    const blob = [parsed.config, ...parsed.layers].find((one) => one.digest === wanted);
    if (kind !== "blobs" || !blob)
      return void response.writeHead(404).end('{"errors":[{"code":"NAME_UNKNOWN"}]}');
    await sendBlob(request, response, { source, ...blob });
  };

const below = (name: string, url = ""): string =>
  url.startsWith(`/v2/${name}/`) ? url.slice(`/v2/${name}`.length) : "";

function sendManifest(
  { method }: http.IncomingMessage,
  response: http.ServerResponse,
  { text, digest }: { text: string; digest: string },
): void {
  const headers = {
    "content-type": MANIFEST_TYPE,
    "docker-content-digest": digest,
    "content-length": Buffer.byteLength(text),
  };
  response.writeHead(200, headers).end(method === "HEAD" ? undefined : text);
}

/** Whole, or from a byte on: so an engine goes on with what it has. */
async function sendBlob(
  { method, headers }: http.IncomingMessage,
  response: http.ServerResponse,
  { source, digest, size }: { source: Source; digest: string; size: number },
): Promise<void> {
  const asked = /^bytes=(\d{1,15})-(\d{0,15})$/.exec(headers.range ?? "");
  const start = Number(asked?.[1] ?? 0);
  const end = asked?.[2] ? Math.min(size, Number(asked[2]) + 1) : size;
  if (start >= end) return void response.writeHead(416, { "content-range": `bytes */${size}` }).end();
  response.writeHead(asked ? 206 : 200, {
    "content-type": "application/octet-stream",
    "docker-content-digest": digest,
    "accept-ranges": "bytes",
    "content-length": end - start,
    ...(asked && { "content-range": `bytes ${start}-${end - 1}/${size}` }),
  });
  if (method === "HEAD") return void response.end();
  await pipeline(Readable.from(source.blob(digest, { start, end })), response);
}
