import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type RoutingTable, STALENESS_BOUND_MS, type TableAnswer } from "../../src/domain/routing/table.ts";
import { type Origin, startOrigin } from "../support/apps/origin.ts";
import { type Answer, ask } from "../support/http-client.ts";
import { TIMED } from "../support/patience.ts";
import { type EdgeStack, startEdgeStack } from "../support/stack/edge-stack.ts";
import { tableOf } from "../support/tables.ts";

/** Control is far away: so long until it answers. */
const FAR_MS = 300;
/** A rollback's trips to a database that is far away, before the table is published. */
const ROLLBACK_MS = 3 * 120;
const CLOCK = "x-test-clock";
const AT_REST = { staleMs: 60_000 };

let good: Origin;
let bad: Origin;
let edge: EdgeStack;
const published = new Map<string, RoutingTable>();
let control: () => Promise<unknown>;
const far = () => sleep(FAR_MS);

const tableFor = (hostname: string, origin: Origin, overrides: Partial<RoutingTable> = {}) =>
  tableOf([origin.url], { hostnames: [hostname], ...overrides });
const nameOf = (answer: Answer): string | undefined =>
  answer.status === 200 ? JSON.parse(answer.text).name : undefined;

beforeAll(async () => {
  good = await startOrigin("good");
  bad = await startOrigin("bad");
  const table = async (hostname: string, known: number | null): Promise<TableAnswer> => {
    const said = published.get(hostname);
    await control();
    if (said === undefined) return { kind: "unknown" };
    return said.version === known
      ? { kind: "unchanged", version: known }
      : ({ kind: "table", table: said } as TableAnswer);
  };
  edge = await startEdgeStack({ table, meter: () => {} }, { edges: 3, clockHeader: CLOCK });
});
afterAll(async () => {
  await edge.dispose();
  await Promise.all([good.stop(), bad.stop()]);
});
beforeEach(async () => {
  control = far;
  await edge.setAhead(0);
});

async function timed(port: number, host: string): Promise<{ answer: Answer; tookMs: number }> {
  const began = performance.now();
  const answer = await ask({ port, host });
  return { answer, tookMs: performance.now() - began };
}

/** How long after `began` every isolate has left the bad release, with a visitor each 100 ms at each: none ever goes back. */
async function untilAllLeft(host: string, began: number): Promise<number> {
  const visits = edge.ports.map(async (port) => {
    while (nameOf(await ask({ port, host })) === "bad") await sleep(100);
  });
  await Promise.all(visits);
  return Date.now() - began;
}

describe("at rest", () => {
  it("no visitor waits for a table, however far away control is", TIMED, async () => {
    published.set("quiet.test", tableFor("quiet.test", good, AT_REST));
    const [port = 0] = edge.ports;
    await ask({ port, host: "quiet.test" });
    for (const quietMs of [3_000, 20_000, 55_000]) {
      await edge.setAhead(quietMs);
      const { answer, tookMs } = await timed(port, "quiet.test");
      expect(nameOf(answer)).toBe("good");
      expect(tookMs, `after ${quietMs} ms`).toBeLessThan(FAR_MS);
      // The refresh behind it vouches for the table until then.
      await sleep(FAR_MS + 100);
    }
  });

  it("an isolate that was quiet for longer than its table may be stale asks first", async () => {
    published.set("long.test", tableFor("long.test", bad, AT_REST));
    const [port = 0] = edge.ports;
    await ask({ port, host: "long.test" });
    published.set("long.test", tableFor("long.test", good, { ...AT_REST, version: 2 }));
    await edge.setAhead(61_000);
    expect(nameOf(await ask({ port, host: "long.test" }))).toBe("good");
  });

  it("while something moves a table is two seconds old at most", async () => {
    published.set("moves.test", tableFor("moves.test", bad, { staleMs: 2_000 }));
    const [port = 0] = edge.ports;
    await ask({ port, host: "moves.test" });
    published.set("moves.test", tableFor("moves.test", good, { version: 2 }));
    await edge.setAhead(2_100);
    expect(nameOf(await ask({ port, host: "moves.test" }))).toBe("good");
  });
});

describe("a rollback from rest", () => {
  const isIn = async (host: string, answers: () => Promise<unknown>) => {
    published.set(host, tableFor(host, bad, AT_REST));
    await Promise.all(edge.ports.map((port) => ask({ port, host })));
    control = answers;
    const began = Date.now();
    const asked = sleep(ROLLBACK_MS).then(() =>
      published.set(host, tableFor(host, good, { version: 2, staleMs: 2_000 })),
    );
    const tookMs = await untilAllLeft(host, began);
    await asked;
    return tookMs;
  };

  it.each([
    ["control is 300 ms away and D1 120 ms", "far.test", far],
    ["control takes longer than anybody waits for it", "slow.test", () => sleep(1_300)],
  ])("is in force within the bound wherever there is traffic, when %s", TIMED, async (_, host, answers) => {
    expect(await isIn(host, answers)).toBeLessThan(STALENESS_BOUND_MS);
  });

  it(
    "is in force soon after a coordinator that stalled goes on, and nobody is held up for long meanwhile",
    TIMED,
    async () => {
      published.set("stall.test", tableFor("stall.test", bad, AT_REST));
      const [port = 0] = edge.ports;
      await ask({ port, host: "stall.test" });
      const { promise: goesOn, resolve } = Promise.withResolvers<void>();
      control = () => goesOn;
      published.set("stall.test", tableFor("stall.test", good, { version: 2 }));
      const tookMs: number[] = [];
      for (let n = 0; n < 25; n += 1) {
        tookMs.push((await timed(port, "stall.test")).tookMs);
        await sleep(100);
      }
      expect(Math.max(...tookMs)).toBeLessThan(500);
      resolve();
      const since = Date.now();
      await expect.poll(async () => nameOf(await ask({ port, host: "stall.test" }))).toBe("good");
      expect(Date.now() - since).toBeLessThan(STALENESS_BOUND_MS);
    },
  );
});
