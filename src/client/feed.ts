import type { EventSourceMessage } from "eventsource-parser";
import { EVENT_TYPES, type EventView, eventSchema } from "../protocol/api/events.ts";
import { parseJson } from "../protocol/json.ts";
import { ConnectionError, ProtocolError } from "./errors.ts";
import { followStream } from "./stream.ts";
import type { ClientOptions } from "./transport.ts";

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

/**
 * An event feed (SSE) that survives lost connections: reconnects with `Last-Event-ID`, drops what it has seen, and ends
 * when control says there is no more (204). Throws ApiError at once, ConnectionError only after `giveUpMs` without contact.
 */
export async function* followFeed(
  options: ClientOptions,
  path: string,
  follow: FollowOptions,
): AsyncGenerator<FeedItem, void, void> {
  let last = follow.after;
  yield* followStream<FeedItem, ConnectionError>(options, path, {
    ...follow,
    last: () => last,
    onConnect: () => [{ kind: "heartbeat" }],
    take(message) {
      const item = toItem(message, last);
      if (item?.kind === "event") last = item.event.id;
      return item ? [item] : [];
    },
    // An orderly end: ask again, control answers 204 if the release is over.
    isOver: () => false,
    canPass: (error) => error instanceof ConnectionError,
    giveUpMs: () => follow.giveUpMs ?? 60_000,
  });
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
