import { isAtRest } from "../../domain/rollout/release.ts";
import { iso } from "../iso.ts";
import { logFailure } from "../log.ts";
import type { Db } from "../store/db.ts";
import { readFeed } from "../store/events.ts";
import { eventView } from "../views/rows.ts";

export interface FeedTimes {
  /** Between two looks while something happens, and when nothing has for a while. */
  readonly busyMs: number;
  readonly quietMs: number;
  readonly quietAfterMs: number;
  readonly heartbeatMs: number;
  /**
   * Looks per connection: a Worker on the Free plan may make 50 queries for one request, and those of the reader's token are among
   * them. The client comes back where it was.
   */
  readonly maxLooks: number;
}
export const FEED_TIMES: FeedTimes = {
  busyMs: 250,
  quietMs: 1_000,
  quietAfterMs: 10_000,
  heartbeatMs: 10_000,
  maxLooks: 40,
};

export interface FeedStart {
  readonly db: Db;
  readonly release: string;
  /** Id of the last event the reader has. */
  readonly after: number;
  readonly now: () => number;
  readonly times: FeedTimes;
  /** Whether the reader's token is still good: asked with each heartbeat. */
  readonly isWelcome: () => Promise<boolean>;
}

/**
 * A release's events as server-sent events, until it is at rest. Null: it is, and nothing is newer than `after`.
 * The heartbeat is a named event without an id: a client can see it (as it can't a comment), and goes on from the last
 * real one.
 */
export async function openFeed(start: FeedStart): Promise<ReadableStream<Uint8Array> | null> {
  const first = await readFeed(start.db, start.release, start.after);
  if (isOver(first) && first.events.length === 0) return null;
  const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
  // Not awaited: it goes on while the answer streams. Its errors end in the stream, where the client sees them.
  void write(start, first, writable.getWriter());
  return readable;
}

type Look = Awaited<ReturnType<typeof readFeed>>;

/** One that settles may yet be taken back by its workers. */
const isOver = ({ state, hasWorkers }: Look) =>
  state === undefined || (isAtRest(state) && !(state === "settling" && hasWorkers));

async function write(
  start: FeedStart,
  first: Look,
  out: WritableStreamDefaultWriter<Uint8Array>,
): Promise<void> {
  const { times, now } = start;
  const send = (text: string) => out.write(new TextEncoder().encode(text));
  let hasLeft = false;
  out.closed.catch(() => {
    // How a reader's leaving shows: ordinary, and nothing to log.
    hasLeft = true;
  });
  let look = first;
  let after = start.after;
  let beatAt = now();
  let eventAt = now();
  try {
    await send("retry: 2000\n\n");
    for (let looks = 1; ; looks += 1) {
      for (const row of look.events) {
        const event = eventView(row);
        if (event) await send(`id: ${event.id}\nevent: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`);
        after = row.id;
        eventAt = now();
      }
      if ((isOver(look) && look.events.length === 0) || looks >= times.maxLooks) break;
      if (now() - beatAt >= times.heartbeatMs) {
        beatAt = now();
        // It comes back, and is told why not.
        if (!(await start.isWelcome())) break;
        await send(`event: heartbeat\ndata: ${JSON.stringify({ at: iso(beatAt) })}\n\n`);
      }
      // What is there already is read without a pause; at rest, one more look makes sure nothing came after.
      if (look.events.length === 0)
        await pause(now() - eventAt < times.quietAfterMs ? times.busyMs : times.quietMs);
      look = await readFeed(start.db, start.release, after);
    }
    await out.close();
  } catch (error) {
    if (hasLeft) return;
    // The database did not answer: this connection is over, and the client resumes where it was.
    logFailure("feed.failed", error, { release: start.release });
    await out.abort(new Error("the feed was interrupted")).catch(() => undefined); // The reader left meanwhile.
  }
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
