import type { Client } from "../../../src/client/index.ts";
import { dataSize } from "../../../src/domain/data-size.ts";
import { type Cut, type Part, readPart } from "./image-parts.ts";

/** Where an image is sent to, and what it came to. */
export interface Sending {
  readonly images: Client["images"];
  readonly at: { readonly app: string; readonly environment: string };
  readonly sent: Sent;
  readonly line: (text: string) => void;
}
export interface Sent {
  /** Over the line. */
  bytes: number;
  blobs: number;
}

/** Parts on their way at once: each is held in memory. */
const AT_ONCE = 3;

/** Has a file at control as a blob. Of what is there already nothing is sent: neither the whole, nor parts of an earlier run. */
export async function sendBlob(sending: Sending, path: string, file: Cut): Promise<void> {
  const { images, at, sent } = sending;
  const digests = [...new Set(file.parts.map(({ digest }) => digest))];
  const known = await images.known(at, { blobs: [file.digest], parts: digests });
  if (known.blobs.some(({ size }) => size === file.size)) return;
  const missing = new Map(
    file.parts.filter(({ digest }) => !known.parts.includes(digest)).map((part) => [part.digest, part]),
  );
  await sendParts(sending, path, [...missing.values()]);
  await images.putBlob(at, file.digest, { size: file.size, parts: file.parts.map(({ digest }) => digest) });
  if (missing.size > 0) sent.blobs += 1;
}

/** A few at once; the first that fails ends the others. */
async function sendParts(
  { images, at, sent, line }: Sending,
  path: string,
  parts: readonly Part[],
): Promise<void> {
  const whole = parts.reduce((sum, { size }) => sum + size, 0);
  let [next, done, failed] = [0, 0, false];
  const worker = async () => {
    for (let part = parts[next++]; part && !failed; part = parts[next++]) {
      try {
        await images.putPart(at, part.digest, await readPart(path, part));
      } catch (error) {
        failed = true;
        throw error;
      }
      sent.bytes += part.size;
      done += part.size;
      line(`${dataSize(done)} of ${dataSize(whole)} sent of this layer`);
    }
  };
  const ends = await Promise.allSettled(Array.from({ length: AT_ONCE }, worker));
  const bad = ends.find((end) => end.status === "rejected");
  if (bad) throw bad.reason;
}
