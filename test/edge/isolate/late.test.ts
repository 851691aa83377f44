import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { compileRoute } from "../../../src/domain/routing/choose.ts";
import { LATE_MS, latencyBucket, type MeterBatch, windowOf } from "../../../src/domain/routing/meter.ts";
import type { RoutingTable } from "../../../src/domain/routing/table.ts";
import type { Tried } from "../../../src/edge/forward.ts";
import { Meter } from "../../../src/edge/meter.ts";
import type { Passage } from "../../../src/edge/passage.ts";
import { releaseOf, tableOf } from "../../support/tables.ts";

/** A judge has a window within seconds of its end, and sees nothing that is counted in it after that. */
const ARRIVED = windowOf(1_790_000_000_000) + 1_000;
const WAITED_MS = 20_000;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["Date", "setTimeout", "clearTimeout"], now: ARRIVED });
  vi.stubGlobal("scheduler", { wait: async () => {} });
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

async function told(
  count: (meter: Meter, passage: Passage, tried: Tried) => unknown,
  stableBp = 0,
  over: Partial<RoutingTable> = {},
  contentLength: number | null = null,
): Promise<MeterBatch[]> {
  const sent: MeterBatch[] = [];
  const work: Promise<unknown>[] = [];
  const releases = [releaseOf("r2", 1_000, ["http://127.0.0.1:1"]), releaseOf("r1", stableBp, [])];
  const table = tableOf([], { releases, stable: "r1", judged: true, ...over });
  const route = compileRoute(table, null);
  const [release] = route.releases;
  const [instance] = release?.instances ?? [];
  const visit = {
    route,
    arrivedAt: ARRIVED,
    method: "GET",
    survey: { requestId: "q1", contentLength },
    url: { target: "/" },
    request: {},
    env: { CONTROL: { meter: async (batch: MeterBatch) => void sent.push(batch) } },
    ctx: { waitUntil: (promise: Promise<unknown>) => work.push(promise) },
  };
  vi.setSystemTime(ARRIVED + WAITED_MS);
  const tried = {
    instance,
    attempt: { kind: "answered", status: 200, tunnelError: null },
    verdict: { isTrial: true, error: false, pathFault: false },
    durationMs: WAITED_MS,
    endedAt: Date.now(),
  };
  const passage = { visit, visitor: { eligible: true }, isDealt: true, release, instance };
  // As much of them as counting looks at.
  await count(new Meter(), passage as unknown as Passage, tried as unknown as Tried);
  await Promise.all(work);
  return sent;
}

it("counts an answer that took long where the judge still looks: in the window in which it came", async () => {
  const [batch] = await told((meter, passage, tried) =>
    meter.count(passage, { first: tried, last: tried, attempts: [tried] } as never),
  );
  expect(batch?.entries).toMatchObject([{ requests: 1, window: windowOf(ARRIVED + WAITED_MS) }]);
});

it("counts a comparison when it has ended, which a slow release puts off", async () => {
  const none = new Set<string>();
  const [batch] = await told((meter, { visit }) =>
    meter.countCompared(visit, "r2", { route: "GET /", canary: new Set(["status"]), stable: none }),
  );
  expect(batch?.mirrored).toMatchObject([{ release: "r2", window: windowOf(ARRIVED + WAITED_MS) }]);
});

const of = (tried: Tried) => ({ first: tried, last: tried, attempts: [tried] }) as never;
const never = new Promise<never>(() => {});
const LATE = [latencyBucket(LATE_MS), 1];

it.each([
  ["traffic is split", 9_000, {}],
  ["a release is watched after its switch", 0, { watched: true as const }],
])("counts a request that hangs while %s as late, once five seconds are over", async (_, stableBp, over) => {
  const hangs = async (meter: Meter, passage: Passage) => {
    void meter.timed(passage, never);
    await vi.advanceTimersByTimeAsync(LATE_MS);
  };
  const [batch] = await told(hangs, stableBp, over);
  expect(batch?.entries).toMatchObject([
    { release: "r2", eligible: true, requests: 0, errors: 0, latency: [LATE] },
  ]);
});

it("counts the answer that comes after all as any other", async () => {
  const batches = await told(async (meter, passage, tried) => {
    const asked = meter.timed(passage, new Promise((resolve) => setTimeout(resolve, WAITED_MS, of(tried))));
    await vi.advanceTimersByTimeAsync(WAITED_MS);
    meter.count(passage, await asked);
  }, 9_000);
  const entries = batches.flatMap((batch) => batch.entries);
  expect(entries.reduce((total, { requests }) => total + requests, 0)).toBe(1);
  expect(entries.flatMap(({ latency }) => latency)).toEqual([LATE, [latencyBucket(WAITED_MS), 1]]);
});

it.each([
  ["is answered sooner", LATE_MS - 1, 9_000],
  ["comes while all traffic is one release's", WAITED_MS, 0],
])("counts a request that %s as it was alone", async (_, afterMs, stableBp) => {
  const [batch] = await told(async (meter, passage, tried) => {
    const own = { ...tried, durationMs: afterMs };
    const asked = meter.timed(passage, new Promise((resolve) => setTimeout(resolve, afterMs, of(own))));
    await vi.advanceTimersByTimeAsync(afterMs);
    meter.count(passage, await asked);
    await vi.advanceTimersByTimeAsync(WAITED_MS);
  }, stableBp);
  expect(batch?.entries).toMatchObject([{ requests: 1, latency: [[latencyBucket(afterMs), 1]] }]);
});

it("tells nothing late of a request that its visitor may still be sending", async () => {
  const hangs = async (meter: Meter, passage: Passage) => {
    void meter.timed(passage, never);
    await vi.advanceTimersByTimeAsync(WAITED_MS);
  };
  expect(await told(hangs, 9_000, {}, 65_537)).toEqual([]);
  expect(await told(hangs, 9_000, {}, 65_536)).toHaveLength(1);
});
