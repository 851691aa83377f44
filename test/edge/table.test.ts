import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { covers } from "../../src/domain/hostnames.ts";
import { wildcardsOver } from "../../src/domain/routing/hostname.ts";
import { type RoutingTable, STALENESS_BOUND_MS, type TableAnswer } from "../../src/domain/routing/table.ts";
import { type Origin, startOrigin } from "../support/apps/origin.ts";
import { type Answer, ask } from "../support/http-client.ts";
import { TIMED } from "../support/patience.ts";
import { type EdgeStack, startEdgeStack } from "../support/stack/edge-stack.ts";
import { tableOf } from "../support/tables.ts";

const CLOCK = "x-test-clock";
const TEN_MINUTES_MS = 600_000;

let first: Origin;
let second: Origin;
let edge: EdgeStack;
let warm: number;
let cold: number;
let colder: number;
/** Only the last test's, who are long without control. */
let late: number;
/** What control was asked: hostname and known version. */
const asked: [string, number | null][] = [];
const published = new Map<string, unknown>();
let fault: (() => never | Promise<never>) | null = null;

const tableFor = (hostname: string, origin: Origin, overrides: Partial<RoutingTable> = {}) =>
  tableOf([origin.url], { hostnames: [hostname], ...overrides });
const nameOf = (answer: Answer): string | undefined =>
  answer.status === 200 ? JSON.parse(answer.text).name : undefined;
const codeOf = (answer: Answer): string => JSON.parse(answer.text).code;

/** By how much each edge's clock was set forward. */
const ahead = new Map<number, number>();
const setAhead = (port: number, ms: number, host: string) => {
  ahead.set(port, ms);
  return ask({ port, host, headers: { [CLOCK]: String(ms) } });
};
/** Asks an edge after so much more time by its clock. */
const askLater = (port: number, ms: number, host: string) =>
  setAhead(port, (ahead.get(port) ?? 0) + ms, host);

/** Asks until the condition holds, for the staleness bound by the edge's clock. */
async function within(host: string, holds: (answer: Answer) => boolean, port = warm): Promise<void> {
  for (let passed = 0; passed < STALENESS_BOUND_MS; passed += 250) {
    if (holds(await askLater(port, 250, host))) return;
  }
  throw new Error(`${host} did not change within the staleness bound`);
}

beforeAll(async () => {
  first = await startOrigin("first");
  second = await startOrigin("second");
  edge = await startEdgeStack(
    {
      table: async (hostname, known) => {
        asked.push([hostname, known]);
        await fault?.();
        // Tests publish broken tables too, which no type allows.
        const name = published.has(hostname)
          ? hostname
          : wildcardsOver(hostname).find((one) => published.has(one));
        const table = published.get(name ?? hostname) as RoutingTable | undefined;
        const paths = [...published.keys()].filter((one) => one.startsWith(`${hostname}/`));
        if (table === undefined) return { kind: "unknown", paths };
        if (paths.length > 0 && table.version !== known) return { kind: "table", table, paths };
        if (name?.startsWith("*.") && table.version !== known)
          return {
            kind: "table",
            table,
            except: [...published.keys()].filter((one) => covers(name, one) && one !== name),
          };
        return table.version === known
          ? { kind: "unchanged", version: known }
          : ({ kind: "table", table } as TableAnswer);
      },
      meter: () => {},
    },
    { edges: 4, clockHeader: CLOCK },
  );
  [warm = 0, cold = 0, colder = 0, late = 0] = edge.ports;
});
afterAll(async () => {
  await edge.dispose();
  await Promise.all([first.stop(), second.stop()]);
});
beforeEach(() => {
  asked.length = 0;
  fault = null;
});

