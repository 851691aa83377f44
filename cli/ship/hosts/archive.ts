import { posix } from "node:path";
import type { Readable } from "node:stream";
import { extract } from "tar-stream";
import { z } from "zod";
import { IMAGE_LIMITS, imageConfigSchema } from "../../../src/protocol/images.ts";
import { CliError } from "../../io/problem.ts";

/**
 * What `docker save` writes. Engines before 25 name layers `<id>/layer.tar`, later ones by their digest (`blobs/sha256/…`), and those
 * that keep images in containerd have them compressed as they came. All say in `manifest.json`, which comes last, what is what.
 */
export interface Archive {
  /** By its name, or another one that it was linked by. */
  readonly file: (name: string) => Buffer | undefined;
  readonly nameOf: (name: string) => string;
}

/** What is smaller is kept in memory until it is known what it is. */
const SMALL_BYTES = 1024 * 1024;
/** Of all such files together. */
const SMALL_MOST_BYTES = 256 * 1024 * 1024;

/** Reads the archive to its end. `onLarge` takes a file that is too large to be kept, and reads all of it. */
export async function readArchive(
  stream: Readable,
  onLarge: (name: string, body: AsyncIterable<Buffer>) => Promise<void>,
): Promise<Archive> {
  const small = new Map<string, Buffer>();
  const links = new Map<string, string>();
  let kept = 0;
  const tar = extract();
  stream.on("error", (error) => tar.destroy(error)).pipe(tar);
  for await (const entry of tar) {
    const { name, type, linkname, size = 0 } = entry.header;
    const body = entry as AsyncIterable<Buffer>; // Its types don't say of what.
    if (type === "symlink" && linkname) links.set(name, posix.join(posix.dirname(name), linkname));
    if (type === "link" && linkname) links.set(name, linkname);
    if (type !== "file") entry.resume();
    else if (size > SMALL_BYTES && !(name.endsWith(".json") && size <= IMAGE_LIMITS.configBytes))
      await onLarge(name, body);
    else {
      kept += size;
      if (kept > SMALL_MOST_BYTES) throw unreadable("has more small files than an image can have");
      small.set(name, await whole(body));
    }
  }
  const nameOf = (name: string) => links.get(name) ?? name;
  return { nameOf, file: (name) => small.get(nameOf(name)) };
}

async function whole(body: AsyncIterable<Buffer>): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of body) chunks.push(chunk);
  return Buffer.concat(chunks);
}

const contentsSchema = z.array(z.object({ Config: z.string(), Layers: z.array(z.string()) })).length(1);

export interface Contents {
  readonly config: Buffer;
  /** Names of the layers' files, lowest first, each with the digest of what it holds uncompressed. */
  readonly layers: readonly { readonly name: string; readonly diffId: string }[];
}

/** What of the archive is what. Throws where it is no image that could be shipped. */
export function contentsOf(archive: Archive): Contents {
  const [contents] = parsed(contentsSchema, archive.file("manifest.json"), "manifest.json") ?? [];
  if (!contents) throw unreadable("names no image");
  const config = archive.file(contents.Config);
  const { diff_ids: diffIds } = parsed(imageConfigSchema, config, contents.Config).rootfs;
  if (config === undefined || diffIds.length !== contents.Layers.length)
    throw unreadable(`has ${contents.Layers.length} layers, and a configuration for ${diffIds.length}`);
  const layers = contents.Layers.map((name, nth) => ({
    name: archive.nameOf(name),
    diffId: diffIds[nth] ?? "",
  }));
  return { config, layers };
}

function parsed<T extends z.ZodType>(schema: T, bytes: Buffer | undefined, name: string): z.output<T> {
  if (bytes === undefined) throw unreadable(`has no ${name}`);
  try {
    return schema.parse(JSON.parse(bytes.toString("utf8")));
  } catch (error) {
    throw unreadable(`has a ${name} of another kind: ${error instanceof Error ? error.message : error}`);
  }
}

const unreadable = (what: string) =>
  new CliError("push_failed", `what \`docker save\` wrote can't be read: it ${what}`);
