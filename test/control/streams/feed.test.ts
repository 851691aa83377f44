import { env } from "cloudflare:workers";
import { eq } from "drizzle-orm";
import { createParser, type EventSourceMessage } from "eventsource-parser";
import { beforeEach, describe, expect, it, vi } from "vitest";
import { events } from "../../../src/control/store/schema/events.ts";
import { releases } from "../../../src/control/store/schema/releases.ts";
import { FEED_TIMES } from "../../../src/control/streams/feed.ts";
import { eventSchema } from "../../../src/protocol/api/events.ts";
import { waitFor } from "../../support/patience.ts";
import { Api, problemOf } from "../support/api.ts";
import { countQueries } from "../support/count-queries.ts";
import * as world from "../support/world.ts";

const FAST = { busyMs: 5, quietMs: 5, quietAfterMs: 1_000, heartbeatMs: 10_000, maxLooks: 2_000 };

let api: Api;
let id: string;
beforeEach(async () => {
  await world.emptyWorld();
  api = new Api({ feed: FAST });
  id = await world.release(await world.applied(api), { state: "starting" });
});

const event = (message: string, type = "release.progress") =>
  world.db
    .insert(events)
    .values({ at: 1, type, actor: "agent:web-1", releaseId: id, message, data: {} })
    .returning({ id: events.id });
const say = (message: string) => event(message).then(([row]) => row?.id ?? 0);
const rest = (state: "live" | "settling" | "failed" = "live") =>
  world.db.update(releases).set({ state }).where(eq(releases.id, id));
/** As the coordinator ends a release: the state and its event in one batch. */
const end = () => world.db.batch([rest(), event("live", "release.state")]);
const path = () => `/api/v1/releases/${id}/events`;

/** Reads the feed to its end, calling back with each message. */
async function read(
  response: Response,
  onMessage: (message: EventSourceMessage) => Promise<unknown> | undefined,
) {
  const seen: EventSourceMessage[] = [];
  const parser = createParser({ onEvent: (message) => seen.push(message) });
  let told = 0;
  const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const chunk = await reader?.read();
    if (!chunk || chunk.done) return seen;
    parser.feed(chunk.value);
    for (; told < seen.length; told += 1) await onMessage(seen[told] as EventSourceMessage);
  }
}

describe("a release's feed", () => {
  it("tells what was, then what happens, and ends when the release is at rest", async () => {
    await say("pulling");
    const response = await api.get(path());
    expect(response.headers.get("content-type")).toContain("text/event-stream");
    const seen = await read(response, (message) => {
      if (message.data.includes("pulling")) return say("starting");
      if (message.data.includes("starting")) return end();
      return undefined;
    });
    const parsed = seen.map(({ data }) => eventSchema.parse(JSON.parse(data)));
    expect(parsed.map(({ message }) => message)).toEqual(["pulling", "starting", "live"]);
    expect(seen.map(({ id }) => Number(id))).toEqual(parsed.map(({ id }) => id));
    expect(seen.at(-1)?.event).toBe("release.state");
  });

  it("goes on after Last-Event-ID, or ?after=", async () => {
    const first = await say("one");
    await say("two");
    await rest("settling");
    for (const response of [
      await api.get(path(), { headers: { "last-event-id": String(first) } }),
      await api.get(`${path()}?after=${first}`),
    ]) {
      const seen = await read(response, () => undefined);
      expect(seen.map(({ data }) => JSON.parse(data).message)).toEqual(["two"]);
    }
  });

  it("answers 204 when the release is at rest and everything was seen", async () => {
    const last = await say("failed");
    await rest("failed");
    expect((await api.get(`${path()}?after=${last}`)).status).toBe(204);
  });

  it("sends a heartbeat that has a name and no id", async () => {
    const beating = new Api({ feed: { ...FAST, heartbeatMs: 0 } });
    const last = await say("one");
    const response = await beating.get(path());
    const seen = await read(response, (message) => (message.event === "heartbeat" ? rest() : undefined));
    expect(seen[0]?.id).toBe(String(last));
    const beat = seen.find(({ event }) => event === "heartbeat");
    expect(beat?.id).toBeUndefined();
  });

  it("tells the client to come back after two seconds", async () => {
    await say("one");
    await rest();
    expect(await (await api.get(path())).text()).toMatch(/^retry: 2000\n\n/);
  });

  it("ends a long connection before the platform would, without an end of the story", async () => {
    const short = new Api({ feed: { ...FAST, maxLooks: 3 } });
    await say("one");
    const seen = await read(await short.get(path()), () => undefined);
    expect(seen.map(({ data }) => JSON.parse(data).message)).toEqual(["one"]);
    expect((await short.get(path())).status).toBe(200);
  });

  it("ends in order before it has used up what a request may ask of D1 on Free", async () => {
    const log = vi.spyOn(console, "error");
    const token = await api.post("/api/v1/tokens", { name: "ci", role: "viewer" });
    const { counted, DB } = countQueries(env.DB);
    const quick = new Api({ feed: { ...FEED_TIMES, busyMs: 1, quietMs: 1 } }, { DB });
    await say("one");
    const reader = { token: (await token.json<{ token: string }>()).token };
    const seen = await read(await quick.get(path(), reader), () => undefined);
    expect(seen).toHaveLength(1);
    expect(log).not.toHaveBeenCalled();
    // With the heartbeats of forty quiet seconds, each of which asks for its reader's token.
    expect(counted.queries + 4).toBeLessThanOrEqual(50);
  });

  it("stops looking, without an error, when its reader leaves", async () => {
    const log = vi.spyOn(console, "error");
    const { counted, DB } = countQueries(env.DB);
    const left = new Api({ feed: { ...FAST, heartbeatMs: 0 } }, { DB });
    await say("one");
    const reader = (await left.get(path())).body?.getReader();
    await reader?.read();
    await reader?.cancel();
    await waitFor(async () => {
      const before = counted.queries;
      await new Promise((resolve) => setTimeout(resolve, 30));
      expect(counted.queries).toBe(before);
    });
    expect(log).not.toHaveBeenCalled();
  });

  it("refuses what is no event id", async () => {
    expect(await problemOf(await api.get(`${path()}?after=abc`))).toBe("400 invalid_request");
  });
});
