/** An object of the bucket, by its key, or a piece of it. */
export interface Slice {
  readonly key: string;
  readonly size: number;
  /** Bytes before it in the object. */
  readonly offset?: number;
}

/** The slices one after another as one stream: one object is open at a time, and none is held in memory. */
export function readSlices(bucket: R2Bucket, slices: readonly Slice[]): ReadableStream<Uint8Array> {
  const length = slices.reduce((sum, { size }) => sum + size, 0);
  const { readable, writable } = new FixedLengthStream(length);
  // What goes wrong reaches the reader as the stream's own end.
  void pump(bucket, slices, writable).catch((error) => writable.abort(error).catch(() => {}));
  return readable;
}

async function pump(bucket: R2Bucket, slices: readonly Slice[], writable: WritableStream): Promise<void> {
  for (const { key, size, offset = 0 } of slices) {
    const object = await bucket.get(key, { range: { offset, length: size } });
    if (object === null) throw new Error(`the bucket has no ${key}`);
    await object.body.pipeTo(writable, { preventClose: true, preventAbort: true });
  }
  await writable.close();
}

/** Those slices of the whole that a range of bytes lies in. `end`: the last byte. */
export function within(slices: readonly Slice[], { start, end }: { start: number; end: number }): Slice[] {
  let at = 0;
  return slices.flatMap(({ key, size }) => {
    const from = Math.max(0, start - at);
    const to = Math.min(size, end + 1 - at);
    at += size;
    return from < to ? [{ key, size: to - from, offset: from }] : [];
  });
}

/**
 * `bytes=5-9`, `bytes=5-` (RFC 9110 §14), as first and last byte. Undefined: no range, or one of a kind that may be ignored;
 * `unsatisfiable`: nothing of it is there.
 */
export function rangeOf(
  header: string | undefined,
  size: number,
): { start: number; end: number } | "unsatisfiable" | undefined {
  const [, first, last] = /^bytes=(\d{1,15})-(\d{0,15})$/.exec(header ?? "") ?? [];
  if (first === undefined) return undefined;
  const start = Number(first);
  const end = last ? Math.min(Number(last), size - 1) : size - 1;
  return start < size && start <= end ? { start, end } : "unsatisfiable";
}
