/** Whether all of a body was read: a longer or slower one is let go of, so that its sender can stop. */
export type BodyEnd = "whole" | "too-long" | "too-slow";

export interface BoundedBody {
  /** What was read: at most as many bytes as were allowed. */
  readonly bytes: Uint8Array;
  readonly end: BodyEnd;
}

/**
 * Reads a body that somebody else may make as long or as slow as they like: at most so many bytes, for at most so many
 * milliseconds, and then cancels it. Rejects when the body breaks off.
 */
export async function readBody(
  body: ReadableStream<Uint8Array> | null,
  most: { readonly bytes: number; readonly ms: number },
): Promise<BoundedBody> {
  if (body === null) return { bytes: new Uint8Array(), end: "whole" };
  const reader = body.getReader();
  const { promise: expired, resolve: expire } = Promise.withResolvers<"too-slow">();
  const timer = setTimeout(() => expire("too-slow"), most.ms);
  const chunks: Uint8Array[] = [];
  let room = most.bytes;
  try {
    while (true) {
      const read = await Promise.race([reader.read(), expired]);
      if (read === "too-slow") return { bytes: joined(chunks), end: "too-slow" };
      if (read.done) return { bytes: joined(chunks), end: "whole" };
      chunks.push(read.value.subarray(0, room));
      if (read.value.length > room) return { bytes: joined(chunks), end: "too-long" };
      room -= read.value.length;
    }
  } finally {
    clearTimeout(timer);
    // Of one that was read to its end nothing is left to cancel; one that can't be cancelled has ended by itself.
    reader.cancel().catch(() => {});
  }
}

/** The text of a body, its broken characters replaced. */
export const textOf = ({ bytes }: BoundedBody): string => new TextDecoder().decode(bytes);

function joined(chunks: readonly Uint8Array[]): Uint8Array {
  const [only] = chunks;
  if (chunks.length === 1 && only !== undefined) return only;
  const whole = new Uint8Array(chunks.reduce((sum, chunk) => sum + chunk.length, 0));
  let at = 0;
  for (const chunk of chunks) {
    whole.set(chunk, at);
    at += chunk.length;
  }
  return whole;
}
