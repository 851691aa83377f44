import { createParser, type EventSourceMessage } from "eventsource-parser";
import { EVENT_TYPES, type EventView, eventSchema } from "../protocol/api/events.ts";
import { ConnectionError, ProtocolError } from "./errors.ts";
import {
  asClientError,
  type Call,
  type ClientOptions,
  parseJson,
  refuseErrors,
  request,
  sleep,
  tellingWhenSlow,
  urlOf,
} from "./transport.ts";

/** What following a release yields: its events, and what happens to the connection that carries them. */
export type FeedItem =
  | { readonly kind: "event"; readonly event: EventView }
  /** The server is there and the release is still on its way. Also given right after connecting. */
  | { readonly kind: "heartbeat" }
  /** The connection broke; it is taken up again after `retryInMs`, from the last event seen. */
  | { readonly kind: "lost"; readonly error: ConnectionError; readonly retryInMs: number };

export interface FollowOptions {
  /** Only events after this id. Default: from the beginning. */
  readonly after?: number;
  readonly signal?: AbortSignal;
  /** Without an event or heartbeat for so long the connection counts as half-open. Control beats every 10 s. */
  readonly silenceMs?: number;
  /** Without any contact for so long the last ConnectionError is thrown. */
  readonly giveUpMs?: number;
  readonly now?: () => number;
}

export const BACKOFF_MS = [250, 500, 1_000, 2_000, 5_000];

/**
 * An event feed (SSE) that survives lost connections: reconnects with `Last-Event-ID`, drops what it has seen, and ends
 * when control says there is no more (204). Throws ApiError at once, ConnectionError only after `giveUpMs` without contact.
 */
export async function* followFeed(
  options: ClientOptions,
  path: string,
  follow: FollowOptions,
): AsyncGenerator<FeedItem, void, void> {
  const now = follow.now ?? Date.now;
  const signal = follow.signal ?? options.signal;
  let last = follow.after;
  let lastContact = now();
  for (let failures = 0; ; ) {
    try {
      const body = await tellingWhenSlow(options, () => connect(options, path, { last, signal }));
      if (!body) return;
      lastContact = now();
      yield { kind: "heartbeat" };
      for await (const message of messages(body, options, { ...follow, ...(signal ? { signal } : {}) })) {
        lastContact = now();
        failures = 0;
        const item = toItem(message, last);
        if (item?.kind === "event") last = item.event.id;
        if (item) yield item;
      }
      // An orderly end: ask again, control answers 204 if the release is over.
      await (options.sleep ?? sleep)(BACKOFF_MS[Math.min(failures++, 4)] ?? 0, signal);
    } catch (error) {
      const transient = error instanceof ConnectionError;
      if (!transient || now() - lastContact > (follow.giveUpMs ?? 60_000)) throw error;
      const retryInMs = BACKOFF_MS[Math.min(failures++, BACKOFF_MS.length - 1)] ?? 5_000;
      yield { kind: "lost", error, retryInMs };
      await (options.sleep ?? sleep)(retryInMs, signal);
    }
  }
}

/** Where a stream of server-sent events is, and from which of its events on. */
export interface StreamPlace {
  readonly query?: Call["query"];
  readonly last: string | number | undefined;
  readonly signal: AbortSignal | undefined;
}

/** Undefined: 204, there is nothing more to come. */
export async function connect(
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
  // The deadline covers only the way to the headers: the stream itself is watched by its heartbeats.
  const deadline = new AbortController();
  const timer = setTimeout(() => deadline.abort(), options.timeoutMs ?? 15_000);
  try {
    const signal = at.signal ? AbortSignal.any([at.signal, deadline.signal]) : deadline.signal;
    const response = await request(options, call, signal);
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

export async function* messages(
  body: ReadableStream<Uint8Array>,
  options: ClientOptions,
  follow: Pick<FollowOptions, "signal" | "silenceMs">,
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

function toItem(message: EventSourceMessage, last: number | undefined): FeedItem | undefined {
  if (message.event === "heartbeat") return { kind: "heartbeat" };
  const known: readonly string[] = EVENT_TYPES;
  // A type this version doesn't know comes from a newer control plane: skipped, the release's state still tells the end.
  if (message.event !== undefined && !known.includes(message.event)) return undefined;
  const parsed = eventSchema.safeParse(parseJson(message.data));
  if (!parsed.success)
    throw new ProtocolError(`control sent an event that isn't one: ${message.data.slice(0, 200)}`);
  return last !== undefined && parsed.data.id <= last ? undefined : { kind: "event", event: parsed.data };
}
