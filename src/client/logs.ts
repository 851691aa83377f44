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
import { ApiError, ConnectionError, ProtocolError } from "./errors.ts";
import { BACKOFF_MS, connect, messages } from "./feed.ts";
import { type ClientOptions, parseJson, sleep } from "./transport.ts";

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
  const now = wanted.now ?? Date.now;
  const signal = wanted.signal ?? options.signal;
  const query = queryOf(wanted);
  let last: string | undefined;
  let lastContact = now();
  let hadContact = false;
  let giveUpMs = wanted.giveUpMs ?? 60_000;
  for (let failures = 0; ; ) {
    try {
      const body = await connect(options, path, { query, last, signal });
      if (!body) return;
      hadContact = true;
      if (failures > 0) yield { kind: "back" };
      if (wanted.follow) giveUpMs = Number.POSITIVE_INFINITY;
      for await (const message of messages(body, options, { ...wanted, ...(signal ? { signal } : {}) })) {
        lastContact = now();
        failures = 0;
        if (message.id !== undefined) last = message.id;
        yield* itemsOf(message);
        if (message.event === "end") return;
      }
      // Its time was over, or control was deployed anew: it goes on elsewhere.
      await (options.sleep ?? sleep)(BACKOFF_MS[0] ?? 0, signal);
    } catch (error) {
      const canPass = error instanceof ConnectionError || (hadContact && isTrouble(error));
      if (!canPass || now() - lastContact > giveUpMs) throw error;
      const retryInMs = BACKOFF_MS[Math.min(failures++, BACKOFF_MS.length - 1)] ?? 5_000;
      yield { kind: "lost", error, retryInMs };
      await (options.sleep ?? sleep)(retryInMs, signal);
    }
  }
}

/** Control is there, but can't just now. */
const isTrouble = (error: unknown): error is ApiError =>
  error instanceof ApiError && (error.problem.status >= 500 || error.problem.status === 429);

const queryOf = ({ follow, release, host, accessory, since, tail }: LogsOptions) => ({
  follow: follow ? 1 : undefined,
  release,
  host,
  accessory,
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
