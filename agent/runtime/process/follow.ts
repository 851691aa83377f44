import { type FileHandle, open, stat } from "node:fs/promises";
import { systemClock } from "../../clock.ts";
import { type LogItem, MAX_LINE_BYTES, type Reading } from "../runtime.ts";
import { readLedger } from "./log.ts";

const LOOK_MS = 200;
const BLOCK_BYTES = 64 * 1024;
const NEWLINE = 10;

/**
 * The lines of a log that {@link boundLog} rotates. A cursor is a position counted from the first byte ever written, so it
 * outlives rotation. When a line was written is known as well as somebody looked: on the spot while it is followed, else
 * to a few seconds. Both of the app's streams are in the one file, and can't be told apart.
 */
export async function* followFile(
  file: string,
  reading: Reading,
  signal: AbortSignal,
): AsyncGenerator<LogItem> {
  // Kept open: what was written last is still in it when the instance's folder is gone.
  const handle = await open(file, "r").catch(() => undefined); // never started here
  if (!handle) return;
  try {
    yield* readOn(new LogFile(file, handle), reading, signal);
  } finally {
    await handle.close();
  }
}

async function* readOn(log: LogFile, reading: Reading, signal: AbortSignal): AsyncGenerator<LogItem> {
  const found = await log.end();
  const lines = new Lines(await startOf(log, reading, found));
  let isOver = false;
  while (!signal.aborted) {
    const isGone = reading.follow && (await log.isGone());
    const end = reading.follow ? await log.end() : found;
    while (lines.position < end && !signal.aborted) {
      const block = await log.read(lines.position, Math.min(BLOCK_BYTES, end - lines.position));
      if (block.at > lines.position) {
        yield { droppedBytes: block.at - lines.position };
        lines.skipTo(block.at);
      }
      if (block.bytes.length === 0) break;
      const seenAt = Date.now();
      for (const line of lines.feed(block.bytes)) {
        const at = line.end > found ? seenAt : log.timeOf(line.end);
        if (reading.after === undefined && at < (reading.since ?? 0)) continue;
        yield { at, cursor: String(line.end), stream: "stdout", text: line.text };
      }
    }
    isOver = !reading.follow || isGone;
    if (isOver) break;
    await systemClock.sleep(LOOK_MS, signal);
  }
  const rest = isOver ? lines.rest() : undefined;
  if (rest) yield { at: Date.now(), cursor: String(rest.end), stream: "stdout", text: rest.text };
}

/** The first position that is wanted: the beginning of a line. */
async function startOf(log: LogFile, { after, since, tail }: Reading, end: number): Promise<number> {
  // A cursor beyond the end is of an earlier log under the same name.
  if (after !== undefined) return Number(after) <= end ? Number(after) : 0;
  const fromTime = since === undefined ? 0 : await log.lineAfter(log.positionAt(since));
  if (tail === undefined) return fromTime;
  return Math.max(fromTime, await lastLinesOf(log, tail, end));
}

/** Where the last `count` lines begin. */
async function lastLinesOf(log: LogFile, count: number, end: number): Promise<number> {
  if (count === 0) return end;
  let newlines = 0;
  for (let to = end; to > 0; ) {
    const from = Math.max(0, to - BLOCK_BYTES);
    const { at, bytes } = await readAll(log, from, to);
    for (let n = bytes.length - 1; n >= 0; n--) {
      // The newline at the very end closes the last line, it begins none.
      if (bytes[n] === NEWLINE && at + n + 1 < end && ++newlines === count) return at + n + 1;
    }
    if (at > from || bytes.length === 0) return at;
    to = from;
  }
  return 0;
}

/** What there is between two positions, over as many files as it takes. */
async function readAll(log: LogFile, from: number, to: number): Promise<{ at: number; bytes: Buffer }> {
  const first = await log.read(from, to - from);
  const parts = [first.bytes];
  let position = first.at + first.bytes.length;
  while (position < to) {
    const { at, bytes } = await log.read(position, to - position);
    // Rotated away or cut between two looks: there is no more of it.
    if (bytes.length === 0 || at > position) break;
    parts.push(bytes);
    position += bytes.length;
  }
  return { at: first.at, bytes: Buffer.concat(parts) };
}

/** One log over all the files it was rotated into, addressed by positions from its first byte ever. */
class LogFile {
  readonly #file: string;
  readonly #handle: FileHandle;
  #marks: [number, number][] = [];
  #touchedAt = 0;
  /** As of the last look: a log that was removed took its ledger with it. */
  #lastBase = 0;

