import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Client } from "../../../src/client/index.ts";
import {
  CONFIG_TYPE,
  type ImageManifest,
  type KnownImages,
  MANIFEST_TYPE,
} from "../../../src/protocol/images.ts";
import { CliError } from "../../io/problem.ts";
import { failureOf } from "../image.ts";
import { pipeTool, runTool, type ToolOptions } from "../tool.ts";
import { type Contents, contentsOf, readArchive } from "./archive.ts";
import { withFolder } from "./folder.ts";
import { cut, digestOf } from "./image-parts.ts";
import { Layers } from "./layers.ts";
import { type Sending, type Sent, sendBlob } from "./send.ts";

export interface ToHosts {
  readonly client: Client;
  readonly at: { readonly app: string; readonly environment: string };
  /** As the engine calls it. */
  readonly reference: string;
  readonly tools: ToolOptions;
  readonly line: (text: string) => void;
}

/** An image at control, and what had to be sent for it. */
export interface Shipped {
  /** `sluice.local/shop@sha256:…` */
  readonly image: string;
  readonly layers: number;
  readonly sent: Readonly<Sent>;
}

/** The digests of an image's layers, uncompressed; undefined: the engine has no such image. */
export async function layersOf(reference: string, tools: ToolOptions): Promise<string[] | undefined> {
  const format = "--format={{json .RootFS.Layers}}";
  const ended = await runTool(["docker", "image", "inspect", format, reference], tools);
  if (ended.code !== 0) return undefined;
  return JSON.parse(ended.stdout.trim()) ?? [];
}

/**
 * Sends an image of this machine's engine to control: what control lacks of it, and no more. Can be repeated; what an earlier run sent
 * stays sent. Throws where the engine, the network or control ends it.
 */
export async function sendImage({ client, at, reference, tools, line }: ToHosts): Promise<Shipped> {
  const diffIds = await layersOf(reference, tools);
  if (!diffIds)
    throw new CliError("push_failed", `the engine has no ${reference}: build it first`, {
      next: [{ command: "sluice ship --from build", when: "an earlier run built another commit" }],
    });
  const { images } = client;
  const sent: Sent = { bytes: 0, blobs: 0 };
  const sending: Sending = { images, at, sent, line };
  const { layers: known } = await images.known(at, { layers: diffIds });
  return withFolder(async (folder) => {
    const manifest = await manifestOf(sending, { reference, tools, folder, known });
    const text = JSON.stringify(manifest);
    const image = await images.put(at, digestOf(text), text);
    return { image, layers: manifest.layers.length, sent };
  });
}

interface Saving {
  readonly reference: string;
  readonly tools: ToolOptions;
  readonly folder: string;
  readonly known: KnownImages["layers"];
}

async function manifestOf(
  sending: Sending,
  { reference, tools, folder, known }: Saving,
): Promise<ImageManifest> {
  const layers = new Layers(sending, { folder, known, signal: tools.signal });
  let contents: Contents | undefined;
  const ended = await pipeTool(["docker", "save", reference], tools, async (stdout) => {
    const archive = await readArchive(stdout, (name, body) => layers.take(name, body));
    contents = contentsOf(archive);
    // What was small enough to wait until it was known to be a layer.
    for (const { name } of contents.layers) {
      const bytes = archive.file(name);
      if (bytes && !layers.of(name)) await layers.take(name, bytes);
    }
  });
  if (ended.code !== 0 || !contents)
    throw failureOf("push_failed", `${reference} was not read from the engine`, { ...ended, stdout: "" });
  const config = await sendConfig(sending, folder, contents.config);
  return {
    schemaVersion: 2,
    mediaType: MANIFEST_TYPE,
    config: { mediaType: CONFIG_TYPE, ...config },
    layers: contents.layers.map(({ name, diffId }) => {
      const taken = layers.of(name);
      if (taken && (taken.diffId ?? diffId) === diffId) return taken.layer;
      throw new CliError("push_failed", `the engine saved another layer than it says: ${diffId}`);
    }),
  };
}

async function sendConfig(sending: Sending, folder: string, config: Buffer) {
  const path = join(folder, "config.json");
  await writeFile(path, config);
  const file = await cut(path);
  await sendBlob(sending, path, file);
  return { digest: file.digest, size: file.size };
}
