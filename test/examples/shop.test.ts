import { once } from "node:events";
import http from "node:http";
import { describe, expect, vi } from "vitest";
import type { Shop } from "../support/shop/shop.ts";
import { shopTest, useShops } from "../support/shop/shop-stand.ts";

const PATIENT = { timeout: 25_000, interval: 50 };
const stand = useShops([1, 2]);

async function openMigrated(more: Record<string, string> = {}): Promise<Shop> {
  const env = { ...(await stand.newEnv()), ...more };
  await stand.migrate(1, "expand", env);
  return stand.open(1, env);
}

const health = async (shop: Shop) => {
  const response = await fetch(`${shop.url}/health`);
  return { code: response.status, ...JSON.parse(await response.text()) };
};
const statusOf = async (shop: Shop, target: string, init: RequestInit = {}) =>
  (await fetch(`${shop.url}${target}`, init)).status;
const json = (body: unknown, cookie = ""): RequestInit => ({
  method: "POST",
  headers: { "content-type": "application/json", cookie },
  body: JSON.stringify(body),
});

async function logIn(shop: Shop, email = "ann@example.com"): Promise<string> {
  const response = await fetch(`${shop.url}/login`, json({ email }));
  expect(response.status).toBe(200);
  return response.headers.get("set-cookie")?.split(";")[0] ?? "";
}

describe("checks of the shop", () => {
  shopTest("tell each dependency with its time, and are healthy from the first answer on", async () => {
    const shop = await openMigrated();
    expect(await health(shop)).toMatchObject({
      code: 200,
      status: "healthy",
      version: "v1",
      checks: {
        database: { status: "up", responseTime: expect.any(Number) },
        schema: { status: "up" },
        sessions: { status: "up", responseTime: expect.any(Number) },
      },
    });
  });

  shopTest("are unhealthy and not ready until the version's migration has run", async () => {
    const env = await stand.newEnv();
    const shop = await stand.open(1, env);
    expect(await health(shop)).toMatchObject({
      code: 503,
      status: "unhealthy",
      checks: {
        database: { status: "up" },
        schema: { error: expect.stringContaining("1-expand has not run") },
      },
    });
    expect(await statusOf(shop, "/ready")).toBe(503);
    await stand.migrate(1, "expand", env);
    expect(await statusOf(shop, "/ready")).toBe(200);
  });

  shopTest("are degraded, and the window stays open, while Redis is away", async () => {
    const shop = await openMigrated();
    const cookie = await logIn(shop);
    await stand.redis.stop();
    try {
      expect(await health(shop)).toMatchObject({
        code: 200,
        status: "degraded",
        checks: { database: { status: "up" }, sessions: { status: "down", error: expect.any(String) } },
      });
      expect(await statusOf(shop, "/ready")).toBe(200);
      expect(await statusOf(shop, "/")).toBe(200);
      expect(await statusOf(shop, "/me", { headers: { cookie } })).toBe(503);
    } finally {
      await stand.redis.start();
    }
    await vi.waitFor(async () => expect(await health(shop)).toMatchObject({ status: "healthy" }), PATIENT);
    expect(await statusOf(shop, "/login", json({ email: "ann@example.com" }))).toBe(200);
  });

  shopTest(
    "are degraded, but ready, when Redis was away from the start, and the shop still leaves in order",
    async () => {
      const shop = await openMigrated({ REDIS_URL: "redis://127.0.0.1:1" });
      expect(await health(shop)).toMatchObject({ code: 200, status: "degraded" });
      expect(await statusOf(shop, "/ready")).toBe(200);
      expect(await shop.stop()).toBe(0);
      expect(shop.output()).toContain("gone");
    },
  );

  shopTest("are degraded while a dependency is slow", async () => {
    const shop = await openMigrated();
    await stand.redis.send(["CLIENT", "PAUSE", "1200", "ALL"]);
    expect(await health(shop)).toMatchObject({
      code: 200,
      status: "degraded",
      checks: { sessions: { status: "degraded" } },
    });
  });

  shopTest("are unhealthy, but alive, while PostgreSQL is away", async () => {
    const shop = await openMigrated();
    const cookie = await logIn(shop);
    await stand.postgres.stop();
    try {
      expect(await health(shop)).toMatchObject({
        code: 503,
        status: "unhealthy",
        checks: { database: { status: "down" } },
      });
      expect(await statusOf(shop, "/ready")).toBe(503);
      expect(await statusOf(shop, "/live")).toBe(200);
      expect(await statusOf(shop, "/orders", { headers: { cookie } })).toBe(503);
    } finally {
      await stand.postgres.start();
    }
    await vi.waitFor(async () => expect(await health(shop)).toMatchObject({ status: "healthy" }), PATIENT);
    expect(await statusOf(shop, "/orders", { headers: { cookie } })).toBe(200);
  });
});

