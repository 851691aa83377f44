import { spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import { gunzipSync, gzipSync } from "node:zlib";
import { pack } from "tar-stream";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { sendImage } from "../../../cli/ship/hosts/to-hosts.ts";
import type { Client } from "../../../src/client/index.ts";
import { IMAGE_LIMITS, type ImageManifest, type KnownImages } from "../../../src/protocol/images.ts";

/** What `docker save` writes in three generations of engines, as control gets it. */
const sha = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");
const small = Buffer.from("a small layer".repeat(100));

type File = readonly [name: string, content: Buffer | { readonly link: string }];
const contents = (Config: string, Layers: string[]): File => [
  "manifest.json",
  Buffer.from(JSON.stringify([{ Config, RepoTags: null, Layers }])),
];
const names = (files: readonly File[]) => files.map(([name]) => name);
const diffIds = (layers: readonly Buffer[]) => layers.map((bytes) => `sha256:${sha(bytes)}`);
const configOf = (layers: readonly Buffer[]) =>
  Buffer.from(
    JSON.stringify({ architecture: "amd64", rootfs: { type: "layers", diff_ids: diffIds(layers) } }),
  );
/** With the layers by the digest of what the archive holds of them. */
function byDigest(config: Buffer, held: readonly Buffer[]): File[] {
  const layers = held.map((bytes): File => [`blobs/sha256/${sha(bytes)}`, bytes]);
  const at = `blobs/sha256/${sha(config)}`;
  return [...layers, [at, config], contents(at, names(layers))];
}

/** More than is kept in memory until it is known what it is. */
const LAYERS = [randomBytes(1536 * 1024), small];
const [large = small] = LAYERS;
const config = configOf(LAYERS);
const CONFIG = sha(config);
const SINCE_25 = byDigest(config, LAYERS);
const FORMATS: readonly [string, readonly File[]][] = [
  [
    "before 25, one layer a link to another place",
    [
      ["0a/layer.tar", { link: "../0b/layer.tar" }],
      ["0b/layer.tar", large],
      ["0c/layer.tar", small],
      [`${CONFIG}.json`, config],
      contents(`${CONFIG}.json`, ["0a/layer.tar", "0c/layer.tar"]),
    ],
  ],
  ["since 25", SINCE_25],
  [
    "in containerd, compressed as it came",
    byDigest(
      config,
      LAYERS.map((bytes) => gzipSync(bytes)),
    ),
  ],
];

/** Control, as far as images go; `refuseAfter`: of that many parts on, none arrives. */
class Kept {
  readonly parts = new Map<string, Buffer>();
  readonly blobs = new Map<string, Buffer>();
  layers: KnownImages["layers"] = [];
  manifest: ImageManifest | undefined;
  refuseAfter = Number.POSITIVE_INFINITY;
  sent = 0;

  readonly images = {
    known: async (_at: unknown, asked: { layers?: string[]; blobs?: string[]; parts?: string[] }) => ({
      layers: this.layers.filter(({ diffId }) => asked.layers?.includes(diffId)),
      blobs: (asked.blobs ?? []).flatMap((digest) => {
        const size = this.blobs.get(digest)?.length;
        return size === undefined ? [] : [{ digest, size }];
      }),
      parts: (asked.parts ?? []).filter((digest) => this.parts.has(digest)),
    }),
    putPart: async (_at: unknown, digest: string, bytes: Uint8Array) => {
      if (this.sent >= this.refuseAfter) throw new Error("the line was cut");
      this.sent += 1;
      expect(`sha256:${sha(bytes)}`).toBe(digest);
      this.parts.set(digest, Buffer.from(bytes));
    },
    putBlob: async (_at: unknown, digest: string, { size, parts }: { size: number; parts: string[] }) => {
      const whole = Buffer.concat(parts.map((part) => this.parts.get(part) ?? Buffer.alloc(0)));
      expect([whole.length, `sha256:${sha(whole)}`]).toEqual([size, digest]);
      this.blobs.set(digest, whole);
      for (const part of parts) this.parts.delete(part);
    },
    put: async (_at: unknown, digest: string, manifest: string) => {
      expect(digest).toBe(`sha256:${sha(Buffer.from(manifest))}`);
      this.manifest = JSON.parse(manifest);
      return `sluice.local/shop@${digest}`;
    },
  } as unknown as Client["images"];
}

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "to-hosts-"));
});
afterAll(() => rm(folder, { recursive: true }));

/** A docker that answers with this archive, of an image with these layers. */
async function dockerWith(files: readonly File[], layers: readonly Buffer[] = LAYERS): Promise<string> {
  const bin = await mkdtemp(join(folder, "bin-"));
  const tar = pack();
  for (const [name, content] of files)
    if (Buffer.isBuffer(content)) tar.entry({ name }, content);
    else tar.entry({ name, type: "symlink", linkname: content.link });
  tar.finalize();
  await writeFile(join(bin, "saved.tar"), await buffer(tar));
  const script = `#!/bin/sh\ncase "$1" in\n  image) echo '${JSON.stringify(diffIds(layers))}';;\n  save) cat "${bin}/saved.tar";;\nesac\n`;
  await writeFile(join(bin, "docker"), script);
  await chmod(join(bin, "docker"), 0o755);
  return bin;
}