describe("the routing table in the edge", () => {
  it("is asked for once, then serves from memory without a call", async () => {
    published.set("steady.test", tableFor("steady.test", first));
    for (let i = 0; i < 50; i += 1)
      expect(nameOf(await ask({ port: warm, host: "steady.test" }))).toBe("first");
    expect(asked.length).toBeLessThanOrEqual(2);
  });

  it("is asked for once when many first requests come together", async () => {
    published.set("burst.test", tableFor("burst.test", first));
    const answers = await Promise.all(
      Array.from({ length: 40 }, () => ask({ port: warm, host: "burst.test" })),
    );
    expect(new Set(answers.map(nameOf))).toEqual(new Set(["first"]));
    expect(asked.filter(([hostname]) => hostname === "burst.test")).toHaveLength(1);
  });

  it("changes within the staleness bound, in isolates that were idle too", async () => {
    published.set("moves.test", tableFor("moves.test", first));
    for (const port of [warm, cold]) expect(nameOf(await ask({ port, host: "moves.test" }))).toBe("first");
    published.set("moves.test", tableFor("moves.test", second, { version: 2 }));
    await within("moves.test", (answer) => nameOf(answer) === "second");
    expect(nameOf(await askLater(cold, STALENESS_BOUND_MS, "moves.test"))).toBe("second");
  });

  it("never goes back to an older version, whoever brings it", async () => {
    published.set("rises.test", tableFor("rises.test", second, { version: 9 }));
    expect(nameOf(await ask({ port: warm, host: "rises.test" }))).toBe("second");
    published.set("rises.test", tableFor("rises.test", first, { version: 8 }));
    expect(nameOf(await askLater(warm, 2_200, "rises.test"))).toBe("second");
    expect(nameOf(await askLater(warm, 200, "rises.test"))).toBe("second");
  });

  it("stays the last good one when a broken table arrives", async () => {
    const spoiled: Record<string, (table: RoutingTable) => unknown> = {
      "schema.test": (table) => ({ ...table, schema: 2 }),
      "shape.test": (table) => ({ ...table, releases: "none" }),
      "weights.test": (table) => ({ ...table, releases: [] }),
      "foreign.test": (table) => ({ ...table, hostnames: ["other.test"] }),
      "nothing.test": () => "nothing",
    };
    const stays = async ([host, spoil]: [string, (table: RoutingTable) => unknown]) => {
      published.set(host, tableFor(host, second));
      expect(nameOf(await ask({ port: warm, host }))).toBe("second");
      published.set(host, spoil(tableFor(host, first, { version: 2 })));
      const askedFor = () => asked.filter(([hostname]) => hostname === host).length;
      const before = askedFor();
      while (askedFor() < before + 2) {
        expect(nameOf(await askLater(warm, 250, host)), host).toBe("second");
      }
    };
    await Promise.all(Object.entries(spoiled).map(stays));
  });

  it("goes when control says that nobody owns the hostname any more", async () => {
    published.set("deleted.test", tableFor("deleted.test", first));
    expect(nameOf(await ask({ port: warm, host: "deleted.test" }))).toBe("first");
    published.delete("deleted.test");
    await within("deleted.test", (answer) => answer.status === 404);
    expect(codeOf(await ask({ port: warm, host: "deleted.test" }))).toBe("hostname_unknown");
  });

  it("comes for a hostname that was unknown a moment ago", async () => {
    expect((await ask({ port: warm, host: "new.test" })).status).toBe(404);
    published.set("new.test", tableFor("new.test", first));
    await within("new.test", (answer) => nameOf(answer) === "first");
  });

  it("follows a hostname to another environment, whose version is lower", async () => {
    published.set("moved.test", tableFor("moved.test", first, { version: 50 }));
    expect(nameOf(await ask({ port: warm, host: "moved.test" }))).toBe("first");
    const publishedAt = Date.now();
    published.set(
      "moved.test",
      tableFor("moved.test", second, { environment: "env_9", version: 1, publishedAt }),
    );
    await within("moved.test", (answer) => nameOf(answer) === "second");
  });

  it("does not ask control again for an unknown hostname on every request", async () => {
    for (let i = 0; i < 20; i += 1) await ask({ port: warm, host: "nobody.test" });
    expect(asked.filter(([hostname]) => hostname === "nobody.test").length).toBeLessThanOrEqual(3);
  });
});

