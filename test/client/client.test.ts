import { describe, expect, test } from "vitest";
import {
  ApiError,
  Client,
  type ClientOptions,
  ConnectionError,
  collect,
  ProtocolError,
} from "../../src/client/index.ts";
import {
  anEnvironment,
  aRelease,
  closedUrl,
  type FakeApi,
  fakeApi,
  type Route,
} from "../support/cli/fake-api.ts";
import { TIMED } from "../support/patience.ts";

/** A client that waits no wall time between attempts, and notes how long it would have. */
function clientOf(api: FakeApi, over: Partial<ClientOptions> = {}) {
  const waits: number[] = [];
  const client = new Client({
    url: api.url,
    token: "slu_1",
    sleep: async (ms) => void waits.push(ms),
    ...over,
  });
  return { client, waits };
}
const ENV = "/api/v1/apps/shop/envs/production";
const fails =
  (times: number, otherwise: Route, how: Route = (_asked, answer) => answer.drop()): Route =>
  (asked, answer, nth) =>
    nth <= times ? how(asked, answer, nth) : otherwise(asked, answer, nth);
const environment: Route = (_asked, answer) => answer.json(200, anEnvironment(), { etag: '"7"' });
const release: Route = (_asked, answer) => answer.json(202, aRelease());

describe.concurrent("what is sent", () => {
  test("the token, and the key as a structured string", async () => {
    await using api = await fakeApi({ [`POST ${ENV}/releases`]: release });
    const { client } = clientOf(api);
    await client.releases.create(
      { app: "shop", environment: "production", idempotencyKey: "k1" },
      { image: "a:1" },
    );
    expect(api.asked[0]?.headers).toMatchObject({
      authorization: "Bearer slu_1",
      "idempotency-key": '"k1"',
      "content-type": "application/json",
    });
  });

  test("names that aren't names can't leave their path segment", async () => {
    await using api = await fakeApi({});
    await clientOf(api)
      .client.hosts.get("../tokens")
      .catch(() => undefined);
    expect(api.asked[0]?.path).toBe("/api/v1/hosts/..%2Ftokens");
  });

  test("a step only where one was seen, and force only where it is meant", async () => {
    await using api = await fakeApi({});
    const { client } = clientOf(api);
    const calls = [
      client.releases.promote("rel_2"),
      client.releases.promote("rel_2", { step: 0, full: true }),
      client.hosts.remove("web-1"),
      client.hosts.remove("web-1", { force: true }),
    ];
    await Promise.allSettled(calls);
    const sent = api.asked.map(({ body, query }) => [body, query.get("force")]);
    expect(sent).toHaveLength(4);
    expect(sent).toEqual(
      expect.arrayContaining([
        ["{}", null],
        ['{"step":0,"full":true}', null],
        ["", null],
        ["", "1"],
      ]),
    );
  });

  test("nothing over plain http, but to this machine itself", async () => {
    await using api = await fakeApi({ [`GET ${ENV}`]: environment });
    // Linux takes this for the machine itself: whatever were sent would arrive.
    const { client } = clientOf(api, { url: api.url.replace("127.0.0.1", "0.0.0.0") });
    await expect(client.environments.get("shop", "production")).rejects.toThrow("is plain http");
    expect(api.asked).toEqual([]);
  });

  test("an address with a trailing slash is the same address", async () => {
    await using api = await fakeApi({ [`GET ${ENV}`]: environment });
    const { client } = clientOf(api, { url: `${api.url}/` });
    expect((await client.environments.get("shop", "production")).etag).toBe('"7"');
  });
});

