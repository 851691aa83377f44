import { eq } from "drizzle-orm";
import { createParser, type EventSourceMessage } from "eventsource-parser";
import { beforeEach, describe, expect, it } from "vitest";
import { accessories } from "../../../src/control/store/schema/accessories.ts";
import { environments } from "../../../src/control/store/schema/environments.ts";
import { hosts } from "../../../src/control/store/schema/hosts.ts";
import { jobs } from "../../../src/control/store/schema/jobs.ts";
import { LOG_TIMES } from "../../../src/control/streams/log-order.ts";
import { sweep } from "../../../src/control/sweep.ts";
import type { EnrollAnswer } from "../../../src/protocol/agent/enroll.ts";
import type { Job } from "../../../src/protocol/agent/jobs.ts";
import type { LogLine } from "../../../src/protocol/agent/logs.ts";
import { TIMED, waitFor } from "../../support/patience.ts";
import { Api, problemOf } from "../support/api.ts";
import { countQueries } from "../support/count-queries.ts";
import * as world from "../support/world.ts";

const PATH = "/api/v1/apps/shop/envs/production/logs";
type LogsJob = Extract<Job, { kind: "logs" }>;

let api: Api;
let environmentId: string;
let releaseId: string;
let anna: EnrollAnswer;
let bert: EnrollAnswer;
beforeEach(async () => {
  await world.emptyWorld();
  // Whoever is asked here answers, however busy the machine is.
  api = patient(60_000);
  environmentId = await world.applied(api);
  releaseId = await world.release(environmentId);
  anna = await world.enrolled(api, "anna");
  bert = await world.enrolled(api, "bert");
  // The relay lives by the real clock.
  await world.db.update(hosts).set({ lastSeenAt: Date.now() });
  await runs(anna, "a-1");
});

const patient = (answerMs: number) => new Api({ logs: { ...LOG_TIMES, answerMs, lookMs: 50 } });

const runs = (host: EnrollAnswer, id: string) =>
  world.instance({ environmentId, releaseId, host, slot: 0 }, { id });

/** A reader: what it was sent so far, and a way to wait for more. */
class Reader {
  readonly seen: EventSourceMessage[] = [];
  isOver = false;
  readonly #reader: ReadableStreamDefaultReader<string>;

  constructor(response: Response) {
    if (!response.body) throw new Error("no stream");
    this.#reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    void this.#pump();
  }

  async #pump() {
    const parser = createParser({ onEvent: (message) => this.seen.push(message) });
    for (;;) {
      const chunk = await this.#reader.read().catch(() => ({ done: true, value: undefined }));
      if (chunk.done || chunk.value === undefined) break;
      parser.feed(chunk.value);
    }
    this.isOver = true;
  }

  of(event: string) {
    return this.seen.filter((one) => one.event === event).map(({ data }) => JSON.parse(data));
  }
  get texts(): string[] {
    return this.of("lines").flatMap(({ lines }) => lines.map(({ text }: { text: string }) => text));
  }
  get lastId() {
    return this.seen.findLast(({ id }) => id !== undefined)?.id ?? "";
  }
  leave() {
    return this.#reader.cancel();
  }
}

const opened = async (query = "", headers: Record<string, string> = {}) => {
  const response = await api.get(`${PATH}${query}`, { headers });
  expect(response.status).toBe(200);
  return new Reader(response);
};

/** The host's logs job, leased by its poll. */
async function asked(host: EnrollAnswer, boot = "boot-1"): Promise<LogsJob> {
  return waitFor(async () => {
    const response = await api.post("/agent/v1/poll", world.pollBody({ boot, clock: api.time }), {
      token: host.token,
    });
    const { jobs: given } = await response.json<{ jobs: Job[] }>();
    const job = given.find((one) => one.kind === "logs");
    if (job?.kind !== "logs") throw new Error("not asked yet");
    return job;
  });
}

