import { createParser, type EventSourceMessage } from "eventsource-parser";
import { ConnectionError, ProtocolError } from "./errors.ts";
import {
  asClientError,
  type Call,
  type ClientOptions,
  refuseErrors,
  request,
  sleep,
  tellingWhenSlow,
  urlOf,
  withToken,
} from "./transport.ts";

const BACKOFF_MS = [250, 500, 1_000, 2_000, 5_000];

/** The connection broke; it is taken up again after `retryInMs`. */
interface Lost<E> {
  readonly kind: "lost";
  readonly error: E;
  readonly retryInMs: number;
}

/** A stream of server-sent events as its reader wants it. */
interface Reading<T, E> {
  readonly query?: Call["query"];
  readonly signal?: AbortSignal | undefined;
  /** Without a message for so long the connection counts as half-open. */
  readonly silenceMs?: number;
  readonly now?: () => number;
  /** Id of the last event that was taken: the stream is read on behind it. */
  last(): string | number | undefined;
  /** Told each time the connection stands; `wasLost`: it is not the first, and the one before broke. */
  onConnect(wasLost: boolean): readonly T[];
  take(message: EventSourceMessage): Iterable<T>;
  /** Nothing comes behind this message. */
  isOver(message: EventSourceMessage): boolean;
  /** Whether to try again after this; what can't pass is thrown at once. */
  canPass(error: unknown, hadContact: boolean): error is E;
  /** Without any contact for so long the last error is thrown. */
  giveUpMs(hadContact: boolean): number;
}

/**
 * Reads a stream of server-sent events across lost connections, with `Last-Event-ID`, until a message that ends it or until
 * control says that there is no more (204).
 */
export async function* followStream<T, E>(
  options: ClientOptions,
  path: string,
  reading: Reading<T, E>,
): AsyncGenerator<T | Lost<E>, void, void> {
  const now = reading.now ?? Date.now;
  const signal = reading.signal ?? options.signal;
  const pause = options.sleep ?? sleep;
  let lastContact = now();
  let hadContact = false;
  let wasLost = false;
  for (let failures = 0; ; failures++) {
    try {
      const place = { query: reading.query, last: reading.last(), signal };
      const body = await tellingWhenSlow(options, () => connect(options, path, place));
      if (!body) return;
      lastContact = now();
      hadContact = true;
      yield* reading.onConnect(wasLost);
      wasLost = false;
      for await (const message of messages(body, options, { signal, silenceMs: reading.silenceMs })) {
        lastContact = now();
        failures = 0;
        yield* reading.take(message);
        if (reading.isOver(message)) return;
      }
      // An orderly end: its time was over, or control was deployed anew. It goes on elsewhere.
      await pause(backoff(failures), signal);
    } catch (error) {
      if (!reading.canPass(error, hadContact)) throw error;
      if (now() - lastContact > reading.giveUpMs(hadContact)) throw error;
      wasLost = true;
      const retryInMs = backoff(failures);
      yield { kind: "lost", error, retryInMs };
      await pause(retryInMs, signal);
    }
  }
}

const backoff = (failures: number): number => BACKOFF_MS[Math.min(failures, BACKOFF_MS.length - 1)] ?? 5_000;

/** Where a stream of server-sent events is, and from which of its events on. */
interface StreamPlace {
  readonly query: Call["query"];
  readonly last: string | number | undefined;
  readonly signal: AbortSignal | undefined;
}

/** Undefined: 204, there is nothing more to come. */
async function connect(
  options: ClientOptions,
  path: string,
  at: StreamPlace,
): Promise<ReadableStream<Uint8Array> | undefined> {
  const call: Call = {
    method: "GET",
    path,
    ...(at.query ? { query: at.query } : {}),
    headers: {
      accept: "text/event-stream",
      ...(at.last === undefined ? {} : { "last-event-id": String(at.last) }),
    },
    signal: at.signal,
  };
  const withOne = await withToken(options);
  // The deadline covers only the way to the headers: the stream itself is watched by its heartbeats.
  const deadline = new AbortController();
  const timer = setTimeout(() => deadline.abort(), options.timeoutMs ?? 15_000);
  try {
    const signal = at.signal ? AbortSignal.any([at.signal, deadline.signal]) : deadline.signal;
    const response = await request(withOne, call, signal);
    if (response.status === 204) return undefined;
    const type = response.headers.get("content-type") ?? "";
    if (response.ok && response.body && type.startsWith("text/event-stream")) return response.body;
    const answer = { status: response.status, headers: response.headers, text: await response.text() };
    refuseErrors(urlOf(options, call), answer);
    throw new ProtocolError(
      `${urlOf(options, call)} answered ${type || "no content type"}, not an event feed`,
    );
  } catch (error) {
    throw asClientError(error, { options, call, timedOut: deadline.signal.aborted });
  } finally {
    clearTimeout(timer);
  }
}

async function* messages(
  body: ReadableStream<Uint8Array>,
  options: ClientOptions,
  follow: { readonly signal: AbortSignal | undefined; readonly silenceMs: number | undefined },
): AsyncGenerator<EventSourceMessage, void, void> {
  const silenceMs = follow.silenceMs ?? 15_000;
  const reader = body.getReader();
  const decoder = new TextDecoder();
  const ready: EventSourceMessage[] = [];
  const parser = createParser({ onEvent: (message) => ready.push(message), maxBufferSize: 1_000_000 });
  let silent = false;
  try {
    for (;;) {
      const timer = setTimeout(() => {
        silent = true;
        // A read that waits ends as if the stream had; cancelling a dead stream may itself fail, and that is all right.
        reader.cancel().catch(() => undefined);
      }, silenceMs);
      const chunk = await reader.read().finally(() => clearTimeout(timer));
      if (silent) throw new Error(`no heartbeat for ${silenceMs / 1000} s`);
      if (chunk.done) return;
      parser.feed(decoder.decode(chunk.value, { stream: true }));
      yield* ready.splice(0);
    }
  } catch (error) {
    if (follow.signal?.aborted) throw follow.signal.reason;
    const reason = error instanceof Error ? error.message : String(error);
    const message = `lost the event feed of ${options.url}: ${reason}`;
    throw new ConnectionError(message, { url: options.url, cause: error, timedOut: silent });
  } finally {
    reader.cancel().catch(() => undefined); // Already broken or done: nothing left to release.
  }
}
