import { afterEach, beforeEach, expect, test } from "vitest";
import { createProcessRuntime } from "../../../agent/runtime/process/process.ts";
import type { Runtime } from "../../../agent/runtime/runtime.ts";
import { LOG_CHUNK } from "../../../src/protocol/agent/logs.ts";
import { freePort } from "../../support/engine/docker.ts";
import { nodeCommand } from "../apps.ts";
import { type AgentBench, agentBench } from "../running-agent.ts";
import { specOf } from "../specs.ts";
import { numbered } from "./logs.contract.ts";

let bench: AgentBench;
beforeEach(async () => {
  bench = await agentBench();
});
afterEach(() => bench.close());

const logsJob = (id: string, over: Record<string, unknown> = {}) => ({
  id,
  kind: "logs" as const,
  stream: `log-${id}`,
  app: "hello",
  environment: "production",
  from: Date.now(),
  follow: true,
  ...over,
});

/** Runs an instance that numbers its lines. */
const talks = (instance: string, over: { release?: string; app?: string } = {}) =>
  begins(instance, "talks", over);

async function begins(instance: string, app: "talks" | "traces", over: object = {}) {
  const hostPort = await freePort();
  const spec = specOf({ instance, image: "file:app", hostPort, command: nodeCommand(app), ...over });
  bench.control.give({ id: `start-${instance}`, kind: "start", spec });
  expect(await bench.control.result(`start-${instance}`)).toMatchObject({ ok: true });
}

const textsOf = (instance: string) =>
  bench.control.lines.filter((line) => line.instance === instance).map(({ text }) => text);
const heard = (instance: string, count: number) =>
  bench.control.until(() => textsOf(instance).length >= count, `${count} lines of ${instance}`);
const everyLineOf = (instance: string) =>
  expect(textsOf(instance)).toEqual(numbered(textsOf(instance).length));

test("sends what was written and what is written, until nobody reads any more", async () => {
  await talks("ins-1");
  bench.control.give(logsJob("a"));
  await heard("ins-1", 100);
  everyLineOf("ins-1");
  expect(bench.control.lines[0]).toMatchObject({ version: "v1", stream: "stdout" });
  const live = bench.control.chunks.findIndex((chunk) => chunk.live);
  expect(live).toBeGreaterThan(0);
  bench.control.logs = { wanted: false, taken: true };
  expect(await bench.control.result("a")).toMatchObject({ ok: true });
  const { polls, chunks } = bench.control;
  const [polled, sent] = [polls.length, chunks.length];
  bench.control.wake();
  await bench.control.until(() => polls.length > polled, "it polls on");
  expect(chunks).toHaveLength(sent);
});

test("sends the last lines once and says that this was all, without follow", async () => {
  await talks("ins-1");
  await talks("ins-2", { app: "other" });
  bench.control.give(logsJob("all", { follow: false, tail: 5 }));
  expect(await bench.control.result("all")).toMatchObject({ ok: true });
  expect(textsOf("ins-1")).toHaveLength(5);
  expect(textsOf("ins-2")).toEqual([]);
  expect(bench.control.chunks.at(-1)).toMatchObject({ end: true, live: true });
});

test("sends only the lines of a request, with the stack trace behind them, where one is asked for", async () => {
  await begins("ins-1", "traces");
  bench.control.requests = { about: "req-0123456789ab-1" };
  bench.control.give(logsJob("about", { follow: false }));
  expect(await bench.control.result("about")).toMatchObject({ ok: true });
  expect(textsOf("ins-1")).toEqual([
    '{"id":"req-0123456789ab-1","status":500}',
    "POST /pay req-0123456789ab-1",
    "TypeError: no cart",
    "    at pay (shop.js:7)",
  ]);
});

test("reads an instance that starts meanwhile from its first line, and only releases that were asked for", async () => {
  await talks("ins-1");
  bench.control.give(logsJob("a", { tail: 0, release: "rel-2" }));
  await bench.control.until(() => bench.control.chunks.some(({ live }) => live), "the past was sent");
  await talks("ins-2", { release: "rel-2" });
  await heard("ins-2", 50);
  everyLineOf("ins-2");
  expect(textsOf("ins-1")).toEqual([]);
});

test("sends a chunk that was not taken again, and loses no line over it", async () => {
  await talks("ins-1");
  bench.control.logs = { wanted: true, taken: false };
  bench.control.give(logsJob("a"));
  await bench.control.until(() => bench.control.chunks.length >= 2, "it was sent twice");
  expect(new Set(bench.control.chunks.map(({ chunk }) => chunk)).size).toBe(1);
  bench.control.logs = { wanted: true, taken: true };
  await heard("ins-1", 100);
  everyLineOf("ins-1");
});

test("waits while control is away, and goes on without a line lost or repeated", async () => {
  await talks("ins-1");
  bench.control.give(logsJob("a"));
  await heard("ins-1", 20);
  bench.control.failAlways("logs", { status: 503, code: "unavailable" });
  const { length } = bench.control.polls;
  bench.control.wake();
  await bench.control.until(() => bench.control.polls.length > length, "it polls on meanwhile");
  bench.control.failAlways("logs", undefined);
  await heard("ins-1", textsOf("ins-1").length + 100);
  everyLineOf("ins-1");
});

test("reads on behind the last line that was taken when the agent was restarted", async () => {
  await talks("ins-1");
  bench.control.give(logsJob("a", { tail: 10 }));
  await heard("ins-1", 50);
  await bench.restart();
  bench.control.give(logsJob("a", { tail: 10 }));
  await heard("ins-1", 200);
  const texts = textsOf("ins-1");
  const first = Number(texts[0]?.split(" ")[1]);
  expect(texts).toEqual(numbered(texts.length, first));
  expect(bench.control.done.filter(({ id }) => id === "a")).toEqual([]);
});

test("streams beside the jobs of releases, up to eight, and says so of a ninth", async () => {
  for (let n = 1; n <= 9; n++) bench.control.give(logsJob(`stream-${n}`));
  await bench.control.until(() => bench.control.chunks.some(({ problem }) => problem), "one is refused");
  expect(bench.control.chunks.filter(({ problem }) => problem)).toMatchObject([
    { end: true, problem: "this host serves 8 log streams already: end one of them" },
  ]);
  await talks("ins-1");
  expect(bench.control.polls.at(-1)?.takes).toContain("start");
});

test("lets a stream go when its time is over", async () => {
  bench.control.give(logsJob("short", { deadlineAt: Date.now() + 300 }));
  expect(await bench.control.result("short")).toMatchObject({ ok: true });
});

test("reads no more of a log than one chunk while its reader is behind", async () => {
  let read = 0;
  const runtime: Runtime = {
    ...createProcessRuntime({ root: "/nowhere", directory: "/nowhere" }),
    async *follow() {
      for (;;) yield { at: Date.now(), cursor: String(++read), stream: "stdout", text: "x".repeat(100) };
    },
  };
  await bench.close();
  bench = await agentBench({ runtime });
  const { control } = bench;
  control.give(logsJob("a", { accessory: "hello-production-postgres" }));
  await control.until(() => control.lines.length > 0, "lines are taken");
  control.logs = { wanted: true, taken: false };
  const { length } = control.chunks;
  await control.until(() => control.chunks.length >= length + 3, "the same chunk was sent again");
  // One on its way, one being filled, and a line in hand.
  expect(read - control.lines.length).toBeLessThanOrEqual(2 * LOG_CHUNK.lines + 2);
  expect(read).toBeGreaterThan(LOG_CHUNK.lines);
  control.logs = { wanted: false, taken: false };
  await control.result("a");
});