let chunks = 0;
async function send(host: EnrollAnswer, stream: string, more: Record<string, unknown> = {}) {
  const chunk = { chunk: `chunk-${++chunks}`, lines: [], ...more };
  return api.post(`/agent/v1/logs/${stream}`, chunk, { token: host.token });
}
const answered = async (response: Promise<Response>) => (await response).json<Record<string, unknown>>();

const line = (instance: string, at: number, text = `${instance} ${at}`): LogLine => ({
  at,
  instance,
  version: "v1",
  stream: "stdout",
  cursor: String(at),
  text,
});

describe("a reader of logs", () => {
  it("gets the lines of all hosts in the order they were written", async () => {
    await runs(bert, "b-1");
    const reader = await opened("?tail=5");
    const [job, other] = [await asked(anna), await asked(bert)];
    expect(job).toMatchObject({ app: "shop", environment: "production", tail: 5, follow: false });
    expect(other.stream).toBe(job.stream);
    await send(anna, job.stream, { lines: [line("a-1", 10), line("a-1", 30)], live: true, end: true });
    expect(reader.texts).toEqual([]);
    await send(bert, job.stream, { lines: [line("b-1", 20), line("b-1", 40)], live: true, end: true });
    await waitFor(() => expect(reader.isOver).toBe(true));
    expect(reader.texts).toEqual(["a-1 10", "b-1 20", "a-1 30", "b-1 40"]);
    expect(reader.of("end")).toMatchObject([{ hosts: ["anna", "bert"], answered: ["anna", "bert"] }]);
    expect(reader.of("lines")[0].lines[0]).toEqual({
      at: "1970-01-01T00:00:00.010Z",
      host: "anna",
      instance: "a-1",
      version: "v1",
      stream: "stdout",
      text: "a-1 10",
    });
  });

  it("gets on with those that answer, and is told of the others", TIMED, async () => {
    api = patient(1_500);
    await runs(bert, "b-1");
    const carl = await world.enrolled(api, "carl");
    await runs(carl, "c-1");
    await world.db.update(hosts).set({ lastSeenAt: 1_000 }).where(eq(hosts.name, "carl"));
    const reader = await opened();
    const { stream } = await asked(anna);
    await send(anna, stream, { lines: [line("a-1", 10)], live: true, end: true });
    await waitFor(() => expect(reader.isOver).toBe(true));
    expect(reader.texts).toEqual(["a-1 10"]);
    const states = reader.of("host").map(({ host, state }) => `${host} ${state}`);
    expect(states.sort()).toEqual(["anna ended", "anna joined", "bert silent", "carl offline"]);
    expect(reader.of("host").find(({ state }) => state === "offline").message).toBe(
      "carl is offline since 1970-01-01 00:00:01 UTC: its lines are missing",
    );
    expect(reader.of("end")).toMatchObject([{ hosts: ["anna", "bert", "carl"], answered: ["anna"] }]);
    // Nobody hands a host that comes back tomorrow the question of today.
    await waitFor(async () =>
      expect((await world.db.select().from(jobs)).map(({ hostId }) => hostId)).toEqual([anna.host.id]),
    );
  });

  it("goes on at its place, with what it has neither repeated nor skipped", async () => {
    const before = await opened("?follow=1&since=10m");
    const { stream, from, since } = await asked(anna);
    await send(anna, stream, { lines: [line("a-1", 10), line("a-1", 20)], live: true });
    await waitFor(() => expect(before.texts).toHaveLength(2));
    await before.leave();
    api.time += 60_000;
    const reader = await opened("?follow=1&since=10m", { "last-event-id": before.lastId });
    const again = await asked(anna);
    expect(again).toMatchObject({ from, since });
    expect(again.stream).not.toBe(stream);
    expect(await answered(send(anna, again.stream, { hello: true }))).toEqual({
      wanted: true,
      taken: true,
      after: { "a-1": "20" },
    });
    await send(anna, again.stream, { lines: [line("a-1", 30)], live: true });
    await waitFor(() => expect(reader.texts).toEqual(["a-1 30"]));
    await reader.leave();
  });

  it("gets a chunk once, though the agent sends it until it was answered", async () => {
    const reader = await opened("?follow=1");
    const { stream } = await asked(anna);
    const chunk = { chunk: "same", lines: [line("a-1", 10)], live: true };
    expect(await answered(send(anna, stream, chunk))).toEqual({ wanted: true, taken: true });
    expect(await answered(send(anna, stream, chunk))).toEqual({ wanted: true, taken: true });
    await send(anna, stream, { lines: [line("a-1", 20)], live: true });
    await waitFor(() => expect(reader.texts).toEqual(["a-1 10", "a-1 20"]));
    await reader.leave();
  });

  it("is told what was rotated away, and what is in a host's way", async () => {
    const reader = await opened("?follow=1");
    const { stream } = await asked(anna);
    await send(anna, stream, { droppedBytes: 4_096, problem: "no engine answers" });
    await waitFor(() => expect(reader.of("gap")).toMatchObject([{ host: "anna", bytes: 4_096 }]));
    expect(reader.of("host").at(-1)).toMatchObject({ state: "trouble", message: "anna: no engine answers" });
    await reader.leave();
  });

  it("that follows gets a host that has its first instance later", async () => {
    api = patient(1_500);
    const reader = await opened("?follow=1");
    await asked(anna);
    await runs(bert, "b-1");
    const { stream } = await asked(bert);
    await send(bert, stream, { lines: [line("b-1", 10)], live: true });
    await waitFor(() => expect(reader.texts).toEqual(["b-1 10"]));
    await reader.leave();
  });

  it("of an accessory asks the one host that has it", async () => {
    await runs(bert, "b-1");
    const [row] = await world.db.select().from(environments);
    if (!row) throw new Error("no environment");
    const { logging, stopGraceMs } = row.spec;
    const container = { readOnly: false, tmpfs: [], ulimits: {} };
    const about = { image: "postgres:17", env: {}, secrets: [], volumes: [], resources: {} };
    const postgres = { ...about, container, logging, stopGraceMs };
    await world.db.update(environments).set({ spec: { ...row.spec, accessories: { postgres } } });
    await world.db.insert(accessories).values({
      ...{ environmentId, name: "postgres", hostId: bert.host.id, spec: postgres, state: "running" },
      ...{ stateSince: 1, createdAt: 1 },
    });
    const reader = await opened("?accessory=postgres");
    const { stream, accessory } = await asked(bert);
    expect(accessory).toBe("shop_production_postgres");
    const of = { instance: "shop_production_postgres", version: "" };
    await send(bert, stream, { lines: [{ ...line("a", 10, "ready"), ...of }], live: true, end: true });
    await waitFor(() => expect(reader.isOver).toBe(true));
    expect(reader.of("end")).toMatchObject([{ hosts: ["bert"], answered: ["bert"] }]);
    expect(reader.texts).toEqual(["ready"]);
  });

  it("that is slow makes the hosts wait, and holds no more than its room", async () => {
    api = new Api({ logs: { ...LOG_TIMES, roomMs: 100 } });
    const response = await api.get(`${PATH}?follow=1`);
    const { stream } = await asked(anna);
    const lines = (chunk: number) =>
      Array.from({ length: 25 }, (_, n) => line("a-1", chunk * 25 + n, "x".repeat(16_000)));
    let sent = 0;
    while ((await answered(send(anna, stream, { lines: lines(sent), live: true }))).taken) {
      sent += 1;
      expect(sent).toBeLessThan(20);
    }
    const reader = new Reader(response);
    await waitFor(() => expect(reader.texts).toHaveLength(sent * 25));
    expect(await answered(send(anna, stream, { live: true }))).toEqual({ wanted: true, taken: true });
    await reader.leave();
  });
});

