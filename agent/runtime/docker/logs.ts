import type { Readable } from "node:stream";
import { systemClock } from "../../clock.ts";
import { type LogItem, MAX_LINE_BYTES, type Reading } from "../runtime.ts";
import type { Calls } from "./calls.ts";
import { type Engine, EngineError } from "./engine.ts";

/** How often a container that ended, or an engine that is away, is looked at again. */
const LOOK_MS = 1_000;
/** The engine cuts lines at 16 KiB; a longer frame is none of its log stream. */
const MAX_FRAME_BYTES = 1 << 20;

interface Follow {
  engine: Engine;
  calls: Calls;
  name: string;
  reading: Reading;
  signal: AbortSignal;
}

/**
 * A container's lines. The engine's stream ends with the container, with the engine, or with the connection: it is taken
 * up again behind the last line, until there is no such container.
 */
export async function* followContainer({
  engine,
  calls,
  name,
  reading,
  signal,
}: Follow): AsyncGenerator<LogItem> {
  let next = reading;
  while (!signal.aborted) {
    const openedAt = Date.now();
    try {
      const container = await calls.inspect(name);
      if (!container) return;
      const isBare = container.Config?.Tty === true;
      for await (const line of readLines({ engine, name, reading: next, isBare, signal })) {
        next = { after: line.cursor, follow: reading.follow };
        yield line;
      }
    } catch (thrown) {
      if (signal.aborted || (thrown instanceof EngineError && thrown.status === 404)) return;
      if (!reading.follow) throw thrown;
    }
    if (!reading.follow) return;
    // "The last lines" means those there were when it was asked first.
    if (next === reading && next.tail !== undefined) next = { since: openedAt, follow: true };
    if (!(await writesAgain(calls, name, signal))) return;
  }
}

/** Waits until the container runs. False: it is gone, or nobody waits any more. */
async function writesAgain(calls: Calls, name: string, signal: AbortSignal): Promise<boolean> {
  while (!signal.aborted) {
    await systemClock.sleep(LOOK_MS, signal);
    try {
      const container = await calls.inspect(name);
      if (!container) return false;
      if (container.State.Status === "running") return true;
    } catch {
      // The engine restarts: it will be asked again, and the container may live on.
    }
  }
  return false;
}

type Line = Extract<LogItem, { cursor: string }>;

interface Stretch {
  engine: Engine;
  name: string;
  reading: Reading;
  /** A terminal's output is one stream, and comes without frames. */
  isBare: boolean;
  signal: AbortSignal;
}

async function* readLines({ engine, name, reading, isBare, signal }: Stretch): AsyncGenerator<Line> {
  const seen = parseCursor(reading.after);
  const response = await engine.request("GET", `/containers/${name}/logs`, {
    query: queryOf(reading),
    signal,
  });
  const partial: Partial<Record<Line["stream"], Buffer>> = {};
  const newest: Partial<Record<Line["stream"], Seen>> = {};
  let time = "";
  let nth = 0;
  for await (const { stream, bytes } of isBare ? bareLines(response) : frames(response)) {
    const { stamp, rest } = splitStamp(bytes);
    if (isRepeated(newest[stream], { stamp, bytes })) continue;
    newest[stream] = { stamp, bytes };
    nth = stamp === time ? nth + 1 : 0;
    time = stamp;
    if (seen && stamp === seen.time && nth <= seen.nth) continue;
    const whole = Buffer.concat([partial[stream] ?? NOTHING, rest]);
    // A line longer than the engine's own buffer comes in pieces, of which only the last has its end.
    partial[stream] = whole.at(-1) === NEWLINE ? NOTHING : whole.subarray(0, MAX_LINE_BYTES);
    if (whole.at(-1) !== NEWLINE) continue;
    yield { at: Math.floor(Number(stamp) * 1_000), cursor: `${stamp}:${nth}`, stream, text: textOf(whole) };
  }
  for (const stream of ["stdout", "stderr"] as const) {
    const left = partial[stream];
    if (left?.length)
      yield { at: Math.floor(Number(time) * 1_000), cursor: `${time}:${nth}`, stream, text: textOf(left) };
  }
}