describe("without control", () => {
  it.each([
    ["fails", () => Promise.reject(new Error("control is being deployed"))],
    ["hangs", () => new Promise<never>(() => {})],
  ])("goes on serving the last good table when control %s", TIMED, async (kind, fail) => {
    const host = `${kind}.test`;
    published.set(host, tableFor(host, first));
    expect(nameOf(await ask({ port: warm, host }))).toBe("first");
    fault = fail;
    ahead.set(warm, (ahead.get(warm) ?? 0) + 2_100);
    const slowest: number[] = [];
    for (let i = 0; i < 30; i += 1) {
      const since = Date.now();
      expect(nameOf(await askLater(warm, 0, host))).toBe("first");
      slowest.push(Date.now() - since);
      await sleep(50);
    }
    // One request may wait for control, up to its deadline; the others must not.
    expect(slowest.filter((ms) => ms > 700).length).toBeLessThanOrEqual(1);
    fault = null;
    published.set(host, tableFor(host, second, { version: 2 }));
    await within(host, (answer) => nameOf(answer) === "second");
  });

  it("starts a cold isolate from the copy in KV, and catches up when control is back", async () => {
    await edge.putKv("table:kv.test", tableFor("kv.test", first));
    fault = () => Promise.reject(new Error("control is gone"));
    expect(nameOf(await ask({ port: colder, host: "kv.test" }))).toBe("first");
    fault = null;
    published.set("kv.test", tableFor("kv.test", second, { version: 2 }));
    await within("kv.test", (answer) => nameOf(answer) === "second", colder);
  });

  it("says so, with 503, when there is no copy either", async () => {
    fault = () => Promise.reject(new Error("control is gone"));
    const answer = await ask({ port: colder, host: "nowhere.test" });
    expect([answer.status, codeOf(answer), answer.headers["retry-after"]]).toEqual([
      503,
      "table_unavailable",
      "2",
    ]);
  });

  it("is logged in lines of JSON, each with its time, level and event", async () => {
    await edge.putKv("table:logged.test", tableFor("logged.test", first));
    fault = () => Promise.reject(new Error("control is gone"));
    expect(nameOf(await ask({ port: colder, host: "logged.test" }))).toBe("first");
    await edge.putKv("table:spoilt-log.test", { schema: 1 });
    await ask({ port: colder, host: "spoilt-log.test" });
    const lines = edge.logs.map((line) => JSON.parse(line));
    const refused = lines.find(({ hostname }) => hostname === "spoilt-log.test");
    expect(refused).toMatchObject({ level: "warn", event: "table.refused" });
    expect(Date.now() - Date.parse(refused.time)).toBeLessThan(60_000);
  });

  it("takes no broken copy from KV", async () => {
    await edge.putKv("table:spoilt.test", { schema: 1 });
    fault = () => Promise.reject(new Error("control is gone"));
    expect((await ask({ port: colder, host: "spoilt.test" })).status).toBe(503);
  });
});

