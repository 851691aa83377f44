/** Nobody waits for a frozen instance where the environment asks for that. */
import type { RequestListener } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { MeterBatch } from "../../src/domain/routing/meter.ts";
import type { RoutingTable } from "../../src/domain/routing/table.ts";
import { type Origin, startOrigin } from "../support/apps/origin.ts";
import { ask } from "../support/http-client.ts";
import { TIMED } from "../support/patience.ts";
import { type EdgeStack, startEdgeStack } from "../support/stack/edge-stack.ts";
import { releaseOf, tableOf } from "../support/tables.ts";

const INSTANCES = 4;
const origins: Origin[] = [];
let frozen: number | null;
/** Requests that were given up on while they waited. */
let abandoned: number;
let frozenDoes: RequestListener;
let edge: EdgeStack;
let port: number;
const tables = new Map<string, RoutingTable>();
const batches: MeterBatch[] = [];
let hosts = 0;

function serve(overrides: Partial<RoutingTable> = {}): string {
  const host = `h${++hosts}.test`;
  const release = releaseOf(
    "r1",
    10_000,
    origins.map(({ url }) => url),
  );
  const instances = release.instances.map((one) => ({ ...one, id: `${host}-${one.id}` }));
  const releases = [{ ...release, id: `${host}-r1`, instances }];
  const stable = `${host}-r1`;
  tables.set(
    host,
    tableOf([], { hostnames: [host], environment: host, releases, stable, hedge: true, ...overrides }),
  );
  return host;
}

/** How long a GET took, ms. */
async function timed(host: string, method = "GET"): Promise<number> {
  const startedAt = performance.now();
  const { status } = await ask({ port, host, method });
  expect(status).toBe(200);
  return performance.now() - startedAt;
}

beforeAll(async () => {
  for (let n = 0; n < INSTANCES; n += 1)
    origins.push(
      await startOrigin(`i${n}`, (request, response) => {
        if (n !== frozen) return response.end("ok");
        response.on("close", () => {
          if (!response.writableEnded) abandoned += 1;
        });
        return frozenDoes(request, response);
      }),
    );
  edge = await startEdgeStack({
    table: (hostname) => {
      const table = tables.get(hostname);
      return table ? { kind: "table", table } : { kind: "unknown" };
    },
    meter: (batch) => void batches.push(batch),
  });
  port = edge.ports[0] ?? 0;
});
afterAll(async () => {
  await edge.dispose();
  await Promise.all(origins.map((origin) => origin.stop()));
});
beforeEach(() => {
  frozen = null;
  abandoned = 0;
  frozenDoes = () => {};
  for (const origin of origins) origin.seen.length = 0;
});

describe("with one of four instances frozen, at 20 requests a second", () => {
  it("no GET takes longer than a second, from the first frozen moment on", TIMED, async () => {
    const host = serve();
    for (let i = 0; i < 120; i += 20) await Promise.all(Array.from({ length: 20 }, () => timed(host)));
    frozen = 2;
    const asked: Promise<number>[] = [];
    for (let i = 0; i < 40; i += 1) {
      asked.push(timed(host));
      await sleep(50);
    }
    const took = await Promise.all(asked);
    expect(Math.max(...took)).toBeLessThan(1_000);
    // It fails three in a row, and is asked now and then whether it is back.
    const tried = origins[2]?.seen.length ?? 0;
    expect(tried - 30).toBeLessThan(10);
    await expect.poll(() => abandoned).toBe(tried - 30);
  });

  it("nobody who is new here waits longer, either", TIMED, async () => {
    frozen = 1;
    const host = serve();
    const took = await Promise.all(Array.from({ length: 20 }, () => timed(host)));
    expect(Math.max(...took)).toBeLessThan(1_000);
  });
});

it("charges the slow with slowness, and with no error", async () => {
  frozen = 0;
  const host = serve();
  for (let i = 0; i < 8; i += 1) await timed(host);
  const own = () =>
    batches.filter(({ environment }) => environment === host).flatMap(({ entries }) => entries);
  await expect.poll(() => own().reduce((sum, { requests }) => sum + requests, 0)).toBe(8);
  expect(own().map(({ errors, failed }) => errors + failed)).toEqual(own().map(() => 0));
});

it("takes the answer that comes, where the other one fails", TIMED, async () => {
  frozen = 0;
  frozenDoes = (_, response) => void setTimeout(() => response.end("late"), 700);
  const host = serve();
  const table = tables.get(host) as RoutingTable;
  const releases = table.releases.map((one) => ({
    ...one,
    instances: one.instances
      .slice(0, 2)
      .map((instance, n) => (n === 1 ? { ...instance, origin: "http://127.0.0.1:1" } : instance)),
  }));
  tables.set(host, { ...table, releases });
  const texts = await Promise.all([0, 1].map(async () => (await ask({ port, host })).text));
  expect(texts).toContain("late");
});

it("asks once what is no GET, who keeps to an instance, and where nobody asks for it", TIMED, async () => {
  frozen = 0;
  frozenDoes = (_, response) => void setTimeout(() => response.end(), 650);
  const off = serve({ hedge: undefined } as unknown as Partial<RoutingTable>);
  const sticky = serve({ affinity: { kind: "ip", to: "instance" } });
  const headers = { "cf-connecting-ip": "192.0.2.1" };
  const cases = [
    { host: off, method: "GET" },
    { host: serve(), method: "HEAD" },
    { host: serve(), method: "POST" },
    { host: sticky, method: "GET" },
  ];
  await Promise.all(cases.flatMap((one) => Array.from({ length: 4 }, () => ask({ port, headers, ...one }))));
  expect(origins.reduce((sum, { seen }) => sum + seen.length, 0)).toBe(16);
});

it("asks nobody twice beyond the retry budget: an app that is slow all over is no storm", TIMED, async () => {
  const slow = origins.map(({ server }) => server);
  for (const server of slow) {
    server.removeAllListeners("request");
    server.on("request", (_, response) => void setTimeout(() => response.end("slow"), 600));
  }
  let seen = 0;
  for (const server of slow)
    server.prependListener("request", () => {
      seen += 1;
    });
  const host = serve();
  await Promise.all(Array.from({ length: 200 }, () => timed(host)));
  expect(seen).toBeLessThan(200 + 100 + 40 + 30);
});
