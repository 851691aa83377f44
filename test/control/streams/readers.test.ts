import { beforeEach, describe, expect, it, vi } from "vitest";
import { hosts } from "../../../src/control/store/schema/hosts.ts";
import { LOG_TIMES } from "../../../src/control/streams/log-order.ts";
import { Readers } from "../../../src/control/streams/readers.ts";
import { waitFor } from "../../support/patience.ts";
import { Api, problemOf } from "../support/api.ts";
import * as world from "../support/world.ts";

const FEED = { busyMs: 50, quietMs: 50, quietAfterMs: 1_000, heartbeatMs: 0, maxLooks: 100_000 };
const LOGS = "/api/v1/apps/shop/envs/production/logs?follow=1";

let api: Api;
let paths: Record<"feed" | "logs", string>;
beforeEach(async () => {
  await world.emptyWorld();
  api = new Api({ feed: FEED, logs: { ...LOG_TIMES, answerMs: 300, lookMs: 50, heartbeatMs: 20 } });
  const environmentId = await world.applied(api);
  const id = await world.release(environmentId, { state: "starting" });
  await world.enrolled(api);
  // The relay lives by the real clock.
  await world.db.update(hosts).set({ lastSeenAt: Date.now() });
  paths = { feed: `/api/v1/releases/${id}/events`, logs: LOGS };
});

/** Resolves when the stream has ended, however. */
async function ended(response: Response): Promise<void> {
  const reader = response.body?.getReader();
  for (;;) {
    const chunk = await reader?.read().catch(() => undefined);
    if (!chunk || chunk.done) return;
  }
}

describe.each(["feed", "logs"] as const)("a %s", (which) => {
  it("ends when its reader's token is revoked, and is not opened again", async () => {
    const made = await api.post("/api/v1/tokens", { name: "ci", role: "deployer" });
    const { id, token } = await made.json<{ id: string; token: string }>();
    const response = await api.get(paths[which], { token });
    expect(response.status).toBe(200);
    await api.delete(`/api/v1/tokens/${id}`);
    await ended(response);
    expect(await problemOf(await api.get(paths[which], { token }))).toBe("401 token_revoked");
  });

  it("goes on while the token is good", async () => {
    const made = await api.post("/api/v1/tokens", { name: "ci", role: "deployer" });
    const { id, token } = await made.json<{ id: string; token: string }>();
    const response = await api.get(paths[which], { token });
    let isOver = false;
    const end = ended(response).then(() => {
      isOver = true;
    });
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(isOver).toBe(false);
    await api.delete(`/api/v1/tokens/${id}`);
    await end;
  });
});

describe("a principal's streams", () => {
  /** As many bytes as anybody takes. */
  const endless = async () =>
    new ReadableStream<Uint8Array>({ pull: (c) => c.enqueue(new Uint8Array(1_000)) });

  it("are so many at a time, and one that ends makes room", async () => {
    const readers = new Readers();
    const streams: ReadableStream[] = [];
    for (let n = 0; n < 64; n += 1) streams.push(await readers.open("tok_1", endless));
    const source = vi.fn(endless);
    await expect(readers.open("tok_1", source)).rejects.toMatchObject({ refusal: { code: "rate_limited" } });
    expect(source).not.toHaveBeenCalled();
    await (await readers.open("tok_2", endless)).cancel();
    await streams[0]?.cancel();
    await waitFor(async () => streams.push(await readers.open("tok_1", endless)));
    for (const stream of streams.slice(1)) await stream.cancel();
  });

  it("hold no place when they could not be opened, or had nothing to say", async () => {
    const readers = new Readers();
    for (let n = 0; n < 100; n += 1) {
      expect(
        await readers.open("tok_1", async (): Promise<ReadableStream<Uint8Array> | null> => null),
      ).toBeNull();
      await expect(readers.open("tok_1", () => Promise.reject(new Error("away")))).rejects.toThrow("away");
    }
    await (await readers.open("tok_1", endless)).cancel();
  });

  it("end when they are not read, and so does where they come from", async () => {
    const readers = new Readers(50);
    const cancel = vi.fn();
    const source = new ReadableStream<Uint8Array>({ pull: (c) => c.enqueue(new Uint8Array(10)), cancel });
    const stream = await readers.open("tok_1", async () => source);
    const reader = stream.getReader();
    await reader.read();
    await waitFor(() => expect(cancel).toHaveBeenCalled());
    await expect(reader.read().then(() => reader.read())).rejects.toThrow("takes nothing");
  });
});
