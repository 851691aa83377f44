import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { Server } from "socket.io";
import { io, type Socket } from "socket.io-client";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { RoutingTable } from "../../src/domain/routing/table.ts";
import { ask } from "../support/http-client.ts";
import { type EdgeStack, startEdgeStack } from "../support/stack/edge-stack.ts";
import { releaseOf, tableOf } from "../support/tables.ts";

/** Two instances of a real socket.io server, each of which knows only the sessions that it opened. */
/** What a Node client of socket.io sends, whatever it is told. */
const HOST = "127.0.0.1";
const CLIENTS = 30;
const MESSAGES = 8;

interface Instance {
  readonly url: string;
  /** Requests by cookie. */
  readonly seen: string[];
  stop(): Promise<void>;
}
let instances: Instance[];
let edge: EdgeStack;
let table: RoutingTable;
let port: number;

async function startInstance(name: string): Promise<Instance> {
  const seen: string[] = [];
  const server = createServer((request, response) => {
    seen.push(request.headers.cookie ?? "");
    response.end(name);
  });
  server.keepAliveTimeout = 0;
  const sockets = new Server(server);
  sockets.on("connection", (socket) => {
    socket.on("say", (text: string, heard: (answer: string) => void) => heard(`${name} ${text}`));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const stop = async () => {
    server.closeAllConnections();
    await sockets.close();
  };
  return { url, seen, stop };
}

beforeAll(async () => {
  instances = await Promise.all([startInstance("one"), startInstance("two")]);
  publish([true, true]);
  edge = await startEdgeStack(
    { table: () => ({ kind: "table", table }), meter: () => {} },
    {
      clockHeader: "x-test-clock",
    },
  );
  port = edge.ports[0] ?? 0;
});
afterAll(async () => {
  await edge?.dispose();
  await Promise.all(instances.map((instance) => instance.stop()));
});

function publish(ready: readonly boolean[]): void {
  const release = releaseOf(
    "r1",
    10_000,
    instances.map(({ url }, n) => ({ origin: url, ready: ready[n] ?? false })),
  );
  const affinity = { kind: "cookie", to: "instance" } as const;
  table = tableOf([], {
    hostnames: [HOST],
    releases: [release],
    affinity,
    version: (table?.version ?? 0) + 1,
  });
}

/** As a browser does it: a page first, and then its sockets with the cookie from there. Default transports: polling, then WebSocket. */
async function connect(): Promise<{ socket: Socket; cookie: string; server: string }> {
  const page = await ask({ port, host: HOST });
  const cookie = page.headers["set-cookie"]?.[0]?.split(";")[0] ?? "";
  const socket = io(`http://127.0.0.1:${port}`, {
    extraHeaders: { cookie },
    forceNew: true,
    reconnection: false,
  });
  await new Promise((resolve, reject) => {
    socket.on("connect", () => resolve(null));
    socket.on("connect_error", reject);
  });
  return { socket, cookie, server: page.text };
}

describe("visitors who keep to an instance", () => {
  it("hold thirty conversations over socket.io's own transports, and lose no message", async () => {
    const clients = await Promise.all(Array.from({ length: CLIENTS }, connect));
    const errors: string[] = [];
    const heard = await Promise.all(
      clients.map(async ({ socket, server }) => {
        socket.on("disconnect", (reason) => errors.push(reason));
        const answers: string[] = [];
        for (let n = 0; n < MESSAGES; n += 1)
          answers.push(await socket.timeout(5_000).emitWithAck("say", String(n)));
        return answers.every((answer, n) => answer === `${server} ${n}`) ? answers.length : 0;
      }),
    );
    expect({ errors, heard }).toEqual({ errors: [], heard: Array(CLIENTS).fill(MESSAGES) });
    expect(new Set(clients.map(({ server }) => server)).size).toBe(2);
    for (const { socket } of clients) socket.close();
  });

  it("are moved when theirs is lost, and nobody else is; those come back to it when it does", async () => {
    const visitors = await Promise.all(
      Array.from({ length: 20 }, async () => {
        const { text, headers } = await ask({ port, host: HOST });
        return { text, cookie: headers["set-cookie"]?.[0]?.split(";")[0] ?? "" };
      }),
    );
    const ask1 = (cookie: string) => ask({ port, host: HOST, headers: { cookie } }).then(({ text }) => text);
    publish([true, false]);
    await edge.setAhead(5_000);
    for (const { cookie } of visitors) expect(await ask1(cookie)).toBe("one");
    publish([true, true]);
    await edge.setAhead(10_000);
    for (const { cookie, text } of visitors) expect(await ask1(cookie)).toBe(text);
  });

  it("get an answer from another when theirs dies, before control knows", async () => {
    const cookies: string[] = [];
    while (cookies.length < 4) {
      const { text, headers } = await ask({ port, host: HOST });
      if (text === "two") cookies.push(headers["set-cookie"]?.[0]?.split(";")[0] ?? "");
    }
    await instances[1]?.stop();
    for (const cookie of cookies)
      expect(await ask({ port, host: HOST, headers: { cookie } })).toMatchObject({
        status: 200,
        text: "one",
      });
  });
});