describe.concurrent("what is sent again", () => {
  test("a GET after lost connections and gateway errors, with growing pauses", async () => {
    const gateway: Route = (_asked, answer, nth) =>
      nth === 1 ? answer.drop() : answer.raw(502, "text/html", "<h1>Bad gateway</h1>");
    await using api = await fakeApi({ [`GET ${ENV}`]: fails(2, environment, gateway) });
    const { client, waits } = clientOf(api);
    await client.environments.get("shop", "production");
    expect(waits).toEqual([200, 400]);
  });

  test("a POST with a key, and always with the same one", async () => {
    await using api = await fakeApi({ [`POST ${ENV}/releases`]: fails(2, release) });
    const at = { app: "shop", environment: "production", idempotencyKey: "k1" };
    await clientOf(api).client.releases.create(at, {});
    expect(api.asked.map((call) => call.headers["idempotency-key"])).toEqual(['"k1"', '"k1"', '"k1"']);
  });

  test.each<[string, Route, boolean]>([
    ["was lost on its way back", (_asked, answer) => answer.drop(), false],
    ["a gateway swallowed", (_asked, answer) => answer.raw(502, "text/html", "<h1>Bad gateway</h1>"), false],
    [
      "is another's, still worked on",
      (_asked, answer) => answer.problem({ code: "idempotency_in_flight", status: 409 }),
      true,
    ],
  ])("an answer given again is an earlier run's, unless the first try %s", async (_, first, isEarlier) => {
    const again: Route = (_asked, answer) => answer.json(202, aRelease(), { "idempotency-replayed": "true" });
    const at = { app: "shop", environment: "production", idempotencyKey: "k1" };
    await using api = await fakeApi({ [`POST ${ENV}/releases`]: fails(1, again, first) });
    const { client } = clientOf(api);
    expect(await client.releases.createOrFind(at, {})).toMatchObject({ isEarlier });
    expect(await client.releases.createOrFind(at, {})).toMatchObject({ isEarlier: true });
  });

  test("a POST whose first one is still being worked on", async () => {
    const busy: Route = (_asked, answer) =>
      answer.problem({ code: "idempotency_in_flight", status: 409 }, { "retry-after": "1" });
    await using api = await fakeApi({ [`POST ${ENV}/releases`]: fails(1, release, busy) });
    const { client, waits } = clientOf(api);
    await client.releases.create({ app: "shop", environment: "production", idempotencyKey: "k1" }, {});
    expect(waits).toEqual([1000]);
  });

  test("never an order such as rollback, promote or new weights: it could happen twice", async () => {
    await using api = await fakeApi({});
    const broken: ClientOptions["fetch"] = async () => {
      sent += 1;
      throw new TypeError("fetch failed");
    };
    let sent = 0;
    const { client } = clientOf(api, { fetch: broken });
    const calls = [
      client.environments.rollback("shop", "production"),
      client.releases.abort("rel_2"),
      client.environments.setWeights({ app: "shop", environment: "production" }, { rel_1: 100 }),
      client.hosts.remove("web-1"),
      client.releases.promote("rel_2"),
      client.releases.pause("rel_2"),
      client.releases.resume("rel_2"),
      client.environments.lock("shop", "production", { reason: "x" }),
      client.environments.unlock("shop", "production"),
      client.environments.beginMaintenance("shop", "production"),
    ];
    expect((await Promise.allSettled(calls)).map((call) => call.status)).toEqual(calls.map(() => "rejected"));
    expect(sent).toBe(calls.length);
  });

  test("not for longer than a person waits: a distant Retry-After is an error at once", async () => {
    const limited: Route = (_asked, answer) =>
      answer.problem({ code: "rate_limited", status: 429 }, { "retry-after": "3600" });
    await using api = await fakeApi({ [`GET ${ENV}`]: limited });
    await expect(clientOf(api).client.environments.get("shop", "production")).rejects.toMatchObject({
      problem: { code: "rate_limited" },
      retryAfterMs: 3_600_000,
    });
    expect(api.asked).toHaveLength(1);
  });

  test("not what control refused", async () => {
    await using api = await fakeApi({});
    await expect(clientOf(api).client.releases.get("rel_9")).rejects.toThrow(ApiError);
    expect(api.asked).toHaveLength(1);
  });
});

