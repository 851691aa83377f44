import { createHash } from "node:crypto";
import { createWriteStream } from "node:fs";
import { open, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import type { ImageManifest, KnownImages } from "../../../src/protocol/images.ts";
import { compress, cut } from "./image-parts.ts";
import { type Sending, sendBlob } from "./send.ts";

export type Layer = ImageManifest["layers"][number];

const GZIP = "application/vnd.oci.image.layer.v1.tar+gzip";
const ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd";

/** Sends layers as the archive names them, one after another: one at a time lies on this machine's disk. */
export class Layers {
  readonly #sending: Sending;
  readonly #folder: string;
  readonly #signal: AbortSignal;
  /** What control has of this image, by the digest of the files and by its own. */
  readonly #known: ReadonlyMap<string, Layer>;
  readonly #by = new Map<string, { readonly layer: Layer; readonly diffId: string | undefined }>();

  constructor(
    sending: Sending,
    { folder, known, signal }: { folder: string; known: KnownImages["layers"]; signal: AbortSignal },
  ) {
    this.#sending = sending;
    this.#folder = folder;
    this.#signal = signal;
    this.#known = new Map(
      known.flatMap(({ diffId, ...layer }) => [
        [diffId, layer],
        [layer.digest, layer],
      ]),
    );
  }

  /** Takes a file of the archive. Where its name says what it is, and control has it, nothing is done with it. */
  async take(name: string, body: AsyncIterable<Buffer> | Buffer): Promise<void> {
    const there = this.#known.get(`sha256:${/^blobs\/sha256\/([0-9a-f]{64})$/.exec(name)?.[1] ?? ""}`);
    if (there) {
      if (!Buffer.isBuffer(body)) for await (const _ of body);
      this.#by.set(name, { layer: there, diffId: undefined });
      return;
    }
    const raw = join(this.#folder, "layer.tar");
    const digest = Buffer.isBuffer(body) ? await keep(raw, body) : await spool(raw, body, this.#signal);
    this.#by.set(name, await this.#send(raw, digest));
    await rm(raw, { force: true });
  }

  /** What was sent, or is there, under a name of the archive. `diffId`: undefined where it is for others to prove. */
  of(name: string) {
    return this.#by.get(name);
  }

  async #send(raw: string, digest: string): Promise<{ layer: Layer; diffId: string | undefined }> {
    const compressed = await compressionOf(raw);
    const known = this.#known.get(digest);
    if (known) return { layer: known, diffId: compressed ? undefined : digest };
    if (compressed) {
      const file = await cut(raw);
      await sendBlob(this.#sending, raw, file);
      return { layer: { mediaType: compressed, digest: file.digest, size: file.size }, diffId: undefined };
    }
    const packed = join(this.#folder, "layer.tar.gz");
    await compress(raw, packed, this.#signal);
    const file = await cut(packed);
    await sendBlob(this.#sending, packed, file);
    await rm(packed);
    return { layer: { mediaType: GZIP, digest: file.digest, size: file.size }, diffId: digest };
  }
}

async function keep(path: string, bytes: Buffer): Promise<string> {
  await writeFile(path, bytes);
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
}

async function spool(path: string, body: AsyncIterable<Buffer>, signal: AbortSignal): Promise<string> {
  const hash = createHash("sha256");
  const hashed = async function* () {
    for await (const chunk of body) {
      hash.update(chunk);
      yield chunk;
    }
  };
  await pipeline(hashed, createWriteStream(path), { signal });
  return `sha256:${hash.digest("hex")}`;
}

/** By its first bytes (RFC 1952, RFC 8878); undefined: not compressed. */
async function compressionOf(path: string): Promise<Layer["mediaType"] | undefined> {
  const file = await open(path);
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(4), 0, 4, 0);
    const magic = buffer.toString("hex", 0, bytesRead);
    if (magic.startsWith("1f8b")) return GZIP;
    return magic === "28b52ffd" ? ZSTD : undefined;
  } finally {
    await file.close();
  }
}
