import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import {
  ApiError,
  Client,
  ConnectionError,
  type FeedItem,
  type FollowOptions,
} from "../../src/client/index.ts";
import { anEvent, type FakeApi, fakeApi, GOOD_EVENTS, type Route } from "../support/cli/fake-api.ts";
import { TIMED } from "../support/patience.ts";

const EVENTS = "GET /api/v1/releases/rel_2/events";
const over: Route = (_asked, answer) => answer.empty(204);
const inTurn =
  (...routes: readonly Route[]): Route =>
  (asked, answer, nth) =>
    (routes[Math.min(nth, routes.length) - 1] ?? over)(asked, answer, nth);

function followed(api: FakeApi, options: FollowOptions = {}) {
  const client = new Client({ url: api.url, token: "x", sleep: async () => {} });
  return client.releases.follow("rel_2", options);
}
async function all(items: AsyncIterable<FeedItem>): Promise<FeedItem[]> {
  const seen: FeedItem[] = [];
  for await (const item of items) seen.push(item);
  return seen;
}
const ids = (items: readonly FeedItem[]) =>
  items.flatMap((item) => (item.kind === "event" ? [item.event.id] : []));
const sends =
  (from: number, to: number, then: "end" | "drop" | "hang" = "end"): Route =>
  (_asked, answer) => {
    const feed = answer.feed();
    for (const event of GOOD_EVENTS.slice(from, to)) feed.event(event);
    if (then === "end") feed.end();
    if (then === "drop") setTimeout(() => feed.drop(), 20);
  };
const lastIds = (api: FakeApi) => api.asked.map((call) => call.headers["last-event-id"]);

describe.concurrent("following a release", () => {
  test("gives every event once and ends when control says there is no more", async () => {
    await using api = await fakeApi({ [EVENTS]: inTurn(sends(0, 7), over) });
    expect(ids(await all(followed(api)))).toEqual([1, 2, 3, 4, 5, 6, 7]);
    expect(lastIds(api)).toEqual([undefined, "7"]);
  });

  test("resumes from the last event after a lost connection, and says that it was lost", TIMED, async () => {
    await using api = await fakeApi({ [EVENTS]: inTurn(sends(0, 3, "drop"), sends(3, 7), over) });
    const items = await all(followed(api));
    expect(ids(items)).toEqual([1, 2, 3, 4, 5, 6, 7]);
    expect(items.filter((item) => item.kind === "lost")).toHaveLength(1);
    expect(lastIds(api)).toEqual([undefined, "3", "7"]);
  });

  test("drops what a careless server replays", async () => {
    await using api = await fakeApi({ [EVENTS]: inTurn(sends(0, 3), sends(0, 7), over) });
    expect(ids(await all(followed(api)))).toEqual([1, 2, 3, 4, 5, 6, 7]);
  });

  test("starts after an id when asked to", async () => {
    await using api = await fakeApi({ [EVENTS]: inTurn(sends(0, 7), over) });
    expect(ids(await all(followed(api, { after: 5 })))).toEqual([6, 7]);
    expect(lastIds(api)[0]).toBe("5");
  });

  test("goes through a control plane that is down for a while", TIMED, async () => {
    const down: Route = (_asked, answer, nth) =>
      nth === 2 ? answer.drop() : answer.raw(503, "text/plain", "restarting");
    await using api = await fakeApi({ [EVENTS]: inTurn(sends(0, 3, "drop"), down, down, sends(3, 7), over) });
    expect(ids(await all(followed(api)))).toEqual([1, 2, 3, 4, 5, 6, 7]);
  });

  test("gives up when there was no contact for too long, with the last cause", async () => {
    let now = 0;
    await using api = await fakeApi({ [EVENTS]: (_asked, answer) => answer.drop() });
    const items = followed(api, { giveUpMs: 120_000, now: () => (now += 50_000) });
    await expect(all(items)).rejects.toThrow(ConnectionError);
    expect(api.asked.length).toBeGreaterThan(1);
  });

  test("a refusal is thrown at once", async () => {
    await using api = await fakeApi({});
    await expect(all(followed(api))).rejects.toThrow(ApiError);
    expect(api.asked).toHaveLength(1);
  });

  test("skips event types a newer control plane has", async () => {
    const newer: Route = (_asked, answer) => {
      const feed = answer.feed();
      feed.raw('id: 1\nevent: release.sparkles\ndata: {"id":1}\n\n');
      feed.event(anEvent({ id: 2 }));
      feed.end();
    };
    await using api = await fakeApi({ [EVENTS]: inTurn(newer, over) });
    expect(ids(await all(followed(api)))).toEqual([2]);
  });

  test("an event cut in the middle of a character arrives whole", async () => {
    const event = anEvent({ id: 1, message: "größer → fertig" });
    const bytes = Buffer.from(`id: 1\nevent: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`);
    const body = new ReadableStream<Uint8Array>({
      start(controller) {
        for (const byte of bytes) controller.enqueue(Uint8Array.of(byte));
        controller.close();
      },
    });
    const answers = [
      new Response(body, { headers: { "content-type": "text/event-stream" } }),
      new Response(null, { status: 204 }),
    ];
    const fetch = async () => answers.shift() ?? expect.fail("asked a third time");
    const client = new Client({ url: "https://x", token: "x", fetch, sleep: async () => {} });
    const items = await all(client.releases.follow("rel_2"));
    expect(items).toContainEqual({ kind: "event", event });
  });

  test("leaving the loop closes the connection", async () => {
    let gone: Promise<void> | undefined;
    const held: Route = (asked, answer, nth) => {
      gone = answer.gone;
      return sends(0, 2, "hang")(asked, answer, nth);
    };
    await using api = await fakeApi({ [EVENTS]: held });
    for await (const item of followed(api)) if (item.kind === "event") break;
    await gone;
    expect(api.asked).toHaveLength(1);
  });

  test("an abort ends it with the caller's reason", async () => {
    await using api = await fakeApi({ [EVENTS]: sends(0, 1, "hang") });
    const abort = new AbortController();
    const items = followed(api, { signal: abort.signal });
    const reading = all(
      (async function* () {
        for await (const item of items) {
          if (item.kind === "event") abort.abort(new Error("enough"));
          yield item;
        }
      })(),
    );
    await expect(reading).rejects.toThrow("enough");
  });
});

