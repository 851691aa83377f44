import { once } from "node:events";
import http from "node:http";
import type { AddressInfo } from "node:net";
import net from "node:net";
import fc from "fast-check";
import { afterEach, describe, expect, test } from "vitest";
import { Hysteresis, httpCheck } from "../../../agent/instances/http-check.ts";

const servers: net.Server[] = [];
afterEach(async () => {
  for (const server of servers.splice(0)) {
    if (server instanceof http.Server) server.closeAllConnections();
    server.close();
  }
});

async function listen(server: net.Server): Promise<string> {
  servers.push(server.listen(0, "127.0.0.1"));
  await once(server, "listening");
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/ready`;
}
const answering = (handler: http.RequestListener) => listen(http.createServer(handler));

describe("a check by HTTP", () => {
  test.each([200, 204, 299])("takes %i for healthy", async (status) => {
    const url = await answering((_request, response) => void response.writeHead(status).end());
    expect(await httpCheck(url, 1_000)).toEqual({ ok: true, status });
  });

  test("does not wait for the body of a healthy answer", async () => {
    const url = await answering((_request, response) => void response.write("endless"));
    expect(await httpCheck(url, 1_000)).toMatchObject({ ok: true });
  });

  test("follows no redirect, and names where it leads", async () => {
    let asked = 0;
    const url = await answering((_request, response) => {
      asked += 1;
      response.writeHead(301, { location: "/login" }).end();
    });
    expect(await httpCheck(url, 1_000)).toMatchObject({
      ok: false,
      code: "health_redirect",
      problem: "answered 301 to /login (wanted 2xx)",
    });
    expect(asked).toBe(1);
  });

  test("keeps an excerpt of what an unhealthy app says, even if it never ends", async () => {
    const url = await answering((_request, response) => {
      response.statusCode = 500;
      response.write("x".repeat(100_000));
    });
    const result = await httpCheck(url, 1_000);
    expect(result).toMatchObject({ ok: false, code: "health_status", facts: { url, status: 500 } });
    expect(!result.ok && result.facts.body?.length).toBe(500);
  });

  test("tells the status when the body hangs", async () => {
    const url = await answering((_request, response) => {
      response.statusCode = 503;
      response.write("no data");
    });
    expect(await httpCheck(url, 100)).toMatchObject({
      ok: false,
      code: "health_status",
      facts: { status: 503, body: "no data" },
    });
  });

  test("gives up when there is no answer in time", async () => {
    const url = await answering(() => {});
    expect(await httpCheck(url, 100)).toMatchObject({
      ok: false,
      code: "health_timeout",
      problem: "gave no answer within 100 ms",
    });
  });

  test("tells a port nobody listens on from a connection that is cut", async () => {
    const server = net.createServer((socket) => socket.resetAndDestroy());
    const url = await listen(server);
    expect(await httpCheck(url, 1_000)).toMatchObject({ ok: false, code: "health_unreachable" });
    server.close();
    await once(server, "close");
    expect(await httpCheck(url, 1_000)).toMatchObject({
      ok: false,
      code: "port_closed",
      facts: { error: "ECONNREFUSED" },
    });
  });

  test("says that what answers is not HTTP", async () => {
    const url = await listen(net.createServer((socket) => void socket.end("SSH-2.0-OpenSSH_9.2\r\n")));
    const result = await httpCheck(url, 1_000);
    expect(result).toMatchObject({ ok: false, code: "health_unreachable" });
    expect(!result.ok && result.problem).toContain("Parse Error");
  });

  test("asks as a visitor would, by the app's public name and https", async () => {
    let seen: http.IncomingHttpHeaders = {};
    const url = await answering((request, response) => {
      seen = request.headers;
      response.end();
    });
    await httpCheck(url, 1_000, { host: "shop.example.com" });
    expect(seen).toMatchObject({
      host: "shop.example.com",
      "x-forwarded-host": "shop.example.com",
      "x-forwarded-proto": "https",
    });
  });

  test("uses a connection of its own each time", async () => {
    const ports = new Set<number | undefined>();
    const url = await answering((request, response) => {
      ports.add(request.socket.remotePort);
      response.end();
    });
    await httpCheck(url, 1_000);
    await httpCheck(url, 1_000);
    expect(ports.size).toBe(2);
  });
});

describe("health with hysteresis", () => {
  test("falls after as many failures in a row as asked, and rises after as many successes", () => {
    const verdict = new Hysteresis({ failures: 3, successes: 2 }, true);
    const turns = [false, false, true, false, false, false, false, true, false, true, true].map((ok) =>
      verdict.observe(ok),
    );
    expect(turns.flatMap((turned, index) => (turned ? [index] : []))).toEqual([5, 10]);
  });

  test("turns exactly when the last n observations all disagree with it", () => {
    const limits = fc.record({
      failures: fc.integer({ min: 1, max: 5 }),
      successes: fc.integer({ min: 1, max: 5 }),
    });
    fc.assert(
      fc.property(limits, fc.boolean(), fc.array(fc.boolean()), ({ failures, successes }, start, seen) => {
        const verdict = new Hysteresis({ failures, successes }, start);
        let healthy = start;
        let since = 0;
        seen.forEach((ok, index) => {
          const needed = healthy ? failures : successes;
          const recent = seen.slice(Math.max(since, index + 1 - needed), index + 1);
          const turns = recent.length === needed && recent.every((one) => one !== healthy);
          expect(verdict.observe(ok)).toBe(turns);
          if (turns) {
            healthy = !healthy;
            since = index + 1;
          }
          expect(verdict.healthy).toBe(healthy);
        });
      }),
    );
  });
});
