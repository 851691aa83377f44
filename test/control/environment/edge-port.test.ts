import { createExecutionContext, listDurableObjectIds } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { beforeEach, describe, expect, it } from "vitest";
import { EdgePort } from "../../../src/control/environment/edge-port.ts";
import { HostnameCache } from "../../../src/control/environment/hostname-cache.ts";
import { readCounts } from "../../../src/control/meter/meter-parts.ts";
import { openDb } from "../../../src/control/store/db.ts";
import { environments } from "../../../src/control/store/schema/environments.ts";
import { hostnamesBelow, resolveHostname } from "../../../src/control/store/status.ts";
import { windowOf } from "../../../src/domain/routing/meter.ts";
import { Api } from "../support/api.ts";
import { countQueries } from "../support/count-queries.ts";
import { batchOf, counts } from "../support/meter.ts";
import * as world from "../support/world.ts";

let api: Api;
beforeEach(async () => {
  await world.emptyWorld();
  api = new Api();
});

/** An app of one environment with one hostname; answers the environment's id. */
async function appliedAt(app: string, hostname: string): Promise<string> {
  const text = world.manifest(app).replace(/hostnames: \[[^\]]*\]/, `hostnames: ["${hostname}"]`);
  expect((await api.apply(app, text)).status).toBeLessThan(300);
  const rows = await world.db.select().from(environments).all();
  return rows.find(({ spec }) => spec.app === app)?.id ?? expect.fail();
}

describe("the edge's port", () => {
  it("asks the coordinator of the environment that owns the hostname", async () => {
    const environment = await world.applied(api, "port-a");
    const port = new EdgePort(createExecutionContext(), api.env);
    await port.table("port-a.example.com", 7);
    expect(api.coordinators.of("table")).toMatchObject([
      { environment, input: { hostname: "port-a.example.com", known: 7 } },
    ]);
  });

  it("asks the longest wildcard's owner by that wildcard, and tells what below it is somebody's own", async () => {
    const wild = await appliedAt("wild", "*.tenants.example");
    const deep = await appliedAt("deep", "*.deep.tenants.example");
    const own = await appliedAt("own", "own.tenants.example");
    const port = new EdgePort(createExecutionContext(), api.env);
    for (const name of [
      "a.tenants.example",
      "a.b.tenants.example",
      "x.deep.tenants.example",
      "own.tenants.example",
    ])
      await port.table(name, null);
    expect(api.coordinators.of("table").map(({ environment, input }) => [environment, input])).toEqual([
      [wild, { hostname: "*.tenants.example", known: null }],
      [wild, { hostname: "*.tenants.example", known: null }],
      [deep, { hostname: "*.deep.tenants.example", known: null }],
      [own, { hostname: "own.tenants.example", known: null }],
    ]);
    expect(await port.table("tenants.example", null)).toEqual({ kind: "unknown" });
    expect((await hostnamesBelow(openDb(env.DB), "*.tenants.example")).sort()).toEqual([
      "*.deep.tenants.example",
      "own.tenants.example",
    ]);
  });

  it("tells which paths of a hostname have their own, also of one that only a wildcard or nobody has else", async () => {
    const whole = await appliedAt("whole", "parts.example.com");
    const wild = await appliedAt("wild", "*.parts.example.com");
    await appliedAt("alone", "alone.parts.example.com/api");
    const claimed = await api.put("/api/v1/apps/part/hostnames/parts.example.com%2Fapi", { claim: true });
    expect(claimed.status).toBe(200);
    const part = await appliedAt("part", "Parts.example.com/api/");
    const port = new EdgePort(createExecutionContext(), api.env);
    for (const name of ["parts.example.com", "parts.example.com/api", "alone.parts.example.com"])
      await port.table(name, null);
    expect(api.coordinators.of("table").map(({ environment, input }) => [environment, input])).toEqual([
      [whole, { hostname: "parts.example.com", known: null }],
      [part, { hostname: "parts.example.com/api", known: null }],
      [wild, { hostname: "*.parts.example.com", known: null }],
    ]);
    const db = openDb(env.DB);
    expect((await resolveHostname(db, "parts.example.com")).paths).toEqual(["parts.example.com/api"]);
    expect((await resolveHostname(db, "alone.parts.example.com")).paths).toEqual([
      "alone.parts.example.com/api",
    ]);
    expect(await hostnamesBelow(db, "*.parts.example.com")).toEqual(["alone.parts.example.com"]);
  });

  it("answers a flood of made-up hostnames without one Durable Object, and a repeated one without D1", async () => {
    const { counted, DB } = countQueries(env.DB);
    // The real namespace: a coordinator asked for would be there afterwards.
    const port = new EdgePort(createExecutionContext(), { ...env, DB });
    const before = await listDurableObjectIds(env.COORDINATOR);
    for (let i = 0; i < 50; i += 1)
      expect(await port.table(`made-up-${i}.example.com`, null)).toEqual({ kind: "unknown" });
    expect(counted.queries).toBe(50);
    for (let i = 0; i < 50; i += 1) await port.table(`made-up-${i}.example.com`, null);
    expect(counted.queries).toBe(50);
    expect(await listDurableObjectIds(env.COORDINATOR)).toHaveLength(before.length);
  });

  it("hands the edge's counts to the meter, and never to the coordinator that publishes tables", async () => {
    const port = new EdgePort(createExecutionContext(), api.env);
    const window = windowOf(Date.now());
    const batch = { ...batchOf([counts("rel_1", window, 5, 1)]), environment: "env_x" };
    await port.meter(batch);
    await port.meter(batch);
    const [counted] = await readCounts(env.METER, "env_x", { from: window, to: window + 1 });
    expect(counted).toMatchObject({
      release: "rel_1",
      requests: 5,
      failed: 1,
      judged: { requests: 5, errors: 1 },
    });
    expect(api.coordinators.asked).toEqual([]);
  });
});

const owner = { owner: { environment: "env_1", name: "a" }, paths: [] };
const nobody = { owner: null, paths: [] };
describe("the hostname cache", () => {
  it("remembers an owner for 30 s and an unknown name for 5 s", () => {
    const cache = new HostnameCache();
    expect(cache.get("a", 0)).toBeUndefined();
    cache.set("a", owner, 0);
    cache.set("b", nobody, 0);
    expect([cache.get("a", 29_999), cache.get("b", 4_999)]).toEqual([owner, nobody]);
    expect([cache.get("a", 30_000), cache.get("b", 5_000)]).toEqual([undefined, undefined]);
  });

  it("reads what lies below a wildcard once in 30 s, however many names ask", async () => {
    const cache = new HostnameCache();
    let reads = 0;
    const read = async () => [`name-${++reads}.example.com`];
    for (const now of [0, 10, 29_999])
      expect(await cache.below("*.example.com", now, read)).toEqual(["name-1.example.com"]);
    expect(await cache.below("*.example.com", 30_000, read)).toEqual(["name-2.example.com"]);
  });

  it("lets no flood of made-up names push out a real one, nor grow without end", () => {
    const cache = new HostnameCache();
    cache.set("real", owner, 0);
    for (let i = 0; i < 20_000; i += 1) cache.set(`made-up-${i}`, nobody, 0);
    expect(cache.get("real", 1)).toEqual(owner);
    expect(cache.get("made-up-0", 1)).toBeUndefined();
    expect(cache.get("made-up-19999", 1)).toEqual(nobody);
  });
});