  constructor(file: string, handle: FileHandle) {
    this.#file = file;
    this.#handle = handle;
  }

  async end(): Promise<number> {
    for (;;) {
      const { base, marks } = readLedger(this.#file);
      const { size, mtimeMs } = await this.#handle.stat();
      if (await this.isGone()) return this.#lastBase + size;
      if (readLedger(this.#file).base !== base) continue;
      this.#lastBase = base;
      this.#marks = marks;
      this.#touchedAt = Math.floor(mtimeMs);
      return base + size;
    }
  }

  /** Removed, or replaced by another under its name. */
  async isGone(): Promise<boolean> {
    const there = await stat(this.#file).catch(() => undefined); // removed
    return there?.ino !== (await this.#handle.stat()).ino;
  }

  /** Bytes from a position on, or from the oldest that there still is. */
  async read(position: number, length: number): Promise<{ at: number; bytes: Buffer }> {
    for (;;) {
      const base = this.#lastBase;
      const found = position >= base ? await readAt(this.#handle, position - base, length) : undefined;
      const part = found ? { at: position, bytes: found } : await this.#readRotated(position, length, base);
      const now = (await this.isGone()) ? base : readLedger(this.#file).base;
      if (now === base) return part;
      // It was rotated meanwhile: what was read may be of another place.
      this.#lastBase = now;
    }
  }

  async #readRotated(position: number, length: number, base: number) {
    let end = base;
    let oldest: { at: number; bytes: Buffer } = { at: base, bytes: Buffer.alloc(0) };
    for (let n = 1; ; n++) {
      const handle = await open(`${this.#file}.${n}`, "r").catch(() => undefined); // no older one
      if (!handle) return oldest;
      try {
        const start = end - (await handle.stat()).size;
        const from = Math.max(position, start);
        oldest = { at: from, bytes: await readAt(handle, from - start, Math.min(length, end - from)) };
        if (position >= start) return oldest;
        end = start;
      } finally {
        await handle.close();
      }
    }
  }

  /** When the byte before a position was written, at the latest. */
  timeOf(position: number): number {
    return this.#marks.find(([at]) => at >= position)?.[1] ?? this.#touchedAt;
  }

  /** Before it, all was written before that time. */
  positionAt(time: number): number {
    return this.#marks.findLast(([, at]) => at < time)?.[0] ?? 0;
  }

  /** The position itself if a line begins there, else where the next one does. */
  async lineAfter(position: number): Promise<number> {
    if (position === 0) return 0;
    for (let from = position - 1; ; ) {
      const { at, bytes } = await this.read(from, BLOCK_BYTES);
      if (at > from || bytes.length === 0) return at;
      const newline = bytes.indexOf(NEWLINE);
      if (newline >= 0) return at + newline + 1;
      from = at + bytes.length;
    }
  }
}

async function readAt(handle: FileHandle, at: number, length: number): Promise<Buffer> {
  const { buffer, bytesRead } = await handle.read(Buffer.alloc(length), 0, length, at);
  return buffer.subarray(0, bytesRead);
}

/** Cuts bytes into lines, keeping no more of an unfinished one than is shown of it. */
class Lines {
  #unfinished = Buffer.alloc(0);
  position: number;

  constructor(position: number) {
    this.position = position;
  }

  skipTo(position: number): void {
    this.position = position;
    this.#unfinished = Buffer.alloc(0);
  }

  *feed(bytes: Buffer): Generator<{ end: number; text: string }> {
    const start = this.position;
    let from = 0;
    for (let newline = bytes.indexOf(NEWLINE); newline >= 0; newline = bytes.indexOf(NEWLINE, from)) {
      const text = textOf(Buffer.concat([this.#unfinished, bytes.subarray(from, newline)]));
      this.#unfinished = Buffer.alloc(0);
      from = newline + 1;
      yield { end: start + from, text };
    }
    this.#unfinished = Buffer.concat([this.#unfinished, bytes.subarray(from)]).subarray(0, MAX_LINE_BYTES);
    this.position = start + bytes.length;
  }

  /** What its writer did not get to end. */
  rest(): { end: number; text: string } | undefined {
    return this.#unfinished.length > 0 ? { end: this.position, text: textOf(this.#unfinished) } : undefined;
  }
}

const textOf = (line: Buffer): string => line.subarray(0, MAX_LINE_BYTES).toString("utf8").replace(/\r$/, "");