/** Two clocks read in the same millisecond may differ by it. */
const SET_BACK_MS = 1_000;

interface Seen {
  stamp: string;
  bytes: Buffer;
}

/**
 * Around a rotation an engine (seen with 20.10) tells a follower again what it told before. Within one stream time only
 * rises, unless the clock was set back: then the newest moment lies in the future.
 */
function isRepeated(newest: Seen | undefined, { stamp, bytes }: Seen): boolean {
  if (!newest || Number(newest.stamp) * 1_000 > Date.now() + SET_BACK_MS) return false;
  return stamp < newest.stamp || (stamp === newest.stamp && newest.bytes.equals(bytes));
}

const NOTHING = Buffer.alloc(0);
const NEWLINE = 10;

const textOf = (line: Buffer): string =>
  line
    .subarray(0, MAX_LINE_BYTES)
    .toString("utf8")
    .replace(/\r?\n$/, "");

function queryOf({ after, since, tail, follow }: Reading): Record<string, string> {
  const from = parseCursor(after)?.time ?? (since === undefined ? undefined : (since / 1_000).toFixed(3));
  return {
    stdout: "1",
    stderr: "1",
    timestamps: "1",
    ...(follow && { follow: "1" }),
    ...(from !== undefined && { since: from }),
    ...(after === undefined && tail !== undefined && { tail: String(tail) }),
  };
}

/** `<seconds>.<nanoseconds>:<n>`: the n-th piece of that very moment, counted from 0. */
function parseCursor(cursor: string | undefined): { time: string; nth: number } | undefined {
  const [, time, nth] = /^(\d+\.\d{9}):(\d+)$/.exec(cursor ?? "") ?? [];
  return time === undefined ? undefined : { time, nth: Number(nth) };
}

/** The engine puts `2026-11-23T12:00:00.123456789Z ` before each piece. */
function splitStamp(bytes: Buffer): { stamp: string; rest: Buffer } {
  const space = bytes.indexOf(32);
  const written = bytes.subarray(0, Math.max(0, space)).toString("latin1");
  const [, second = "", fraction = ""] =
    /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?Z$/.exec(written) ?? [];
  if (second === "") throw new Error(`the engine sent a log line without its time: ${written.slice(0, 40)}`);
  const stamp = `${Date.parse(`${second}Z`) / 1_000}.${fraction.padEnd(9, "0")}`;
  return { stamp, rest: bytes.subarray(space + 1) };
}

interface Piece {
  stream: Line["stream"];
  bytes: Buffer;
}

/** Frames of the engine's log stream: 1 byte stream, 3 empty, 4 length (big endian), then that many bytes. */
async function* frames(stream: Readable): AsyncGenerator<Piece> {
  let rest = NOTHING;
  for await (const chunk of stream) {
    rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    let at = 0;
    while (rest.length >= at + 8) {
      const length = rest.readUInt32BE(at + 4);
      if (length > MAX_FRAME_BYTES) throw new Error(`the engine sent a log frame of ${length} bytes`);
      if (rest.length < at + 8 + length) break;
      const bytes = rest.subarray(at + 8, at + 8 + length);
      yield { stream: rest[at] === 2 ? "stderr" : "stdout", bytes };
      at += 8 + length;
    }
    rest = rest.subarray(at);
  }
}

async function* bareLines(stream: Readable): AsyncGenerator<Piece> {
  let rest = NOTHING;
  for await (const chunk of stream) {
    // What is beyond the longest line is cut anyway, so it need not be kept.
    rest = Buffer.concat([rest.subarray(0, 2 * MAX_LINE_BYTES), chunk]);
    for (let end = rest.indexOf(NEWLINE); end >= 0; end = rest.indexOf(NEWLINE)) {
      yield { stream: "stdout", bytes: rest.subarray(0, end + 1) };
      rest = rest.subarray(end + 1);
    }
  }
  if (rest.length > 0) yield { stream: "stdout", bytes: Buffer.concat([rest, Buffer.from("\n")]) };
}