describe("a host that sends logs", () => {
  it("is told when the reader has left, and its job goes with the stream's time", async () => {
    const reader = await opened("?follow=1");
    const { stream, deadlineAt } = await asked(anna);
    expect(await answered(send(anna, stream, { hello: true }))).toMatchObject({ wanted: true });
    await reader.leave();
    await waitFor(async () => expect(await answered(send(anna, stream))).toMatchObject({ wanted: false }));
    await sweep(api.env, deadlineAt);
    expect(await world.db.select().from(jobs)).toEqual([]);
  });

  it("is told that nobody reads a stream that was lost with control", async () => {
    expect(await answered(send(anna, "log_gone", { lines: [line("a-1", 1)] }))).toEqual({
      wanted: false,
      taken: false,
    });
  });

  it("can't speak for another that was asked, or for one that was not", async () => {
    const reader = await opened("?follow=1");
    const { stream } = await asked(anna);
    expect(await problemOf(await send(bert, stream, { lines: [line("a-1", 1)] }))).toBe("403 forbidden");
    const body = { chunk: "x", lines: [] };
    const admin = await api.post(`/agent/v1/logs/${stream}`, body);
    expect(await problemOf(admin)).toBe("403 forbidden");
    await reader.leave();
  });

  it("writes next to nothing to D1 for it, and is not asked to poll each second", async () => {
    const reader = await opened("?follow=1");
    const { stream, leaseExpiresAt, deadlineAt } = await asked(anna);
    expect(leaseExpiresAt).toBe(deadlineAt);
    const poll = await api.post("/agent/v1/poll", world.pollBody(), { token: anna.token });
    expect(await poll.json()).toMatchObject({ jobs: [], pollAfterMs: 60_000 });
    const { counted, DB } = countQueries(api.env.DB);
    api = new Api({}, { DB });
    await send(anna, stream, { live: true });
    counted.queries = 0;
    for (let n = 0; n < 5; n++) await send(anna, stream, { lines: [line("a-1", n)], live: true });
    // Only the look at its token.
    expect(counted.queries).toBe(5);
    await reader.leave();
  });

  it("gets the job again when its agent was restarted, and one with no free place gets it too", async () => {
    const reader = await opened("?follow=1");
    const { stream } = await asked(anna);
    await send(anna, stream, { lines: [line("a-1", 10)], live: true });
    const busy = world.pollBody({ boot: "boot-2", wantsJobs: false });
    const poll = await api.post("/agent/v1/poll", busy, { token: anna.token });
    const { jobs: given } = await poll.json<{ jobs: Job[] }>();
    expect(given).toMatchObject([{ kind: "logs", stream }]);
    expect(await answered(send(anna, stream, { hello: true }))).toMatchObject({ after: { "a-1": "10" } });
    await reader.leave();
  });
});

