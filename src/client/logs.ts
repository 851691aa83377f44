import type { EventSourceMessage } from "eventsource-parser";
import type { z } from "zod";
import {
  type LogEndView,
  type LogGapView,
  type LogHostView,
  type LogLineView,
  logEndSchema,
  logGapSchema,
  logHostSchema,
  logLinesSchema,
} from "../protocol/api/logs.ts";
import { parseJson } from "../protocol/json.ts";
import { ApiError, ConnectionError, ProtocolError } from "./errors.ts";
import { followStream } from "./stream.ts";
import type { ClientOptions } from "./transport.ts";

/** What reading logs yields: lines, what is to be known of them, and what happens to the connection that carries them. */
export type LogItem =
  | { readonly kind: "line"; readonly line: LogLineView }
  | { readonly kind: "gap"; readonly gap: LogGapView }
  | { readonly kind: "host"; readonly host: LogHostView }
  /** There is nothing more to come. */
  | { readonly kind: "end"; readonly end: LogEndView }
  /** The connection broke; it is taken up again after `retryInMs`, behind the last line seen. */
  | { readonly kind: "lost"; readonly error: ConnectionError | ApiError; readonly retryInMs: number }
  /** It was taken up again. */
  | { readonly kind: "back" };

export interface LogsOptions {
  /** Go on with what is written from now on. */
  readonly follow?: boolean | undefined;
  /** Id or version. */
  readonly release?: string | undefined;
  readonly host?: string | undefined;
  readonly accessory?: string | undefined;
  /** Of this run instead, by its id. */
  readonly run?: string | undefined;
  /** `10m`, or an ISO time. */
  readonly since?: string | undefined;
  /** Of each instance. */
  readonly tail?: number | undefined;
  readonly signal?: AbortSignal;
  /** Without a line or heartbeat for so long the connection counts as half-open. Control beats every 10 s. */
  readonly silenceMs?: number;
  /** Without any contact for so long the last ConnectionError is thrown. Default 2 min; once connected, `follow` never gives up. */
  readonly giveUpMs?: number;
  readonly now?: () => number;
}

/**
 * Log lines (SSE) that survive lost connections: reconnects with `Last-Event-ID`, whose lines come neither twice nor not at
 * all. Ends after `end`. A refusal is thrown at once; that control is in trouble only where nothing was read so far.
 */
export async function* followLogs(
  options: ClientOptions,
  path: string,
  wanted: LogsOptions,
): AsyncGenerator<LogItem, void, void> {
  let last: string | undefined;
  yield* followStream<LogItem, ConnectionError | ApiError>(options, path, {
    ...wanted,
    query: queryOf(wanted),
    last: () => last,
    onConnect: (wasLost) => (wasLost ? [{ kind: "back" }] : []),
    take(message) {
      if (message.id !== undefined) last = message.id;
      return itemsOf(message);
    },
    isOver: ({ event }) => event === "end",
    canPass: (error, hadContact): error is ConnectionError | ApiError =>
      error instanceof ConnectionError || (hadContact && isTrouble(error)),
    giveUpMs: (hadContact) =>
      hadContact && wanted.follow ? Number.POSITIVE_INFINITY : (wanted.giveUpMs ?? 60_000),
  });
}

/** Control is there, but can't just now. */
const isTrouble = (error: unknown): error is ApiError =>
  error instanceof ApiError && (error.problem.status >= 500 || error.problem.status === 429);

const queryOf = ({ follow, release, host, accessory, run, since, tail }: LogsOptions) => ({
  follow: follow ? 1 : undefined,
  release,
  host,
  accessory,
  run,
  since,
  tail,
});

/** An event that this version doesn't know comes from a newer control plane, and is skipped. */
function* itemsOf(message: EventSourceMessage): Generator<LogItem> {
  if (message.event === "lines")
    for (const line of parse(logLinesSchema, message).lines) yield { kind: "line", line };
  if (message.event === "gap") yield { kind: "gap", gap: parse(logGapSchema, message) };
  if (message.event === "host") yield { kind: "host", host: parse(logHostSchema, message) };
  if (message.event === "end") yield { kind: "end", end: parse(logEndSchema, message) };
}

function parse<T extends z.ZodType>(schema: T, { event, data }: EventSourceMessage): z.infer<T> {
  const parsed = schema.safeParse(parseJson(data));
  if (parsed.success) return parsed.data;
  throw new ProtocolError(`control sent an event \`${event}\` that isn't one: ${data.slice(0, 200)}`);
}
