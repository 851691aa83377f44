import { err, ok, type Result } from "../../domain/result.ts";
import { IMAGE_LIMITS } from "../../protocol/images.ts";
import { fromHex } from "../bytes.ts";
import { randomHex } from "../ids.ts";
import type { Refusal } from "../refusal.ts";
import { wordsOf } from "../store/db.ts";
import { beginPart, dropPart, endPart, readPending } from "../store/images/upload-parts.ts";
import { bucketFailed } from "./bucket.ts";
import type { Keeping } from "./keeping.ts";

const LIMITS = IMAGE_LIMITS;

/**
 * Takes a part into the bucket, which compares it with its digest as it comes: nothing of it is read here. The same part again is
 * one that is there.
 */
export async function putPart(
  { db, bucket, appId, now }: Keeping,
  part: { readonly digest: string; readonly size: number; readonly body: ReadableStream | null },
): Promise<Result<void, Refusal>> {
  const { digest, size, body } = part;
  const refused = sizeRefusal(size);
  if (refused || body === null) return err(refused ?? EMPTY);
  const pending = await readPending(db, appId, digest);
  if (pending.isThere) {
    await body.cancel();
    return ok(undefined);
  }
  if (pending.bytes + size > LIMITS.pendingBytes) {
    await body.cancel();
    return err(tooMuch);
  }
  const key = `${appId}/${digest.slice(7)}/${randomHex(8)}`;
  await beginPart(db, { key, appId, digest, size, usedAt: now });
  const failed = await store(bucket, key, { digest, size, body });
  if (failed) {
    // What it can't even remove, the sweep does.
    await bucket.delete(key).then(
      () => dropPart(db, key),
      () => {},
    );
    return err(failed);
  }
  // Given up after a day in which nothing came: then it is as if it had broken off.
  return (await endPart(db, key)) ? ok(undefined) : err(brokenOff(digest));
}

const EMPTY: Refusal = { code: "invalid_request", detail: "a part is the body of its request: it has none" };

function sizeRefusal(size: number): Refusal | undefined {
  if (!Number.isSafeInteger(size) || size < 1)
    return { code: "invalid_request", detail: "a part is sent with its Content-Length" };
  if (size <= LIMITS.partMostBytes) return undefined;
  return {
    code: "body_too_large",
    detail: `a part of ${size} bytes: at most ${LIMITS.partMostBytes} go in one request`,
  };
}

const tooMuch: Refusal = {
  code: "conflict",
  detail: `the app's unfinished uploads come to ${LIMITS.pendingBytes / 1024 ** 3} GiB: they go a day after the last of each was sent`,
};

const brokenOff = (digest: string): Refusal => ({
  code: "invalid_request",
  detail: `the part ${digest} broke off: send it again`,
});

/** That the digest is another one the bucket says in words alone. */
async function store(
  bucket: R2Bucket,
  key: string,
  { digest, size, body }: { readonly digest: string; readonly size: number; readonly body: ReadableStream },
): Promise<Refusal | undefined> {
  try {
    const stored = await bucket.put(key, body, { sha256: fromHex(digest.slice(7)) });
    return stored.size === size ? undefined : brokenOff(digest);
  } catch (error) {
    if (!/SHA-256|checksum|digest/i.test(wordsOf(error))) return bucketFailed(error);
    return { code: "invalid_request", detail: `what was sent as ${digest} has another digest` };
  }
}