describe("who may read logs", () => {
  it("is a deployer of the environment: lines may hold what its users typed", async () => {
    const scope = { app: "shop", environment: "production" };
    const [viewer, deployer] = [await api.token("viewer", scope), await api.token("deployer", scope)];
    expect(await problemOf(await api.get(PATH, { token: viewer }))).toBe("403 forbidden");
    const response = await api.get(PATH, { token: deployer });
    expect(response.headers.get("content-type")).toContain("text/event-stream");
    await response.body?.cancel();
    const foreign = await api.token("deployer", { app: "other" });
    expect(await problemOf(await api.get(PATH, { token: foreign }))).toBe("403 forbidden");
  });

  it.each([
    ["?release=v9", "404 not_found"],
    ["?host=nobody", "404 not_found"],
    ["?accessory=none", "404 not_found"],
    ["?since=yesterday", "400 invalid_request"],
    ["?tail=-1", "400 invalid_request"],
  ])("is told what is wrong with %s", async (query, problem) => {
    expect(await problemOf(await api.get(`${PATH}${query}`))).toBe(problem);
  });

  it("is told that a place is none, and that nothing runs", async () => {
    const headers = { "last-event-id": "nonsense" };
    expect(await problemOf(await api.get(PATH, { headers }))).toBe("400 invalid_request");
    await world.release(environmentId, { version: "v2" });
    const reader = await opened("?release=v2");
    await waitFor(() => expect(reader.isOver).toBe(true));
    expect(reader.of("end")).toMatchObject([
      { hosts: [], message: expect.stringContaining("no instance of that release") },
    ]);
  });
});
