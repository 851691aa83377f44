import { env } from "cloudflare:workers";
import { beforeEach, describe, expect, it } from "vitest";
import { networkOf } from "../../../src/control/http/network.ts";
import { Api, problemOf } from "../support/api.ts";
import * as world from "../support/world.ts";

beforeEach(() => world.emptyWorld());

/** How often D1 was asked. */
function counted() {
  const asked = { queries: 0 };
  const DB = new Proxy(env.DB, {
    get(target, key) {
      const value: unknown = Reflect.get(target, key);
      if (typeof value !== "function") return value;
      return (...args: unknown[]) => {
        asked.queries += 1;
        return Reflect.apply(value, target, args);
      };
    },
  });
  return { asked, DB };
}
const stranger = (n: number) => `slu_${String(n).padStart(43, "x")}`;
const from = (address: string) => ({ "cf-connecting-ip": address });

describe("an address", () => {
  it.each([
    ["192.0.2.7", "192.0.2.7"],
    ["::ffff:192.0.2.7", "192.0.2.7"],
    ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"],
    ["2001:DB8:1:2::9", "2001:db8:1:2::/64"],
    ["2001:0db8:0001:0002:ffff::", "2001:db8:1:2::/64"],
    ["2001:db8::1", "2001:db8:0:0::/64"],
    ["::1", "0:0:0:0::/64"],
    ["local", "local"],
  ])("%s stands for %s", (address, network) => {
    expect(networkOf(address)).toBe(network);
  });
});

describe("tokens that control does not know", () => {
  it("are turned away before D1 is asked, from one network together, however its addresses change", async () => {
    const { asked, DB } = counted();
    const api = new Api({}, { DB });
    const codes: number[] = [];
    for (let n = 0; n < 700; n += 1) {
      const headers = from(`2001:db8:1:2::${n.toString(16)}`);
      codes.push((await api.get("/api/v1/apps", { token: stranger(n), headers })).status);
    }
    expect(codes.filter((code) => code === 401)).toHaveLength(60);
    expect(codes.filter((code) => code === 429)).toHaveLength(640);
    expect(asked.queries).toBe(60);
    const other = await api.get("/api/v1/apps", { token: stranger(0), headers: from("2001:db8:1:3::1") });
    expect(other.status).toBe(401);
    api.time += 61_000;
    const later = await api.get("/api/v1/apps", { token: stranger(0), headers: from("2001:db8:1:2::1") });
    expect(later.status).toBe(401);
  });

  it("on one route are strangers on the others, agents' and enrolments too", async () => {
    const api = new Api();
    for (let n = 0; n < 60; n += 1)
      await api.post("/agent/v1/enroll", world.enrollBody(`sle_${"x".repeat(43)}`), { token: null });
    expect(await problemOf(await api.get("/api/v1/apps", { token: stranger(1) }))).toBe("429 rate_limited");
    const poll = await api.post("/agent/v1/poll", world.pollBody(), { token: stranger(2) });
    expect(await problemOf(poll)).toBe("429 rate_limited");
  });

  it("shut nobody out whose token is known, and nobody's whose reach is only too short", async () => {
    const api = new Api();
    const viewer = await api.token("viewer", { app: "shop" });
    expect((await api.get("/api/v1/apps", { token: viewer })).status).toBe(200);
    for (let n = 0; n < 100; n += 1)
      expect((await api.get("/api/v1/tokens", { token: viewer })).status).toBe(403);
    for (let n = 0; n < 100; n += 1) await api.get("/api/v1/apps", { token: stranger(n) });
    expect((await api.get("/api/v1/apps", { token: viewer })).status).toBe(200);
    expect((await api.get("/api/v1/apps")).status).toBe(200);
  });

  it("count together in all isolates of a place, where Cloudflare's limiter is bound", async () => {
    const keys: string[] = [];
    const STRANGERS = {
      limit: async ({ key }: { key: string }) => ({ success: keys.push(key) <= 3 }),
    };
    for (let isolate = 0; isolate < 5; isolate += 1) {
      const { asked, DB } = counted();
      const api = new Api({}, { STRANGERS, DB });
      const ask = () => api.get("/api/v1/apps", { token: stranger(isolate), headers: from("192.0.2.1") });
      await ask();
      const second = await ask();
      // The fourth refusal, in the second isolate, is the first that is too much.
      expect([second.status, asked.queries]).toEqual(isolate < 2 ? [401, 2] : [429, 1]);
    }
    expect(new Set(keys)).toEqual(new Set(["ip:192.0.2.1"]));
  });

  it("are as before when Cloudflare's limiter fails", async () => {
    const broken = { limit: () => Promise.reject(new Error("away")) };
    const api = new Api({}, { STRANGERS: broken, CALLERS: broken });
    expect((await api.get("/api/v1/apps", { token: stranger(1) })).status).toBe(401);
    for (let n = 0; n < 3; n += 1) expect((await api.get("/api/v1/apps")).status).toBe(200);
  });
});

it("a known token has one allowance in all isolates of a place", async () => {
  let left = 2;
  const CALLERS = { limit: async () => ({ success: left-- > 0 }) };
  const api = new Api({}, { CALLERS });
  const codes: number[] = [];
  for (let n = 0; n < 5; n += 1) codes.push((await api.get("/api/v1/apps")).status);
  expect(codes).toEqual([200, 200, 200, 429, 429]);
});

it("Cloudflare's limiters are bound as wrangler.toml says", async () => {
  const { STRANGERS } = env;
  if (!STRANGERS) throw new Error("no binding");
  const key = `test:${crypto.randomUUID()}`;
  const answers: boolean[] = [];
  for (let n = 0; n < 70; n += 1) answers.push((await STRANGERS.limit({ key })).success);
  expect(answers.filter(Boolean).length).toBeGreaterThanOrEqual(60);
  expect(answers.at(-1)).toBe(false);
});
