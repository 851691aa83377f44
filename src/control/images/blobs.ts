import { err, ok, type Result } from "../../domain/result.ts";
import { toHex } from "../bytes.ts";
import type { Refusal } from "../refusal.ts";
import { insertBlob, readBlob } from "../store/images/blobs.ts";
import { findPending } from "../store/images/upload-parts.ts";
import { bucketFailed } from "./bucket.ts";
import type { Keeping } from "./keeping.ts";
import { readSlices, type Slice } from "./read.ts";

export interface NewBlob {
  readonly digest: string;
  readonly size: number;
  /** Digests of its parts, in their order. */
  readonly parts: readonly string[];
}

/**
 * Makes a blob of parts that are there. Of one part the bucket has compared the digest already; of several all are read once
 * more, as a stream, for the digest of the whole.
 */
export async function putBlob(keeping: Keeping, blob: NewBlob): Promise<Result<void, Refusal>> {
  const { db, appId, now } = keeping;
  const there = await readBlob(db, appId, blob.digest);
  if (there) return there.size === blob.size ? ok(undefined) : err(otherSize(blob, there.size));
  const pending = await findPending(db, appId, blob.parts);
  const missing = blob.parts.filter((digest) => !pending.has(digest));
  if (missing.length > 0) return err(lacks(blob, missing));
  const parts = blob.parts.flatMap((digest) => pending.get(digest) ?? []);
  const size = parts.reduce((sum, part) => sum + part.size, 0);
  if (size !== blob.size) return err(otherSize(blob, size));
  const digest = await digestOf(keeping, blob, parts);
  if (!digest.ok) return digest;
  if (digest.value !== blob.digest) return err(forged(blob));
  if (await insertBlob(db, { appId, digest: blob.digest, size, parts, usedAt: now })) return ok(undefined);
  // Another upload of the same blob was faster, or took a part for another one.
  return (await readBlob(db, appId, blob.digest)) ? ok(undefined) : err(lacks(blob, blob.parts));
}

async function digestOf(
  { bucket }: Keeping,
  { parts: [only, ...others] }: NewBlob,
  parts: readonly Slice[],
): Promise<Result<string | undefined, Refusal>> {
  if (others.length === 0) return ok(only);
  const hash = new crypto.DigestStream("SHA-256");
  try {
    const [digest] = await Promise.all([hash.digest, readSlices(bucket, parts).pipeTo(hash)]);
    return ok(`sha256:${toHex(digest)}`);
  } catch (error) {
    return err(bucketFailed(error));
  }
}

const otherSize = ({ digest, size }: NewBlob, has: number): Refusal => ({
  code: "invalid_request",
  detail: `${digest} is said to have ${size} bytes, and has ${has}`,
});
const forged = ({ digest }: NewBlob): Refusal => ({
  code: "invalid_request",
  detail: `the parts that were sent for ${digest} have another digest together`,
});
const lacks = ({ digest }: NewBlob, missing: readonly string[]): Refusal => ({
  code: "conflict",
  detail: `${missing.length} of the parts of ${digest} are not there (any more): send them again`,
});