describe("a connection that says nothing", () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  test("lives as long as heartbeats come, and is taken for dead and replaced 15 s after the last", async () => {
    const connections: ReadableStreamDefaultController<Uint8Array>[] = [];
    const lastIds: unknown[] = [];
    const fetch = async (_url: string, init: RequestInit) => {
      lastIds.push(new Headers(init.headers).get("last-event-id"));
      const body = new ReadableStream<Uint8Array>({
        start: (controller) => void connections.push(controller),
      });
      return new Response(body, { headers: { "content-type": "text/event-stream" } });
    };
    const client = new Client({ url: "https://x", token: "x", fetch, sleep: async () => {} });
    const seen: FeedItem[] = [];
    const abort = new AbortController();
    const reading = (async () => {
      for await (const item of client.releases.follow("rel_2", { signal: abort.signal })) seen.push(item);
    })();
    const send = (text: string) => connections.at(-1)?.enqueue(new TextEncoder().encode(text));
    const kinds = () => seen.map((item) => item.kind);

    await vi.advanceTimersByTimeAsync(0);
    send(`id: 4\nevent: release.state\ndata: ${JSON.stringify(anEvent({ id: 4 }))}\n\n`);
    for (let beat = 0; beat < 6; beat++) {
      await vi.advanceTimersByTimeAsync(10_000);
      send("event: heartbeat\ndata: {}\n\n");
    }
    await vi.advanceTimersByTimeAsync(14_000);
    expect(kinds()).not.toContain("lost");
    await vi.advanceTimersByTimeAsync(1_500);
    expect(seen.find((item) => item.kind === "lost")).toMatchObject({ error: { timedOut: true } });
    expect(lastIds).toEqual([null, "4"]);

    abort.abort(new Error("enough"));
    connections.at(-1)?.error(new Error("aborted"));
    await expect(reading).rejects.toThrow("enough");
  });
});
