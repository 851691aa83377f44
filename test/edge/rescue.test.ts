import { randomBytes } from "node:crypto";
import type { RequestListener } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { RoutingTable } from "../../src/domain/routing/table.ts";
import { type Origin, startOrigin } from "../support/apps/origin.ts";
import { type Answer, ask } from "../support/http-client.ts";
import { TIMED } from "../support/patience.ts";
import { type EdgeStack, startEdgeStack } from "../support/stack/edge-stack.ts";
import { releaseOf, tableOf } from "../support/tables.ts";

const RESPONSE_MS = 700;
/** Refuses connections: nothing listens on port 1. */
const DEAD = "http://127.0.0.1:1";

let good: Origin;
/** An app that does what `misbehave` does. */
let bad: Origin;
let misbehave: RequestListener = (_, response) => response.end();
let edge: EdgeStack;
let port: number;
const tables = new Map<string, RoutingTable>();
let hosts = 0;

/** A fresh hostname and environment, so that no test sees another's ejections or budget. */
function serve(releases: RoutingTable["releases"], overrides: Partial<RoutingTable> = {}): string {
  hosts += 1;
  const host = `t${hosts}.test`;
  // Instance ids are unique in life, and the edge's memory goes by them.
  const unique = releases.map((release) => ({
    ...release,
    instances: release.instances.map((instance) => ({ ...instance, id: `${host}-${instance.id}` })),
  }));
  const table = tableOf([], {
    hostnames: [host],
    environment: host,
    releases: unique,
    timeouts: { responseMs: RESPONSE_MS },
  });
  tables.set(host, { ...table, stable: unique.at(-1)?.id ?? null, ...overrides });
  return host;
}
/** A newer table for a hostname served before. */
function publish(host: string, releases: RoutingTable["releases"]): void {
  const held = tables.get(host);
  if (!held) throw new Error(`no table for ${host}`);
  const unique = releases.map((release) => ({
    ...release,
    instances: release.instances.map((instance) => ({ ...instance, id: `${host}-${instance.id}` })),
  }));
  const stable = unique.at(-1)?.id ?? null;
  tables.set(host, { ...held, releases: unique, stable, version: held.version + 1 });
}
/** Waits until an app has so many requests. */
async function reached({ seen }: Origin, count: number): Promise<void> {
  for (let i = 0; i < 500 && seen.length < count; i += 1) await sleep(10);
  expect(seen).toHaveLength(count);
}
const servedBy = (answer: Answer): string =>
  answer.status === 200 ? JSON.parse(answer.text).name : String(answer.status);
const times = <T>(count: number, make: () => Promise<T>): Promise<T[]> =>
  Promise.all(Array.from({ length: count }, make));

const fiveHundredThree: RequestListener = (_, response) =>
  response.writeHead(503, { "X-App": "busy" }).end("busy");
/** What Cloudflare answers when no cloudflared is connected. */
const tunnelDown: RequestListener = (_, response) => response.writeHead(530).end("error code: 1033\n");
const reset: RequestListener = (request) => request.socket.destroy();

beforeAll(async () => {
  good = await startOrigin("good");
  bad = await startOrigin("bad", (request, response) => misbehave(request, response));
  edge = await startEdgeStack(
    {
      table: (hostname) => {
        const table = tables.get(hostname);
        return table ? { kind: "table", table } : { kind: "unknown" };
      },
      meter: () => {},
    },
    { clockHeader: "x-test-clock" },
  );
  port = edge.ports[0] ?? 0;
});
afterAll(async () => {
  await edge.dispose();
  await Promise.all([good.stop(), bad.stop()]);
});
beforeEach(async () => {
  await edge.setAhead(0);
  good.seen.length = 0;
  bad.seen.length = 0;
});

