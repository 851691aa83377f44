import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { compileRoute } from "../../../src/domain/routing/choose.ts";
import { type MeterBatch, windowOf } from "../../../src/domain/routing/meter.ts";
import type { Tried } from "../../../src/edge/forward.ts";
import { Meter } from "../../../src/edge/meter.ts";
import type { Passage } from "../../../src/edge/passage.ts";
import { releaseOf, tableOf } from "../../support/tables.ts";

/** A judge has a window within seconds of its end, and sees nothing that is counted in it after that. */
const ARRIVED = windowOf(1_790_000_000_000) + 1_000;
const WAITED_MS = 20_000;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["Date"], now: ARRIVED });
  vi.stubGlobal("scheduler", { wait: async () => {} });
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

async function told(count: (meter: Meter, passage: Passage, tried: Tried) => void): Promise<MeterBatch[]> {
  const sent: MeterBatch[] = [];
  const work: Promise<unknown>[] = [];
  const table = tableOf([], { releases: [releaseOf("r2", 1_000, ["http://127.0.0.1:1"])], judged: true });
  const route = compileRoute(table, null);
  const [release] = route.releases;
  const [instance] = release?.instances ?? [];
  const visit = {
    route,
    arrivedAt: ARRIVED,
    method: "GET",
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
  count(new Meter(), passage as unknown as Passage, tried as unknown as Tried);
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
