import { err, ok, type Result } from "../../domain/result.ts";
import { IMAGE_LIMITS } from "../../protocol/images.ts";
import { fromHex } from "../bytes.ts";
import { randomHex } from "../ids.ts";
import type { Refusal } from "../refusal.ts";
import { wordsOf } from "../store/db.ts";
import { beginPart, dropPart, endPart, readPending } from "../store/images/parts.ts";
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
  try {
    const stored = await bucket.put(key, body, { sha256: fromHex(digest.slice(7)) });
    if (stored.size !== size) throw new Error(`a part of ${size} bytes came with ${stored.size}`);
  } catch (error) {
    await bucket.delete(key);
    await dropPart(db, key);
    return err(refusalOf(digest, error));
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

/** The bucket says so in words alone. */
function refusalOf(digest: string, error: unknown): Refusal {
  const said = wordsOf(error);
  if (/SHA-256|checksum|digest/i.test(said))
    return { code: "invalid_request", detail: `what was sent as ${digest} has another digest` };
  if (/10001|internal|overload|timeout|unavailable/i.test(said))
    return { code: "unavailable", detail: "the bucket did not take it: try again", retryAfterS: 2 };
  return brokenOff(digest);
}