describe("a request that its instance failed", () => {
  it.each<[string, RequestListener]>([
    ["answers 503", fiveHundredThree],
    ["resets", reset],
    ["has no tunnel", tunnelDown],
  ])("reaches another instance when the first %s", async (_, listener) => {
    misbehave = listener;
    const host = serve([releaseOf("r1", 10_000, [bad.url, good.url])]);
    expect((await times(6, () => ask({ port, host }))).map(servedBy)).toEqual(Array(6).fill("good"));
    expect(bad.seen.length).toBeGreaterThan(0);
  });

  it("is sent again though its client declares a body of no bytes", async () => {
    const host = serve([releaseOf("r1", 10_000, [DEAD, good.url])]);
    const headers = { "content-length": "0" };
    expect((await times(6, () => ask({ port, host, headers }))).map(servedBy)).toEqual(Array(6).fill("good"));
    const post = await ask({
      port,
      host: serve([releaseOf("r1", 10_000, [good.url])]),
      headers,
      method: "POST",
    });
    expect([post.status, good.seen.at(-1)?.headers["content-length"]]).toEqual([200, "0"]);
  });

  it("reaches stable when the canary has no other instance", async () => {
    const host = serve([releaseOf("r2", 9_999, [DEAD]), releaseOf("r1", 1, [good.url])]);
    expect((await times(5, () => ask({ port, host }))).map(servedBy)).toEqual(Array(5).fill("good"));
  });

  it("reaches a canary with weight when stable has nobody", async () => {
    const host = serve([releaseOf("r2", 1, [good.url]), releaseOf("r1", 9_999, [DEAD, DEAD])]);
    expect((await times(5, () => ask({ port, host }))).map(servedBy)).toEqual(Array(5).fill("good"));
  });

  it("never reaches a release without weight that nobody has vouched for", async () => {
    const host = serve([releaseOf("r2", 0, [good.url]), releaseOf("r1", 10_000, [DEAD, DEAD])]);
    expect((await ask({ port, host })).status).toBe(502);
  });

  it("reaches what is warm of the release before when nobody of the one that took over answers", async () => {
    misbehave = reset;
    const old = releaseOf("old", 0, [good.url]);
    const host = serve([old, releaseOf("new", 10_000, [bad.url, DEAD])], { heir: "old" });
    const gets = await times(10, () => ask({ port, host }));
    expect(gets.map(servedBy)).toEqual(Array(10).fill("good"));
    // Told that they are not ready: what may not be sent twice goes to the old one first.
    const away = { origin: bad.url, ready: false };
    const told = serve([old, releaseOf("new", 10_000, [away])], { heir: "old" });
    expect(servedBy(await ask({ port, host: told, method: "POST", body: "x" }))).toBe("good");
  });

  it("goes by the table of when it failed, not of when it came", async () => {
    const fails = Promise.withResolvers<void>();
    misbehave = async (_, response) => {
      await fails.promise;
      response.writeHead(502).end();
    };
    const timeouts = { responseMs: 100_000 };
    const host = serve([releaseOf("r1", 10_000, [bad.url])], { timeouts });
    const waits = times(5, () => ask({ port, host }));
    await reached(bad, 5);
    publish(host, [releaseOf("r2", 10_000, [good.url])]);
    // A table that was good a second ago counts as the one of now.
    await sleep(1_300);
    fails.resolve();
    expect((await waits).map(servedBy)).toEqual(Array(5).fill("good"));
  });

  it("gets the last answer when every instance fails", async () => {
    misbehave = fiveHundredThree;
    const answer = await ask({ port, host: serve([releaseOf("r1", 10_000, [bad.url, bad.url])]) });
    expect([answer.status, answer.headers["x-app"], bad.seen.length]).toEqual([503, "busy", 2]);
  });

  it("is tried three times at most", async () => {
    misbehave = reset;
    await ask({ port, host: serve([releaseOf("r1", 10_000, Array(8).fill(bad.url))]) });
    expect(bad.seen).toHaveLength(3);
  });

  it.each(["GET", "HEAD", "OPTIONS"])("is sent again when it is a %s", async (method) => {
    misbehave = reset;
    const host = serve([releaseOf("r1", 10_000, [bad.url, good.url])]);
    const answers = await times(4, () => ask({ port, host, method }));
    expect(answers.map(({ status }) => status)).toEqual(Array(4).fill(200));
  });

  it.each([
    ["POST", "reset", reset],
    ["POST", "503", fiveHundredThree],
    ["PUT", "reset", reset],
    ["PATCH", "503", fiveHundredThree],
    ["DELETE", "reset", reset],
  ])("is never sent twice when it is a %s that an app may have seen (%s)", async (method, _, listener) => {
    misbehave = listener;
    const host = serve([releaseOf("r1", 10_000, [bad.url, bad.url])]);
    const answer = await ask({ port, host, method, body: "x=1" });
    expect([502, 503]).toContain(answer.status);
    expect(bad.seen).toHaveLength(1);
  });

  it("is sent again with its body when it is a small POST that provably reached no app", async () => {
    misbehave = tunnelDown;
    const host = serve([releaseOf("r1", 10_000, [bad.url, good.url])]);
    const body = randomBytes(60_000);
    const answers = await times(4, () => ask({ port, host, method: "POST", body }));
    expect(answers.map((answer) => JSON.parse(answer.text).bytes)).toEqual(Array(4).fill(60_000));
  });

  it.each([
    ["over 64 KiB", randomBytes(65_537), true],
    ["of unknown length", randomBytes(100), false],
  ])("is not sent again when its body was %s: a stream goes once", async (_, body, declared) => {
    misbehave = tunnelDown;
    const host = serve([releaseOf("r1", 10_000, [bad.url])]);
    const answer = await ask({ port, host, method: "POST", body: declared ? body : [body] });
    expect([answer.status, bad.seen.length]).toEqual([502, 1]);
    expect(JSON.parse(answer.text).detail).toContain("1033");
  });

  it("is not kept waiting by, and does not read on, an endless error page", async () => {
    let sent = 0;
    const ended = Promise.withResolvers<void>();
    const piece = Buffer.alloc(65_536, "x");
    misbehave = (_, response) => {
      response.writeHead(530);
      const more = () => {
        do sent += piece.length;
        while (!response.destroyed && response.write(piece));
      };
      response.on("drain", more).on("close", ended.resolve);
      more();
    };
    const host = serve([releaseOf("r1", 10_000, [bad.url, good.url])]);
    expect((await times(4, () => ask({ port, host }))).map(servedBy)).toEqual(Array(4).fill("good"));
    await ended.promise;
    // What the sockets' buffers take in is not the edge's.
    expect(sent).toBeLessThan(64 * 1_048_576);
  });

  it("keeps an app's 500 as it is: it is an answer", async () => {
    misbehave = (_, response) => response.writeHead(500).end("boom");
    const host = serve([releaseOf("r1", 10_000, [bad.url, bad.url])]);
    const answer = await ask({ port, host });
    expect([answer.status, answer.text, bad.seen.length]).toEqual([500, "boom", 1]);
  });
});