describe("after ten minutes without control", () => {
  const later = (host: string, ms = TEN_MINUTES_MS + 1_000) => setAhead(late, ms, host);
  const lost = async (host: string) => {
    published.set(host, tableFor(host, first));
    await edge.putKv(`table:${host}`, published.get(host));
    expect(nameOf(await later(host, 0))).toBe("first");
    fault = () => Promise.reject(new Error("control is gone"));
  };

  it("serves on while the copy in KV says the same", async () => {
    await lost("same.test");
    expect(nameOf(await later("same.test"))).toBe("first");
    expect(nameOf(await later("same.test", 3 * TEN_MINUTES_MS))).toBe("first");
  });

  it("follows a copy that is newer", async () => {
    await lost("newer.test");
    await edge.putKv("table:newer.test", tableFor("newer.test", second, { version: 2 }));
    expect(nameOf(await later("newer.test", TEN_MINUTES_MS - 60_000))).toBe("first");
    expect(nameOf(await later("newer.test"))).toBe("second");
  });

  it("serves no more what control took away: its slots may be another app's", async () => {
    await lost("taken.test");
    await edge.deleteKv("table:taken.test");
    expect(nameOf(await later("taken.test", TEN_MINUTES_MS - 60_000))).toBe("first");
    expect(codeOf(await later("taken.test"))).toBe("table_unavailable");
    fault = null;
    await within("taken.test", (answer) => nameOf(answer) === "first", late);
  });

  it("keeps its table when the copy is older or broken", async () => {
    await lost("older.test");
    await edge.putKv("table:older.test", tableFor("older.test", second, { version: 0 }));
    expect(nameOf(await later("older.test"))).toBe("first");
    await edge.putKv("table:older.test", { schema: 9 });
    expect(nameOf(await later("older.test", 3 * TEN_MINUTES_MS))).toBe("first");
  });

  it("of a wildcard serves every name below it but those that are somebody's own, and is held once", async () => {
    published.set("*.tenants.test", tableFor("*.tenants.test", first));
    published.set("own.tenants.test", tableFor("own.tenants.test", second));
    published.set("*.deep.tenants.test", tableFor("*.deep.tenants.test", second));
    for (let i = 0; i < 30; i += 1)
      expect(nameOf(await ask({ port: warm, host: `made-up-${i}.tenants.test` }))).toBe("first");
    expect(asked.filter(([name]) => name.endsWith("tenants.test")).length).toBeLessThanOrEqual(2);
    expect(nameOf(await ask({ port: warm, host: "own.tenants.test" }))).toBe("second");
    expect(nameOf(await ask({ port: warm, host: "a.deep.tenants.test" }))).toBe("second");
    expect(nameOf(await ask({ port: warm, host: "b.deep.tenants.test" }))).toBe("second");
    expect((await ask({ port: warm, host: "tenants.test" })).status).toBe(404);
    // A name that gets an owner of its own leaves the wildcard; its table says so when it is next sent whole.
    published.set("made-up-1.tenants.test", tableFor("made-up-1.tenants.test", second));
    await askLater(warm, 31_000, "made-up-2.tenants.test");
    await within("made-up-1.tenants.test", (answer) => nameOf(answer) === "second");
    published.set("*.tenants.test", tableFor("*.tenants.test", second, { version: 2 }));
    await within("made-up-3.tenants.test", (answer) => nameOf(answer) === "second");
  });

  it("of a wildcard is taken from its copy while control is away, and a name's own copy goes before it", async () => {
    const [own, wild] = ["own.copies.test", "*.copies.test"];
    await edge.putKv(`table:${wild}`, tableFor(wild, first));
    await edge.putKv(`table:${own}`, tableFor(own, second));
    fault = () => {
      throw new Error("control is away");
    };
    expect(nameOf(await ask({ port: colder, host: "any.copies.test" }))).toBe("first");
    expect(nameOf(await ask({ port: colder, host: own }))).toBe("second");
  });

  it("of a path is taken for what lies in it, the longest first; a name's other paths stay with the name", async () => {
    published.set("paths.test", tableFor("paths.test", first, { environment: "env_paths" }));
    for (const site of ["paths.test/api", "paths.test/Docs"])
      published.set(site, tableFor(site, second, { environment: "env_second" }));
    published.set("paths.test/api/v1", tableFor("paths.test/api/v1", first, { environment: "env_v1" }));
    const reach = async (path: string) =>
      JSON.parse((await ask({ port: warm, host: "paths.test", path })).text);
    expect(await reach("/api/orders?x=1")).toMatchObject({ name: "second", url: "/api/orders?x=1" });
    for (const path of [
      "/api",
      "/api?x",
      "/api/",
      "/api/v2",
      "/Docs",
      "/%61pi/x",
      "/x/../api/y",
      "/api/v1/../z",
    ])
      expect({ path, name: (await reach(path)).name }).toEqual({ path, name: "second" });
    for (const path of [
      "/",
      "/apis",
      "/API",
      "/api%2Fx",
      "/docs",
      "//api",
      "/?/api/",
      "/api/v1/x",
      "/api/../x",
    ])
      expect({ path, name: (await reach(path)).name }).toEqual({ path, name: "first" });
    // Known by then: no request for a made-up path asks control.
    const before = asked.length;
    for (let i = 0; i < 20; i += 1) await reach(`/made/up/${i}`);
    expect(asked.slice(before).filter(([, known]) => known === null)).toEqual([]);
  });

  it("of a path may have it cut off, however it was spelled, and says so to the app alone", async () => {
    const table = tableFor("cut.test/api", second, { environment: "env_cut", stripPrefix: true });
    published.set("cut.test/api", table);
    for (const [path, url] of [
      ["/api/orders?x=/api/", "/orders?x=/api/"],
      ["/api", "/"],
      ["/api?x", "/?x"],
      ["/x/../%61pi/a%2Fb?c=%61", "/a%2Fb?c=%61"],
    ] as const) {
      const headers = { "x-forwarded-prefix": "//evil.example" };
      const seen = JSON.parse((await ask({ port: warm, host: "cut.test", path, headers })).text);
      expect(seen).toMatchObject({ url, headers: { "x-forwarded-prefix": "/api" } });
    }
  });

  it("of a path leads nobody anywhere before a release is live there, and is left when it is taken away", async () => {
    published.set("idle.test", tableFor("idle.test", first));
    const idle = { environment: "env_idle", releases: [], stable: null };
    published.set("idle.test/api", tableFor("idle.test/api", second, idle));
    const to = async () => nameOf(await ask({ port: warm, host: "idle.test", path: "/api/x" }));
    expect(await to()).toBe("first");
    const live = { environment: "env_idle", version: 2, publishedAt: 1_790_000_000_001 };
    published.set("idle.test/api", tableFor("idle.test/api", second, live));
    await setAhead(warm, (ahead.get(warm) ?? 0) + 3_000, "idle.test");
    await expect.poll(to).toBe("second");
    published.delete("idle.test/api");
    await setAhead(warm, (ahead.get(warm) ?? 0) + 31_000, "idle.test");
    await expect.poll(to).toBe("first");
  });

  it("of a path alone leaves the rest of its name unknown; a path of a wildcard's name is its own", async () => {
    published.set("alone.test/api", tableFor("alone.test/api", second, { environment: "env_alone" }));
    expect(nameOf(await ask({ port: warm, host: "alone.test", path: "/api" }))).toBe("second");
    expect((await ask({ port: warm, host: "alone.test", path: "/" })).status).toBe(404);
    published.set("*.wild.test", tableFor("*.wild.test", first));
    published.set("a.wild.test/api", tableFor("a.wild.test/api", second, { environment: "env_a" }));
    expect(nameOf(await ask({ port: warm, host: "a.wild.test", path: "/api/" }))).toBe("second");
    expect(nameOf(await ask({ port: warm, host: "a.wild.test", path: "/" }))).toBe("first");
    expect(nameOf(await ask({ port: warm, host: "b.wild.test", path: "/api" }))).toBe("first");
  });

  it("of a path is found by the names of its copies while control is away", async () => {
    await edge.putKv("table:split.test", tableFor("split.test", first));
    await edge.putKv("table:split.test/api", tableFor("split.test/api", second, { environment: "env_api" }));
    fault = () => {
      throw new Error("control is away");
    };
    expect(nameOf(await ask({ port: colder, host: "split.test", path: "/api/x" }))).toBe("second");
    expect(nameOf(await ask({ port: colder, host: "split.test", path: "/x" }))).toBe("first");
  });
});