describe("the shop", () => {
  shopTest("knows nobody without a session", async () => {
    const shop = await openMigrated();
    expect(await statusOf(shop, "/me")).toBe(401);
    expect(await statusOf(shop, "/orders", json({ item: "tea" }, "sid=made-up"))).toBe(401);
  });

  shopTest("shares sessions between two versions", async () => {
    const env = await stand.newEnv();
    await stand.migrate(1, "expand", env);
    const old = await stand.open(1, env);
    await stand.migrate(2, "expand", env);
    const next = await stand.open(2, env);
    for (const [from, to] of [
      [old, next],
      [next, old],
    ] as const) {
      const cookie = await logIn(from);
      expect(await (await fetch(`${to.url}/me`, { headers: { cookie } })).json()).toMatchObject({
        email: "ann@example.com",
      });
    }
  });

  shopTest("takes an order once, however often it is sent", async () => {
    const shop = await openMigrated();
    const cookie = await logIn(shop);
    const order = { id: "order-0001", item: "honey", quantity: 2 };
    const twice = [
      statusOf(shop, "/orders", json(order, cookie)),
      statusOf(shop, "/orders", json(order, cookie)),
    ];
    expect((await Promise.all(twice)).sort()).toEqual([200, 201]);
    expect(await statusOf(shop, "/orders", json({ ...order, quantity: 3 }, cookie))).toBe(409);
    const other = await logIn(shop, "bob@example.com");
    expect(await statusOf(shop, "/orders", json(order, other))).toBe(409);
    const listed = await (await fetch(`${shop.url}/orders`, { headers: { cookie } })).json();
    expect(listed).toMatchObject({ orders: [order] });
  });

  shopTest("refuses what is no order, in words", async () => {
    const shop = await openMigrated();
    const cookie = await logIn(shop);
    const bad = [
      { item: "gold" },
      { item: "toString" },
      { item: "tea", quantity: 0.5 },
      { id: "'; --", item: "tea" },
    ];
    for (const body of bad)
      expect(await statusOf(shop, "/orders", json(body, cookie)), JSON.stringify(body)).toBe(400);
    expect(await statusOf(shop, "/login", { method: "POST", body: "{" })).toBe(400);
    expect(await statusOf(shop, "/login", json({ email: "x".repeat(20_000) }))).toBe(413);
    expect(await statusOf(shop, "/nowhere")).toBe(404);
  });

  shopTest("fails as often as ERROR_RATE says, but not in its checks", async () => {
    const shop = await openMigrated({ ERROR_RATE: "1" });
    expect(await statusOf(shop, "/")).toBe(500);
    expect(await statusOf(shop, "/ready")).toBe(200);
  });

  shopTest("finishes the request under way before it obeys SIGTERM", async () => {
    const shop = await openMigrated();
    const cookie = await logIn(shop);
    const agent = new http.Agent({ keepAlive: true });
    const headers = { cookie, "content-type": "application/json", expect: "100-continue" };
    const request = http.request(`${shop.url}/orders`, { method: "POST", headers, agent });
    request.flushHeaders();
    // The shop has the request, and waits for its body.
    await once(request, "continue");
    const stopped = shop.stop();
    await shop.said("finishing what is under way");
    await expect(fetch(`${shop.url}/live`)).rejects.toThrow();
    const answered = once(request, "response");
    request.end(JSON.stringify({ id: "order-0002", item: "mug" }));
    const [response]: http.IncomingMessage[] = await answered;
    expect(response?.statusCode).toBe(201);
    expect(response?.headers.connection).toBe("close");
    response?.resume();
    expect(await stopped).toBe(0);
    expect(shop.output()).toContain("gone");
  });

  shopTest("does not start with settings that can't work, and says which", async () => {
    const env = { DATABASE_URL: "postgresql://shop@127.0.0.1:1/shop", REDIS_URL: stand.redis.url };
    await expect(stand.open(1, { ...env, ERROR_RATE: "20%" })).rejects.toThrow("ERROR_RATE is 20%");
    await expect(stand.open(1, { REDIS_URL: stand.redis.url })).rejects.toThrow("DATABASE_URL is missing");
  });
});
