import { ProblemError } from "../http/problems.ts";

/** Streams that one principal may have open at a time, in one isolate: as many releases and logs as a team follows at once. */
const MOST = 64;
/** A reader that takes nothing for so long has stalled, or means to. It comes back where it was. */
const PATIENCE_MS = 60_000;
const RETRY_S = 10;

type Stream = ReadableStream<Uint8Array>;

/** Hands streams out to readers: so many for each principal, and to none that doesn't read. */
export class Readers {
  readonly #open = new Map<string, number>();
  readonly #patienceMs: number;

  constructor(patienceMs = PATIENCE_MS) {
    this.#patienceMs = patienceMs;
  }

  /** Opens a stream for a principal. Refused when it has too many; `open` is not called then. */
  open(principal: string, open: () => Promise<Stream>): Promise<Stream>;
  open(principal: string, open: () => Promise<Stream | null>): Promise<Stream | null>;
  async open(principal: string, open: () => Promise<Stream | null>): Promise<Stream | null> {
    this.#admit(principal);
    let handed = false;
    try {
      const source = await open();
      if (source === null) return null;
      const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
      handed = true;
      void this.#pump(source, writable).finally(() => this.#dismiss(principal));
      return readable;
    } finally {
      if (!handed) this.#dismiss(principal);
    }
  }

  #admit(principal: string): void {
    const open = this.#open.get(principal) ?? 0;
    if (open >= MOST) {
      const detail = `this token has ${open} streams open, and may have no more: end some (a \`watch\`, a \`logs --follow\`)`;
      throw new ProblemError({ code: "rate_limited", detail, retryAfterS: RETRY_S });
    }
    this.#open.set(principal, open + 1);
  }

  #dismiss(principal: string): void {
    const left = (this.#open.get(principal) ?? 1) - 1;
    if (left > 0) this.#open.set(principal, left);
    else this.#open.delete(principal);
  }

  /** Never rejects: how a stream ends shows on both of its ends. */
  async #pump(source: ReadableStream<Uint8Array>, writable: WritableStream<Uint8Array>): Promise<void> {
    const reader = source.getReader();
    const writer = writable.getWriter();
    const left = writer.closed.then(
      () => undefined,
      () => "left" as const,
    );
    try {
      for (;;) {
        const read = await Promise.race([reader.read(), left]);
        if (read === "left" || read === undefined) break;
        if (read.done) {
          await writer.close();
          return;
        }
        if (!(await this.#isTaken(writer.write(read.value)))) break;
      }
      throw new Error("the reader takes nothing any more");
    } catch (error) {
      // Both may have ended by themselves.
      await Promise.allSettled([writer.abort(error), reader.cancel(error)]);
    }
  }

  async #isTaken(written: Promise<void>): Promise<boolean> {
    const { promise: late, resolve } = Promise.withResolvers<false>();
    const timer = setTimeout(() => resolve(false), this.#patienceMs);
    try {
      return await Promise.race([
        written.then(
          () => true,
          () => false,
        ),
        late,
      ]);
    } finally {
      clearTimeout(timer);
    }
  }
}