async function send(kept: Kept, bin: string) {
  return sendImage({
    client: { images: kept.images } as Client,
    at: { app: "shop", environment: "production" },
    reference: "sluice.local/shop:1",
    tools: {
      cwd: folder,
      env: { PATH: `${bin}:/usr/bin:/bin` },
      signal: new AbortController().signal,
    },
    line: () => {},
  });
}

describe("an image of an engine", () => {
  test.each(FORMATS)("%s: is sent whole, and again as nothing", async (_, files) => {
    const kept = new Kept();
    const bin = await dockerWith(files);
    const first = await send(kept, bin);
    expect(first.layers).toBe(2);
    expect(first.sent.blobs).toBe(3);
    expect(kept.blobs.get(kept.manifest?.config.digest ?? "")).toEqual(config);
    const unpacked = kept.manifest?.layers.map(({ digest }) =>
      gunzipSync(kept.blobs.get(digest) ?? Buffer.alloc(0)),
    );
    expect(unpacked?.map(sha)).toEqual(LAYERS.map(sha));
    // By its files' digest, as control tells who shipped before; and without that, by what it was compressed to.
    const hints = kept.manifest?.layers.map((layer, nth) => ({
      ...layer,
      diffId: `sha256:${sha(LAYERS[nth] ?? small)}`,
    }));
    for (const layers of [hints ?? [], []]) {
      kept.layers = layers;
      const again = await send(kept, bin);
      expect(again).toEqual({ ...first, sent: { bytes: 0, blobs: 0 } });
    }
  });

  test("that was cut short goes on with the next part", async () => {
    const kept = new Kept();
    kept.refuseAfter = 1;
    // In two parts, and not compressed anew by each run.
    const layers = [randomBytes(IMAGE_LIMITS.partBytes + 1), small];
    const stored = layers.map((bytes) => gzipSync(bytes, { level: 0 }));
    const bin = await dockerWith(byDigest(configOf(layers), stored), layers);
    await expect(send(kept, bin)).rejects.toThrow("the line was cut");
    kept.refuseAfter = Number.POSITIVE_INFINITY;
    const there = [...kept.parts.values()].reduce((sum, { length }) => sum + length, 0);
    expect(there).toBeGreaterThan(0);
    const { sent } = await send(kept, bin);
    const all = [...kept.blobs.values()].reduce((sum, { length }) => sum + length, 0);
    expect(sent.bytes).toBe(all - there);
  });

  test("that control refuses ends with its words, whatever docker makes of being ended", async () => {
    const kept = new Kept();
    kept.refuseAfter = 0;
    const bin = await dockerWith(SINCE_25);
    const script = await readFile(join(bin, "docker"), "utf8");
    // As docker does since 28: a signal makes it exit with a code of its own.
    await writeFile(
      join(bin, "docker"),
      script.replace(/save\) (.*);;/, "save) trap 'exit 143' TERM; $1; cat \"$0\" /dev/zero;;"),
    );
    vi.stubEnv("TMPDIR", bin);
    await expect(send(kept, bin)).rejects.toThrow("the line was cut");
    // Nor is anything of the image left on this machine's disk.
    expect((await readdir(bin)).toSorted()).toEqual(["docker", "saved.tar"]);
    vi.unstubAllEnvs();
  });

  test("takes with it what killed runs left on this machine's disk, and nobody else's", async () => {
    const place = await mkdtemp(join(folder, "tmp-"));
    const ended = spawn("true");
    await once(ended, "close");
    const lie = async (name: string) => {
      await mkdir(join(place, name));
      await writeFile(join(place, name, "layer.tar"), "");
      return name;
    };
    await lie(`sluice-ship-${ended.pid}@${hostname()}-Ab12Cd`);
    const left = [
      await lie(`sluice-ship-${process.pid}@${hostname()}-Ab12Cd`),
      await lie(`sluice-ship-${ended.pid}@elsewhere-Ab12Cd`),
      await lie(`sluice-ship-${ended.pid}@${hostname()}-kept by hand`),
    ];
    vi.stubEnv("TMPDIR", place);
    await send(new Kept(), await dockerWith(FORMATS[1]?.[1] ?? []));
    expect((await readdir(place)).toSorted()).toEqual(left.toSorted());
    vi.unstubAllEnvs();
  });

  test("that docker saves in another way than it says is refused in words", async () => {
    const layers = names(SINCE_25).slice(0, LAYERS.length);
    const swapped = [...SINCE_25.slice(0, -1), contents(`blobs/sha256/${CONFIG}`, layers.toReversed())];
    await expect(send(new Kept(), await dockerWith(swapped))).rejects.toThrow("another layer than it says");
    const none = await dockerWith(SINCE_25.slice(0, -1));
    await expect(send(new Kept(), none)).rejects.toThrow("has no manifest.json");
    await writeFile(
      join(none, "docker"),
      "#!/bin/sh\n[ $1 = image ] && echo '[]' || { echo no space left on device >&2; exit 1; }\n",
    );
    await expect(send(new Kept(), none)).rejects.toThrow("the disk is full");
  });
});