describe.concurrent("what comes back", () => {
  test("a refusal carries the whole problem", async () => {
    const next = [{ command: "sluice hosts", when: "to see the slots" }];
    const full: Route = (_asked, answer) =>
      answer.problem({ code: "no_slots", status: 409, detail: "web-1 is full", next });
    await using api = await fakeApi({ [`POST ${ENV}/releases`]: full });
    const error = await clientOf(api)
      .client.releases.plan("shop", "production", {})
      .catch((thrown) => thrown);
    expect(error).toBeInstanceOf(ApiError);
    expect(error.message).toBe("web-1 is full");
    expect(error.problem).toMatchObject({ code: "no_slots", status: 409, next });
  });

  test("a code from a newer control plane keeps its text and takes its status's nearest code", async () => {
    const body = JSON.stringify({
      type: "x",
      title: "frozen",
      status: 409,
      code: "frozen_window",
      detail: "frozen until Monday",
    });
    await using api = await fakeApi({
      [`GET ${ENV}`]: (_a, answer) => answer.raw(409, "application/problem+json", body),
    });
    await expect(clientOf(api).client.environments.get("shop", "production")).rejects.toMatchObject({
      message: "frozen until Monday",
      problem: { code: "conflict" },
    });
  });

  test.each([
    ["another server", 200, "text/html", "<h1>It works!</h1>"],
    ["another server's 404", 404, "text/html", "<h1>Not found</h1>"],
    ["an answer without what this version needs", 200, "application/json", '{"app":"shop"}'],
  ])("%s is a ProtocolError, not data", async (_what, status, type, body) => {
    await using api = await fakeApi({ [`GET ${ENV}`]: (_a, answer) => answer.raw(status, type, body) });
    await expect(clientOf(api).client.environments.get("shop", "production")).rejects.toThrow(ProtocolError);
  });

  test("a challenge of Cloudflare's before control is named, with what to set", async () => {
    const challenge: Route = (_a, answer) =>
      answer.raw(403, "text/html", "<html>", { "cf-mitigated": "challenge" });
    await using api = await fakeApi({ [`GET ${ENV}`]: challenge });
    await expect(clientOf(api).client.environments.get("shop", "production")).rejects.toThrow(
      /answered 403: stopped by a challenge .*Mend: .*Bot Fight Mode/,
    );
  });

  test("a redirect is named, not followed: it would lose the token", async () => {
    const away: Route = (_a, answer) =>
      answer.raw(302, "text/html", "", { location: "https://login.example.com/" });
    await using api = await fakeApi({ [`GET ${ENV}`]: away });
    await expect(clientOf(api).client.environments.get("shop", "production")).rejects.toThrow(
      /redirects to https:\/\/login/,
    );
  });

  test("silence is said while it lasts, and ends after one time for all attempts", TIMED, async () => {
    await using api = await fakeApi({ [`GET ${ENV}`]: () => {} });
    const said: [string, number][] = [];
    const { client } = clientOf(api, {
      timeoutMs: 200,
      totalMs: 300,
      slowMs: 50,
      onSlow: (url, ms) => said.push([url, ms]),
    });
    const start = performance.now();
    await expect(client.environments.get("shop", "production")).rejects.toThrow(/did not answer/);
    expect(performance.now() - start).toBeLessThan(3_000);
    expect(said).toEqual([[api.url, 50]]);
    expect(api.asked.length).toBeLessThan(3);
  });

  test("silence ends after the timeout, and says so", async () => {
    await using api = await fakeApi({ [`GET ${ENV}`]: () => {} });
    const { client } = clientOf(api, { timeoutMs: 500, retries: 1 });
    const error = await client.environments.get("shop", "production").catch((thrown) => thrown);
    expect(error).toBeInstanceOf(ConnectionError);
    expect(error).toMatchObject({ timedOut: true, url: api.url });
    expect(api.asked).toHaveLength(2);
  });

  test("a body that stops half-way is a lost connection", TIMED, async () => {
    const half: Route = (_a, answer) => {
      const feed = answer.feed();
      feed.raw("{");
      setTimeout(() => feed.drop(), 10);
    };
    await using api = await fakeApi({ [`GET ${ENV}`]: fails(1, environment, half) });
    await clientOf(api).client.environments.get("shop", "production");
    expect(api.asked).toHaveLength(2);
  });

  test("a refused connection names the address and keeps the cause", async () => {
    const url = await closedUrl();
    const client = new Client({ url, token: "x", retries: 0 });
    const error = await client.releases.get("rel_1").catch((thrown) => thrown);
    expect(error).toBeInstanceOf(ConnectionError);
    expect(error.message).toBe(`can't reach ${url}: connection refused, nothing listens there`);
    expect(error.cause).toBeInstanceOf(Error);
  });

  test("the caller's abort comes back as the caller's reason", async () => {
    await using api = await fakeApi({ [`GET ${ENV}`]: () => {} });
    const abort = new AbortController();
    const { client } = clientOf(api, { signal: abort.signal });
    const call = client.environments.get("shop", "production");
    await api.until(`GET ${ENV}`);
    abort.abort(new Error("enough"));
    await expect(call).rejects.toThrow("enough");
  });
});

test("collect walks the pages and stops at the limit", async () => {
  const seen: unknown[] = [];
  const list = async (page: { cursor?: string | undefined; limit?: number | undefined }) => {
    seen.push(page);
    const from = Number(page.cursor ?? 0);
    return { items: [from, from + 1], nextCursor: from < 8 ? String(from + 2) : null };
  };
  expect(await collect(list, 5)).toEqual([0, 1, 2, 3, 4]);
  expect(seen).toEqual([{ limit: 5 }, { cursor: "2", limit: 3 }, { cursor: "4", limit: 1 }]);
  expect(await collect(list)).toHaveLength(10);
});