describe("a request whose instance is called unready before it has answered", () => {
  const frozen = () => {
    misbehave = () => {};
    const timeouts = { responseMs: 100_000 };
    return serve([releaseOf("r1", 10_000, [bad.url, { origin: good.url, ready: false }])], { timeouts });
  };
  const unreadied = (host: string) =>
    publish(host, [releaseOf("r1", 10_000, [{ origin: bad.url, ready: false }, good.url])]);

  it("is asked elsewhere, without another visitor to bring the news", async () => {
    const host = frozen();
    const waits = times(5, () => ask({ port, host }));
    await reached(bad, 5);
    unreadied(host);
    expect((await waits).map(servedBy)).toEqual(Array(5).fill("good"));
  });

  it("stays where it is when it could do something twice", async () => {
    const host = frozen();
    const stop = new AbortController();
    const { signal } = stop;
    const post = ask({ port, host, method: "POST", body: "x=1", signal }).catch(() => "gave up");
    const get = ask({ port, host });
    await reached(bad, 2);
    unreadied(host);
    expect(servedBy(await get)).toBe("good");
    stop.abort();
    expect([await post, good.seen.length]).toEqual(["gave up", 1]);
  });

  it.each<[string, Partial<RoutingTable>, boolean]>([
    ["there is nobody else", {}, false],
    ["its environment wants nothing asked twice", { rescue: "off" }, true],
  ])("stays where it is when %s", async (_, overrides, hasOther) => {
    const answers = Promise.withResolvers<void>();
    misbehave = async (_, response) => {
      await answers.promise;
      response.end(`{"name":"thawed"}`);
    };
    const timeouts = { responseMs: 100_000 };
    const others = hasOther ? [good.url] : [];
    const host = serve([releaseOf("r1", 10_000, [bad.url])], { timeouts, ...overrides });
    const waits = ask({ port, host });
    await reached(bad, 1);
    publish(host, [releaseOf("r1", 10_000, [{ origin: bad.url, ready: false }, ...others])]);
    await sleep(2_500);
    answers.resolve();
    expect([servedBy(await waits), bad.seen.length]).toEqual(["thawed", 1]);
  });
});

