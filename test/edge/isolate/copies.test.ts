import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Env } from "../../../src/edge/env.ts";
import { Tables } from "../../../src/edge/table.ts";
import { tableOf } from "../../support/tables.ts";

/** What an isolate asks KV for while control is away: the Free plan allows 1,000 lists and 100,000 reads a day. */
const kv = new Map<string, unknown>();
const counted = { gets: 0, lists: 0 };
const env = {
  CONTROL: { table: () => Promise.reject(new Error("control is away")) },
  TABLES: {
    get: async (key: string) => {
      counted.gets += 1;
      return kv.get(key) ?? null;
    },
    list: async ({ prefix }: { prefix: string }) => {
      counted.lists += 1;
      return { keys: [...kv.keys()].filter((key) => key.startsWith(prefix)).map((name) => ({ name })) };
    },
  },
} as unknown as Env;
const ctx = { waitUntil: () => {} } as unknown as Parameters<Tables["find"]>[3];
const publish = (site: string, environment: string) =>
  kv.set(`table:${site}`, tableOf(["http://127.0.0.1:1"], { hostnames: [site], environment }));

let tables: Tables;
const to = async (hostname: string, path = "/"): Promise<string> => {
  const found = await tables.find(hostname, path, env, ctx);
  return typeof found === "string" ? found : found.table.environment;
};

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["Date"] });
  vi.stubGlobal("scheduler", { wait: (ms: number) => new Promise((resolve) => setTimeout(resolve, ms)) });
  vi.spyOn(console, "warn").mockImplementation(() => {});
  kv.clear();
  Object.assign(counted, { gets: 0, lists: 0 });
  tables = new Tables();
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
});
const pass = (ms: number) => vi.setSystemTime(Date.now() + ms);

describe("while control is away", () => {
  it("a name's paths are listed once in ten minutes, with traffic all the time", async () => {
    publish("shop.test", "env_shop");
    publish("shop.test/api", "env_api");
    for (let second = 0; second < 590; second += 10) {
      expect(await to("shop.test", "/api/x")).toBe("env_api");
      expect(await to("shop.test", "/x")).toBe("env_shop");
      pass(10_000);
    }
    expect(counted.lists).toBe(1);
    pass(20_000);
    publish("shop.test/docs", "env_docs");
    await to("shop.test");
    expect(await to("shop.test", "/docs/x")).toBe("env_docs");
    expect(counted.lists).toBe(2);
  });

  it("a name without a copy is looked for again after half a minute, however often it is asked for", async () => {
    for (let n = 0; n < 20; n++) expect(await to("nobody.test")).toBe("unavailable");
    expect(counted).toEqual({ gets: 1, lists: 1 });
    publish("nobody.test", "env_new");
    pass(31_000);
    expect(await to("nobody.test")).toBe("env_new");
  });

  it("names that are made up list one a minute, and nobody's own paths are kept from them", async () => {
    publish("*.wild.test", "env_wild");
    publish("shop.test", "env_shop");
    publish("shop.test/api", "env_api");
    for (let n = 0; n < 50; n++) {
      expect(await to(`made-up-${n}.wild.test`)).toBe("env_wild");
      expect(await to(`made-up-${n}.test`)).toBe("unavailable");
    }
    expect(counted.lists).toBe(1);
    expect(await to("shop.test", "/api/x")).toBe("env_api");
    expect(counted.lists).toBe(2);
  });

  it("a name of which there is nothing but paths is found by them", async () => {
    publish("alone.test/api", "env_api");
    expect(await to("alone.test", "/")).toBe("unavailable");
    expect(await to("alone.test", "/api/x")).toBe("env_api");
    expect(await to("alone.test", "/x")).toBe("unavailable");
    expect(counted.lists).toBe(1);
  });
});
