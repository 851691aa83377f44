import { err, ok, type Result } from "../../domain/result.ts";
import { type ImageManifest, imageConfigSchema, imageManifestSchema } from "../../protocol/images.ts";
import { sha256 } from "../ids.ts";
import type { Refusal } from "../refusal.ts";
import { readBlob } from "../store/images/blobs.ts";
import {
  type ImageRow,
  insertImage,
  type NewImage,
  noteLayers,
  sizesOf,
  touchImage,
} from "../store/images/images.ts";
import { bucketFailed } from "./bucket.ts";
import type { Keeping } from "./keeping.ts";
import { readSlices } from "./read.ts";

export interface GivenImage {
  readonly digest: string;
  /** The manifest's text. */
  readonly manifest: string;
  readonly environment: NewImage["environment"];
  readonly actor: string;
}

/** Keeps an image once all of it is there. Answers its bytes. The same again is the same. */
export async function putImage(keeping: Keeping, given: GivenImage): Promise<Result<number, Refusal>> {
  const { db, appId, now } = keeping;
  if (`sha256:${await sha256(given.manifest)}` !== given.digest)
    return err(invalid(`the manifest that was sent as ${given.digest} has another digest`));
  const parsed = parse(given.manifest);
  if (!parsed.ok) return parsed;
  const { config, layers } = parsed.value;
  const complete = await allThere(keeping, [config, ...layers]);
  if (!complete.ok) return complete;
  const diffIds = await filesOf(keeping, config.digest);
  if (!diffIds.ok) return diffIds;
  if (diffIds.value.length !== layers.length)
    return err(
      invalid(`its configuration names ${diffIds.value.length} layers, and the manifest ${layers.length}`),
    );
  const noted = {
    environment: given.environment,
    layers: layers.map((layer, nth) => ({ ...layer, diffId: diffIds.value[nth] ?? "" })),
  };
  const known = await touchImage(db, { appId, digest: given.digest, now });
  if (known) {
    await noteLayers(db, noted);
    return ok(known.bytes);
  }
  const image = rowOf(keeping, given, [config, ...layers]);
  const isKept = await insertImage(db, { image, ...noted });
  return isKept ? ok(image.bytes) : err(incomplete("a part of it went meanwhile: ship again"));
}

const rowOf = (
  { appId, now }: Keeping,
  { digest, manifest, actor }: GivenImage,
  blobs: readonly { readonly digest: string; readonly size: number }[],
): ImageRow => ({
  appId,
  digest,
  manifest,
  blobs: blobs.map((blob) => blob.digest),
  bytes: blobs.reduce((sum, { size }) => sum + size, 0),
  pushedBy: actor,
  usedAt: now,
});

const invalid = (detail: string): Refusal => ({ code: "invalid_request", detail });
const incomplete = (detail: string): Refusal => ({ code: "conflict", detail });

function parse(text: string): Result<ImageManifest, Refusal> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return err(invalid("the manifest is no JSON"));
  }
  const parsed = imageManifestSchema.safeParse(value);
  if (parsed.success) return ok(parsed.data);
  const [issue] = parsed.error.issues;
  return err(invalid(`the manifest is not valid: ${issue?.path.join(".") ?? ""}: ${issue?.message ?? ""}`));
}

async function allThere(
  { db, appId }: Keeping,
  wanted: readonly { readonly digest: string; readonly size: number }[],
): Promise<Result<void, Refusal>> {
  const sizes = await sizesOf(
    db,
    appId,
    wanted.map(({ digest }) => digest),
  );
  for (const { digest, size } of wanted) {
    const has = sizes.get(digest);
    if (has === undefined)
      return err(incomplete(`${digest} is not there: an image is kept when all of it is`));
    if (has !== size) return err(invalid(`${digest} is said to have ${size} bytes, and has ${has}`));
  }
  return ok(undefined);
}

/** Digests of the files of each layer, as the configuration names them. */
async function filesOf({ db, bucket, appId }: Keeping, digest: string): Promise<Result<string[], Refusal>> {
  const blob = await readBlob(db, appId, digest);
  if (!blob) return err(incomplete(`${digest} is not there`));
  try {
    const config: unknown = await new Response(readSlices(bucket, blob.parts)).json();
    const parsed = imageConfigSchema.safeParse(config);
    if (parsed.success) return ok(parsed.data.rootfs.diff_ids);
  } catch (error) {
    if (!(error instanceof SyntaxError)) return err(bucketFailed(error));
  }
  return err(invalid(`${digest} is no image's configuration`));
}