describe("an instance that keeps failing", () => {
  it("is left alone after three failures in a row", async () => {
    misbehave = fiveHundredThree;
    const host = serve([releaseOf("r1", 10_000, [bad.url, good.url])]);
    for (let i = 0; i < 20; i += 1) expect(servedBy(await ask({ port, host }))).toBe("good");
    expect(bad.seen.length).toBe(3);
    const ejected = edge.logs.map((line) => JSON.parse(line)).find(({ hostname }) => hostname === host);
    expect(ejected).toMatchObject({
      event: "instance.ejected",
      release: "r1",
      instance: `${host}-r1-0`,
      request: expect.any(String),
    });
  });

  it("gets another chance later, and all of its share once it works", async () => {
    misbehave = fiveHundredThree;
    const host = serve([releaseOf("r1", 10_000, [bad.url, good.url])]);
    for (let i = 0; i < 8; i += 1) await ask({ port, host });
    misbehave = (_, response) => response.end('{"name":"better"}');
    await edge.setAhead(1_050);
    const served = [];
    for (let i = 0; i < 10; i += 1) served.push(servedBy(await ask({ port, host })));
    expect(served.filter((name) => name === "better")).toHaveLength(5);
  });

  it("is tried again with what may be sent again, and gets nothing else before that went well", async () => {
    misbehave = fiveHundredThree;
    const host = serve([releaseOf("r1", 10_000, [bad.url, good.url])]);
    const post = () => ask({ port, host, method: "POST", body: "x=1" });
    for (let i = 0; i < 8; i += 1) await ask({ port, host });
    await edge.setAhead(1_050);
    for (let i = 0; i < 8; i += 1) expect(servedBy(await post())).toBe("good");
    misbehave = (_, response) => response.end('{"name":"better"}');
    await times(2, () => ask({ port, host }));
    const served = [];
    for (let i = 0; i < 4; i += 1) served.push(servedBy(await post()));
    expect(served.sort()).toEqual(["better", "better", "good", "good"]);
  });

  it("is tried all the same when it is the only one", async () => {
    misbehave = fiveHundredThree;
    const host = serve([releaseOf("r1", 10_000, [bad.url])]);
    for (let i = 0; i < 6; i += 1) expect((await ask({ port, host })).headers["x-app"]).toBe("busy");
    expect(bad.seen).toHaveLength(6);
  });

  it("does not have its failures doubled by retries for ever", async () => {
    misbehave = (_, response) => response.writeHead(503).end();
    const host = serve([releaseOf("r1", 10_000, Array(20).fill(bad.url))]);
    for (let i = 0; i < 20; i += 1) await times(25, () => ask({ port, host }));
    // 500 requests, a reserve of 100, a fifth of the requests, ten a second.
    expect(bad.seen.length).toBeLessThan(500 + 100 + 100 + 200);
  });
});

