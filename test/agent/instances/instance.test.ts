import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import http from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type Clock, systemClock } from "../../../agent/clock.ts";
import { Images } from "../../../agent/host/images.ts";
import { Instances } from "../../../agent/instances/instances.ts";
import { Reports } from "../../../agent/instances/reports.ts";
import { type Journal, openJournal } from "../../../agent/journal.ts";
import { done, failed } from "../../../agent/outcome.ts";
import { Secrets } from "../../../agent/redaction/secrets.ts";
import type { Exit, Runtime } from "../../../agent/runtime/runtime.ts";
import { specOf } from "../specs.ts";

let directory: string;
let journal: Journal;
let server: http.Server;
let hostPort: number;
/** States that were reported, in order. */
let told: string[];

beforeEach(async () => {
  told = [];
  directory = await mkdtemp(path.join(tmpdir(), "sluice-instance-"));
  journal = await openJournal(directory, (message) => expect.fail(message));
  server = http.createServer((_request, response) => void response.end()).listen(0, "127.0.0.1");
  await once(server, "listening");
  hostPort = (server.address() as AddressInfo).port;
});
afterEach(async () => {
  server.close();
  await rm(directory, { recursive: true });
});

/** Time that passes as fast as it is asked to, and remembers what it was asked. */
function quickClock(): Clock & { slept: number[] } {
  let now = 1_000_000;
  const slept: number[] = [];
  return {
    slept,
    now: () => now,
    monotonic: () => now,
    async sleep(ms, signal) {
      if (signal?.aborted) return;
      slept.push(ms);
      now += ms;
      await new Promise((resolve) => setImmediate(resolve));
    },
  };
}

/** A runtime whose instance answers its probes (by the server above) and ends as the test says. */
function scriptedRuntime(over: Partial<Runtime> & Pick<Runtime, "waitExit">): Runtime {
  const unused = async () => failed("internal", "not for this test");
  return {
    name: "process",
    pull: unused,
    start: unused,
    restart: async () => done({ runtimeId: "1", startedAt: 0 }),
    stop: unused,
    list: unused,
    injected: unused,
    logs: async () => [],
    async *follow() {},
    listens: async () => true,
    addressOf: async () => "127.0.0.1",
    execute: async () => ({ output: "" }),
    imageHealth: async () => ({ state: "none", output: "" }),
    explain: async () => undefined,
    runs: {
      find: unused,
      start: unused,
      waitExit: async () => undefined,
      stop: unused,
      logs: async () => [],
      remove: unused,
    },
    ...over,
  };
}

function watch(runtime: Runtime, clock: Clock) {
  const note = (event: string) => void told.push(event.replace("instance ", ""));
  const log = { info: note, warn: note, error: note };
  const control = async () => ({ ok: false, kind: "unreachable", detail: "not for this test" }) as const;
  const secrets = new Secrets();
  const reports = new Reports({ boot: "boot-1", journal, control, clock, log, secrets });
  const images = new Images({ runtime, journal, clock, log });
  return new Instances({ runtime, journal, reports, control, images, secrets, clock, log });
}

const untilAborted = (signal: AbortSignal) =>
  new Promise<undefined>((resolve) => {
    if (signal.aborted) resolve(undefined);
    signal.addEventListener("abort", () => resolve(undefined));
  });

test("waits longer before each restart of an instance that keeps crashing, up to a minute", async () => {
  const clock = quickClock();
  let restarts = 0;
  const enough = Promise.withResolvers<void>();
  const runtime = scriptedRuntime({
    // Ends as soon as it is ready, eight times over.
    async waitExit(_instance, signal): Promise<Exit | undefined> {
      const isReady = journal.state.instances["ins-1"]?.state === "ready";
      return isReady ? { exitCode: 1 } : untilAborted(signal);
    },
    async restart() {
      restarts += 1;
      if (restarts === 8) enough.resolve();
      return done({ runtimeId: "1", startedAt: clock.now() });
    },
  });
  const instances = watch(runtime, clock);
  const spec = specOf({ instance: "ins-1", image: "file:app", hostPort });
  await instances.begin(spec);
  expect(await instances.watch(spec).bringUp(clock.now())).toMatchObject({ ok: true });
  await enough.promise;
  await instances.releaseAll();
  const waits = clock.slept.filter((ms) => ms >= 1_000);
  expect(waits.slice(0, 8)).toEqual([1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]);
  expect(told.slice(0, 5)).toEqual(["ready", "exited", "starting", "ready", "exited"]);
  // However short each outage was, and however soon it was ready again: every exit is counted.
  expect(journal.state.instances["ins-1"]?.exits).toHaveLength(8);
});

test.each([
  ["forward", 86_400_000],
  ["back", -86_400_000],
])(
  "gives an app its whole time to start though the host's clock is set %s by a day meanwhile",
  async (_way, ms) => {
    let step = 0;
    const clock: Clock = { ...systemClock, now: () => Date.now() + step };
    server.removeAllListeners("request");
    let status = 503;
    let asked = 0;
    server.on("request", (_request, response) => {
      asked += 1;
      if (asked === 2) step = ms;
      if (asked === 5) status = 200;
      response.writeHead(status).end();
    });
    const instances = watch(
      scriptedRuntime({ waitExit: (_instance, signal) => untilAborted(signal) }),
      clock,
    );
    const spec = specOf({ instance: "ins-1", image: "file:app", hostPort });
    await instances.begin(spec);
    const up = await instances.watch(spec).bringUp(clock.now());
    await instances.releaseAll();
    expect(up).toMatchObject({ ok: true });
    expect(up.ok && up.value.readyAfterMs).toBeLessThan(15_000);
  },
);

test("claims nothing about an instance that it can't restart because the engine is away", async () => {
  const clock = quickClock();
  const tried = Promise.withResolvers<void>();
  let tries = 0;
  const runtime = scriptedRuntime({
    async waitExit(_instance, signal) {
      return journal.state.instances["ins-1"]?.state === "ready" ? { exitCode: 1 } : untilAborted(signal);
    },
    async restart() {
      tries += 1;
      if (tries === 3) tried.resolve();
      return failed("runtime_unavailable", "no engine");
    },
  });
  const instances = watch(runtime, clock);
  const spec = specOf({ instance: "ins-1", image: "file:app", hostPort });
  await instances.begin(spec);
  await instances.watch(spec).bringUp(clock.now());
  await tried.promise;
  await instances.releaseAll();
  expect(told).toEqual(["ready", "exited"]);
});
