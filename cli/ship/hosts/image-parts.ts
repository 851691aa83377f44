import { createHash } from "node:crypto";
import { createReadStream, createWriteStream } from "node:fs";
import { open } from "node:fs/promises";
import { pipeline } from "node:stream/promises";
import { createGzip } from "node:zlib";
import { IMAGE_LIMITS } from "../../../src/protocol/images.ts";

/** A file as it will be sent: its digest, and those of the parts that it is cut into. */
export interface Cut {
  readonly digest: string;
  readonly size: number;
  readonly parts: readonly Part[];
}
export interface Part {
  readonly digest: string;
  readonly offset: number;
  readonly size: number;
}

/**
 * Fixed, so that the same files make the same blob on the next run. As docker's own: beyond it hardly anything gets smaller, and on
 * most lines it is faster than what it feeds.
 */
const LEVEL = 6;

export const digestOf = (bytes: Uint8Array | string): string =>
  `sha256:${createHash("sha256").update(bytes).digest("hex")}`;

export async function compress(from: string, to: string, signal: AbortSignal): Promise<void> {
  await pipeline(createReadStream(from), createGzip({ level: LEVEL }), createWriteStream(to), { signal });
}

/** Reads a file once, and says what it is to be sent as. */
export async function cut(path: string): Promise<Cut> {
  const whole = createHash("sha256");
  const parts: Part[] = [];
  let [hash, size] = [createHash("sha256"), 0];
  const end = () => {
    const offset = parts.reduce((sum, part) => sum + part.size, 0);
    parts.push({ digest: `sha256:${hash.digest("hex")}`, offset, size });
    [hash, size] = [createHash("sha256"), 0];
  };
  for await (const chunk of createReadStream(path, { highWaterMark: 1024 * 1024 })) {
    whole.update(chunk);
    for (let rest: Buffer = chunk; rest.length > 0; ) {
      const piece = rest.subarray(0, IMAGE_LIMITS.partBytes - size);
      hash.update(piece);
      size += piece.length;
      rest = rest.subarray(piece.length);
      if (size === IMAGE_LIMITS.partBytes) end();
    }
  }
  if (size > 0) end();
  const total = parts.reduce((sum, part) => sum + part.size, 0);
  return { digest: `sha256:${whole.digest("hex")}`, size: total, parts };
}

/** A part's bytes. */
export async function readPart(path: string, { offset, size }: Part): Promise<Uint8Array<ArrayBuffer>> {
  const file = await open(path);
  try {
    const bytes = new Uint8Array(size);
    let read = 0;
    while (read < size) {
      const { bytesRead } = await file.read(bytes, read, size - read, offset + read);
      if (bytesRead === 0) throw new Error(`${path} became shorter while it was read`);
      read += bytesRead;
    }
    return bytes;
  } finally {
    await file.close();
  }
}