describe("an app that is away", () => {
  it("is not chosen while it is not ready and another can carry the traffic", async () => {
    const unready = { origin: bad.url, ready: false };
    const host = serve([releaseOf("r2", 9_999, [unready]), releaseOf("r1", 1, [good.url])]);
    for (let i = 0; i < 4; i += 1) expect(servedBy(await ask({ port, host }))).toBe("good");
    expect(bad.seen).toHaveLength(0);
  });

  it("is tried in panic when nobody is ready", async () => {
    const host = serve([releaseOf("r1", 10_000, [{ origin: good.url, ready: false }])]);
    expect(servedBy(await ask({ port, host }))).toBe("good");
  });

  it("gives 502 with the cause, as JSON or as a page, when all are dead", async () => {
    const host = serve([releaseOf("r1", 10_000, [DEAD, DEAD])]);
    const answer = await ask({
      port,
      host,
      headers: { Accept: "application/json", "X-Request-Id": "abc-1" },
    });
    expect(answer.status).toBe(502);
    expect(answer.headers["content-type"]).toBe("application/problem+json");
    expect(JSON.parse(answer.text)).toMatchObject({
      status: 502,
      code: "origin_unreachable",
      requestId: "abc-1",
    });
    const page = await ask({ port, host, headers: { Accept: "text/html", "X-Request-Id": "abc-2" } });
    expect(page.headers["content-type"]).toContain("text/html");
    expect(page.text).toContain("abc-2");
    expect((await ask({ port, host, method: "HEAD" })).text).toBe("");
  });

  it("gives 504 that names the limit when it takes too long, and is not asked again", async () => {
    misbehave = () => {};
    const host = serve([releaseOf("r1", 10_000, [bad.url, bad.url])]);
    const since = Date.now();
    const answer = await ask({ port, host });
    expect(answer.status).toBe(504);
    expect(JSON.parse(answer.text).detail).toContain(`${RESPONSE_MS} ms`);
    expect(Date.now() - since).toBeGreaterThanOrEqual(RESPONSE_MS - 50);
    expect(bad.seen).toHaveLength(1);
  });

  it("gives 504 when Cloudflare's own limit was the shorter one", async () => {
    misbehave = (_, response) => response.writeHead(524).end("<html>Cloudflare's page</html>");
    const answer = await ask({ port, host: serve([releaseOf("r1", 10_000, [bad.url, bad.url])]) });
    expect([answer.status, JSON.parse(answer.text).code, bad.seen.length]).toEqual([
      504,
      "origin_timeout",
      1,
    ]);
  });

  it("gives each of many slow requests its own full time", TIMED, async () => {
    misbehave = (request, response) => {
      setTimeout(() => response.end(`{"name":"slow"}`), request.url === "/in-time" ? 300 : 5_000).unref();
    };
    const host = serve([releaseOf("r1", 10_000, [bad.url])]);
    const timed = async (path: string) => {
      const since = Date.now();
      const { status } = await ask({ port, host, path });
      return { status, ms: Date.now() - since };
    };
    const starts = Array.from({ length: 8 }, (_, i) =>
      sleep(i * 60).then(() => timed(i % 2 ? "/in-time" : "/late")),
    );
    for (const [i, { status, ms }] of (await Promise.all(starts)).entries()) {
      expect(status).toBe(i % 2 ? 200 : 504);
      expect(ms).toBeGreaterThanOrEqual((i % 2 ? 300 : RESPONSE_MS) - 50);
      expect(ms).toBeLessThan(RESPONSE_MS + 600);
    }
  });

  it("refuses to send to an origin outside the tunnel zone", async () => {
    const host = serve([releaseOf("r1", 10_000, [good.url])], { originSuffixes: [".tunnel.test"] });
    const answer = await ask({ port, host });
    expect([answer.status, JSON.parse(answer.text).code]).toEqual([503, "no_instance"]);
    expect(good.seen).toHaveLength(0);
  });

  it("says that nothing is live yet before the first release", async () => {
    const host = serve([releaseOf("r1", 0, [good.url])], { stable: null });
    const answer = await ask({ port, host });
    expect([answer.status, JSON.parse(answer.text).code]).toEqual([503, "no_release"]);
  });
});
