import { describe, expect, it } from "vitest";
import { readBody, textOf } from "../../src/streams/bounded-body.ts";

/** A body of the given pieces, which never ends unless told to, and says when it is let go of. */
function bodyOf(pieces: readonly string[], { ends }: { ends: boolean }) {
  const state = { cancelled: false, pulled: 0 };
  const encoder = new TextEncoder();
  const body = new ReadableStream<Uint8Array>({
    pull(controller) {
      const piece = pieces[state.pulled];
      state.pulled += 1;
      if (piece !== undefined) controller.enqueue(encoder.encode(piece));
      else if (ends) controller.close();
      else return new Promise(() => {});
    },
    cancel() {
      state.cancelled = true;
    },
  });
  return { body, state };
}
const read = async (body: ReadableStream<Uint8Array> | null, bytes = 10, ms = 1_000) => {
  const got = await readBody(body, { bytes, ms });
  return [textOf(got), got.end];
};

describe("reading a body with a limit", () => {
  it("gives all of one that keeps to it", async () => {
    expect(await read(bodyOf(["abc", "defg"], { ends: true }).body)).toEqual(["abcdefg", "whole"]);
    expect(await read(bodyOf(["0123456789"], { ends: true }).body)).toEqual(["0123456789", "whole"]);
    expect(await read(bodyOf([], { ends: true }).body)).toEqual(["", "whole"]);
    expect(await read(null)).toEqual(["", "whole"]);
  });

  it("lets go of one that is longer", async () => {
    const { body, state } = bodyOf(Array(1_000).fill("abcdef"), { ends: false });
    expect(await read(body)).toEqual(["abcdefabcd", "too-long"]);
    expect(state.cancelled).toBe(true);
    expect(state.pulled).toBeLessThan(5);
  });

  it("lets go of one that doesn't come to its end in time", async () => {
    const { body, state } = bodyOf(["abc"], { ends: false });
    expect(await read(body, 10, 20)).toEqual(["abc", "too-slow"]);
    expect(state.cancelled).toBe(true);
  });

  it("fails with one that breaks off", async () => {
    const broken = new ReadableStream<Uint8Array>({
      pull() {
        throw new Error("cut");
      },
    });
    await expect(read(broken)).rejects.toThrow("cut");
  });
});
