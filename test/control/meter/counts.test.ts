import { evictDurableObject, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { beforeEach, describe, expect, it } from "vitest";
import { Counts } from "../../../src/control/meter/counts.ts";
import { partOf, readCounts } from "../../../src/control/meter/meter-parts.ts";
import { Traffic } from "../../../src/control/meter/traffic.ts";
import { openDb } from "../../../src/control/store/db.ts";
import { readUsed } from "../../../src/control/store/figures/days-of-use.ts";
import type { MeterEntry } from "../../../src/domain/routing/meter.ts";
import { waitFor } from "../../support/patience.ts";
import { batchOf, counts, meterOf } from "../support/meter.ts";
import * as world from "../support/world.ts";

const WINDOW = 10_000;
const NOON = Math.ceil(Date.now() / WINDOW) * WINDOW;
const stub = () => meterOf("env_1", "AMS");

beforeEach(() => world.emptyWorld());

/** Rows that `work` wrote and read, by the runtime's own counters. */
async function cost(work: (counts: Counts) => void): Promise<{ written: number; read: number }> {
  return runInDurableObject(stub(), (_, { storage }) => {
    const spent = { written: 0, read: 0 };
    const sql = new Proxy(storage.sql, {
      get: (target, key) => {
        if (key !== "exec") return Reflect.get(target, key);
        return (...args: Parameters<SqlStorage["exec"]>) => {
          const cursor = target.exec(...args);
          const rows = cursor.toArray();
          spent.written += cursor.rowsWritten;
          spent.read += cursor.rowsRead;
          return Object.assign(rows, { rowsWritten: cursor.rowsWritten });
        };
      },
    });
    const made = new Counts(sql);
    Object.assign(spent, { written: 0, read: 0 });
    work(made);
    return spent;
  });
}

const at = (ms: number) => NOON + ms;
const windowAt = (ms: number) => at(ms) - (at(ms) % WINDOW);
const resting = (ms: number, isolate = "a") => ({
  ...batchOf([counts("rel_1", windowAt(ms), 20)], `${isolate}-${ms}`),
  judged: false,
});

describe("what counts cost", () => {
  it("at rest, one isolate for an hour: a row or two a flush, and it reads no more with an hour kept than with none", async () => {
    const { written, read } = await cost((kept) => {
      for (let ms = 0; ms < 3_600_000; ms += WINDOW) kept.absorb(resting(ms), at(ms));
    });
    expect(written).toBeLessThanOrEqual(360 * 2);
    expect(read).toBeLessThanOrEqual(360 * 3);
  });

  it("at rest, twenty isolates in one data centre: stored once a minute, not at every flush", async () => {
    const { written } = await cost((kept) => {
      for (let ms = 0; ms < 600_000; ms += 500) kept.absorb(resting(ms, String(ms % WINDOW)), at(ms));
    });
    // 1,200 flushes; six windows a minute, each stored at most twice (when it is open, and whole).
    expect(written).toBeLessThanOrEqual(10 * 8);
  });

  it("while a release is judged, two releases of three instances: three rows for all that come in 100 ms", async () => {
    const entries = (ms: number) =>
      ["rel_1", "rel_2"].flatMap((release) =>
        [1, 2, 3].map((n) => counts(release, windowAt(ms), 5, 0, { instance: `${release}-${n}` })),
      );
    const { written, read } = await cost((kept) => {
      for (let ms = 0; ms < 1_200_000; ms += 1_000) {
        for (let isolate = 0; isolate < 5; isolate++) {
          const batch = { ...batchOf(entries(ms), `j-${ms}-${isolate}`), judged: true };
          expect(kept.absorb(batch, at(ms))).toBe(true);
        }
        kept.store(at(ms));
      }
    });
    // The batches' ids, two windows; and the ids' end five minutes later.
    expect(written).toBeLessThanOrEqual(1_200 * 4);
    expect(read).toBeLessThanOrEqual(1_200 * 20);
  });
});

describe("what was counted", () => {
  const absorb = (batch: Parameters<Counts["absorb"]>[0], ms: number) =>
    runInDurableObject(stub(), (meter) => {
      meter.clock = () => at(ms);
      meter.gatherMs = 0;
      return meter.absorb(batch);
    });
  const requests = async () =>
    (await stub().read(NOON - 3_600_000, at(3_600_000))).reduce((sum, one) => sum + one.requests, 0);

  it("is whole after the object left memory, when it was acknowledged while a release is judged", async () => {
    for (let n = 0; n < 5; n++) {
      await absorb({ ...batchOf([counts("rel_1", windowAt(n), 10)], `b-${n}`), judged: true }, n);
      await evictDurableObject(stub());
      await absorb({ ...batchOf([counts("rel_1", windowAt(n), 10)], `b-${n}`), judged: true }, n + 1);
    }
    expect(await requests()).toBe(50);
  });

  it("at rest loses no more than its last minute", async () => {
    for (let ms = 0; ms < 300_000; ms += 1_000) await absorb(resting(ms), ms);
    expect(await requests()).toBe(300 * 20);
    await evictDurableObject(stub());
    expect(await requests()).toBeGreaterThanOrEqual(240 * 20);
  });

  it("is kept at once when it comes rarely", async () => {
    for (const ms of [0, 20_000, 47_000]) {
      await absorb(resting(ms), ms);
      await evictDurableObject(stub());
    }
    expect(await requests()).toBe(60);
  });

  it("is told to whoever counts the day: each visitor's request once, and each row that was written", async () => {
    const told = { visitors: 0, objectRows: 0 };
    await runInDurableObject(stub(), (_, { storage }) => {
      const kept = new Counts(storage.sql, (kind, count) => {
        told[kind] += count;
      });
      for (let ms = 0; ms < 7_200_000; ms += WINDOW) kept.absorb(resting(ms), at(ms));
      kept.absorb(resting(7_190_000), at(7_190_000));
      const own = counts("rel_1", windowAt(7_190_000), 9, 0, { synthetic: true });
      kept.absorb({ ...batchOf([own]), judged: false }, at(7_190_000));
    });
    expect(told.visitors).toBe(720 * 20);
    expect(told.objectRows).toBeGreaterThan(720);
  });

  it("is forgotten after an hour, and refused from clocks that are far off", async () => {
    await absorb({ ...batchOf([counts("rel_1", windowAt(0), 10)]), judged: true }, 0);
    await absorb({ ...batchOf([counts("rel_1", windowAt(0), 10)]), judged: true }, 3_700_000);
    await absorb({ ...batchOf([counts("rel_1", windowAt(9_000_000), 10)]), judged: true }, 3_700_000);
    expect(await requests()).toBe(0);
  });
});

it("merges what data centres counted in different parts: requests add up, a visitor who erred twice is one", async () => {
  const colos = ["AMS", "FRA", "LHR", "SIN", "IAD", "GRU"];
  expect(new Set(colos.map((colo) => partOf("env_1", colo))).size).toBeGreaterThan(1);
  for (const colo of colos) {
    const entry = counts("rel_1", NOON, 10, 1, { erroredVisitors: [42] });
    await runInDurableObject(meterOf("env_1", colo), (meter) => {
      meter.clock = () => NOON + 1;
      return meter.absorb({ ...batchOf([entry]), colo });
    });
  }
  const [counted, ...more] = await readCounts(env.METER, "env_1", { from: NOON, to: NOON + 1 });
  expect(more).toEqual([]);
  expect(counted?.judged).toMatchObject({ requests: 60, errors: 6 });
  expect(counted?.judged?.visitors.filter((byte) => byte > 0)).toHaveLength(1);
});

describe("totals", () => {
  const HOUR = 3_600_000;
  const total = (counts: Counts, ms: number) => counts.totals(at(ms)).releases[0];

  it("keep what was counted when its windows are dropped, and when the object was gone", async () => {
    await runInDurableObject(stub(), (_, { storage }) => {
      const first = new Counts(storage.sql);
      expect(first.totals(at(0)).releases).toEqual([]);
      for (let ms = 0; ms < 2 * HOUR; ms += 60_000) first.absorb(resting(ms), at(ms));
      expect(total(first, 2 * HOUR)).toMatchObject({ requests: 2_400, classes: [0, 0, 2_400, 0, 0, 0] });
      expect(total(new Counts(storage.sql), 2 * HOUR)).toEqual(total(first, 2 * HOUR));
    });
  });

  it("never tell what an eviction would take back: what waits is stored first, or not told yet", async () => {
    await runInDurableObject(stub(), (_, { storage }) => {
      const kept = new Counts(storage.sql);
      for (let ms = 0; ms < 20_000; ms += 1_000) kept.absorb(resting(ms, "b"), at(ms));
      const told = kept.totals(at(20_000));
      expect(total(new Counts(storage.sql), 20_000)).toEqual(told.releases[0]);
      expect(told.lagMs).toBe(19_000);
      expect(kept.totals(at(120_000))).toMatchObject({ releases: [{ requests: 400 }], lagMs: 0 });
    });
  });
});

it("tells D1 what it uses, and loses none of it in a day that D1 did not take", async () => {
  const used = () => readUsed(openDb(env.DB), NOON);
  await runInDurableObject(stub(), async (meter) => {
    meter.clock = () => NOON;
    for (let n = 0; n < 1_000; n++)
      await meter.absorb({ ...batchOf([counts("rel_1", windowAt(0), 3)], `c-${n}`), judged: false });
  });
  await waitFor(async () => expect((await used()).objectCalls).toBeGreaterThanOrEqual(1_000 - 200));
  const { objectCalls, visitors } = await used();
  expect(objectCalls).toBeLessThanOrEqual(1_200);
  expect(visitors).toBeGreaterThanOrEqual(3_000 - 200);
  expect(visitors).toBeLessThanOrEqual(3_200);
});

describe("compared answers", () => {
  const route = "GET /cart";
  const compared = (more: object = {}) => ({
    routes: [{ route, answers: 4 }],
    fields: [{ route, field: "$.total", canary: 3, stable: 0, both: 0, ...more }],
  });
  const batch = (colo: string, more?: object) => ({
    ...batchOf([]),
    colo,
    mirrored: [
      { release: "rel_2", window: NOON, requests: 4, errors: 0, mismatches: 0, compared: compared(more) },
    ],
  });
  const told = async () => {
    const read = await readCounts(env.METER as never, "env_1", { from: NOON, to: NOON + WINDOW });
    return new Traffic(read).window(NOON, "rel_2", "rel_1").compared;
  };

  it("add up over data centres, each batch once, also after the object left memory", async () => {
    const first = batch("AMS");
    await stub().absorb(first);
    await evictDurableObject(stub());
    await stub().absorb(first);
    await stub().absorb(batch("AMS"));
    await meterOf("env_1", "FRA").absorb(batch("FRA", { field: "$.at", both: 4, canary: 0 }));
    const found = await told();
    expect(found?.routes).toEqual([{ route, answers: 12 }]);
    expect(found?.fields.toSorted((a, b) => b.canary - a.canary)).toEqual([
      { route, field: "$.total", canary: 6, stable: 0, both: 0 },
      { route, field: "$.at", canary: 0, stable: 0, both: 4 },
    ]);
  });

  it("that can't have been counted are left out, and so are endless names", async () => {
    for (const more of [{ canary: -1 }, { stable: Number.NaN }, { both: 0.5 }, { field: "x".repeat(500) }])
      await stub().absorb(batch("AMS", more));
    expect(await told()).toBeUndefined();
  });
});

describe("while traffic is split", () => {
  const entry = (release: string, instance: string, routes: [string, number, number][]) =>
    counts(release, NOON, 100, 2, {
      instance,
      routes: routes.map(([route, requests, errors]) => ({
        route,
        requests,
        errors,
        visitors: Array.from({ length: errors }, (_, n) => n),
      })),
    });
  const failing = (instance: string, failedId: string) =>
    counts("rel_2", NOON, 1, 1, {
      instance,
      routes: [{ route: "POST /pay", requests: 1, errors: 1, visitors: [1], failedId }],
    });
  const told = async () => {
    const read = await readCounts(env.METER as never, "env_1", { from: NOON, to: NOON + WINDOW });
    return new Traffic(read).window(NOON, "rel_2", "rel_1", (instance) => `host of ${instance}`);
  };

  it("routes and hosts are told apart on both sides, also after the object left memory", async () => {
    const batch = (colo: string, more: MeterEntry[]) => ({ ...batchOf(more), colo });
    await stub().absorb(
      batch("AMS", [
        entry("rel_1", "a", [
          ["GET /", 90, 0],
          ["POST /pay", 10, 1],
        ]),
      ]),
    );
    await stub().absorb(batch("AMS", [entry("rel_2", "b", [["POST /pay", 9, 5]])]));
    await meterOf("env_1", "FRA").absorb(batch("FRA", [entry("rel_2", "c", [["POST /pay", 4, 0]])]));
    await evictDurableObject(stub());
    await stub().absorb(batch("AMS", [entry("rel_2", "b", [["POST /pay", 1, 1]])]));
    const window = await told();
    expect(window.routes?.find(({ route }) => route === "POST /pay")).toEqual({
      route: "POST /pay",
      canary: { n: 14, errors: 6, distinctErrors: 5 },
      baseline: { n: 10, errors: 1, distinctErrors: 1 },
      hosts: expect.arrayContaining([
        { host: "host of b", n: 10, errors: 6 },
        { host: "host of c", n: 4, errors: 0 },
      ]),
    });
    expect(window.hosts?.find(({ host }) => host === "host of b")).toMatchObject({
      canary: { n: 200, errors: 4, distinctErrors: 2 },
      baseline: { n: 0 },
    });
  });

  it("a request that failed is known by its id, unless that is a word which any line may hold", async () => {
    const batch = (colo: string, more: MeterEntry[]) => ({ ...batchOf(more), colo });
    await stub().absorb(batch("AMS", [entry("rel_1", "a", [["POST /pay", 9, 0]])]));
    await stub().absorb(batch("AMS", [failing("b", "4f0c8a52-1d7e-4b-9k")]));
    await evictDurableObject(stub());
    for (const id of [
      "password",
      "password-of-customers",
      "4f0c8a52",
      "4f0c8a52-1d7e .*",
      `1${"x".repeat(200)}`,
    ])
      await meterOf("env_1", "FRA").absorb(batch("FRA", [failing("c", id)]));
    const { routes = [] } = await told();
    const failed = { id: "4f0c8a52-1d7e-4b-9k", instance: "b", since: NOON };
    expect(routes).toEqual([expect.objectContaining({ route: "POST /pay", failed })]);
  });

  it("made-up paths take bounded room, and push no failing route out", async () => {
    const paths = (from: number) =>
      Array.from({ length: 30 }, (_, n): [string, number, number] => [`GET /made-up-${from + n}`, 1, 0]);
    for (let i = 0; i < 30; i++) await stub().absorb(batchOf([entry("rel_1", "a", paths(i * 30))]));
    await stub().absorb(batchOf([entry("rel_2", "b", [["POST /pay", 3, 1]])]));
    await stub().absorb(batchOf([entry("rel_1", "a", [["POST /pay", 8, 0]])]));
    const { routes = [] } = await told();
    expect(routes.length).toBeLessThanOrEqual(34);
    expect(routes.find(({ route }) => route === "POST /pay")).toMatchObject({
      canary: { n: 3, errors: 1 },
      baseline: { n: 8, errors: 0 },
    });
  });
});
