/** Sockets and event streams of a release that leaves: ended one by one, at an event's end, and never for who doesn't ask. */
import { once } from "node:events";
import {
  type ClientRequest,
  type IncomingMessage,
  type RequestListener,
  request,
  type ServerResponse,
} from "node:http";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { WebSocket } from "ws";
import type { RoutingTable } from "../../src/domain/routing/table.ts";
import { type Origin, startOrigin } from "../support/apps/origin.ts";
import { TIMED } from "../support/patience.ts";
import { type EdgeStack, startEdgeStack } from "../support/stack/edge-stack.ts";
import { releaseOf, tableOf } from "../support/tables.ts";

const DRAIN_MS = 600;
/** Long enough that a thousand reconnects are seen apart. */
const CROWD_DRAIN_MS = 3_000;
const SOCKETS = 1_000;
const CLOCK = "x-test-clock";
const origins: Origin[] = [];
const streams: ServerResponse[] = [];
let edge: EdgeStack;
let port: number;
const tables = new Map<string, RoutingTable>();
let hosts = 0;
let ahead = 0;

const stream: RequestListener = (_, response) => {
  response.writeHead(200, { "content-type": "text/event-stream" });
  response.write("data: hello\n\n");
  streams.push(response);
};

function tableFor(host: string, version: number, serving: 0 | 1, drainMs: number | null): RoutingTable {
  const named = (n: 0 | 1) =>
    releaseOf(`${host}-v${n + 1}`, n === serving ? 10_000 : 0, [origins[n]?.url ?? ""]);
  return tableOf([], {
    version,
    hostnames: [host],
    environment: host,
    releases: [named(serving), named(serving === 0 ? 1 : 0)],
    stable: `${host}-v${serving + 1}`,
    ...(drainMs === null ? {} : { sockets: { drainMs } }),
  });
}
function serve(drainMs: number | null = DRAIN_MS): string {
  const host = `s${++hosts}.test`;
  tables.set(host, tableFor(host, 1, 0, drainMs));
  return host;
}
async function switchOver(host: string, drainMs: number | null = DRAIN_MS): Promise<void> {
  tables.set(host, tableFor(host, 2, 1, drainMs));
  ahead += 3_000;
  await edge.setAhead(ahead);
}

async function connect(host: string): Promise<WebSocket> {
  const socket = new WebSocket(`ws://127.0.0.1:${port}/live`, ["chat"], { headers: { host } });
  await once(socket, "open");
  return socket;
}
/** The code and reason that a socket ends with. */
async function ended(socket: WebSocket): Promise<[number, string]> {
  const [code, reason] = await once(socket, "close");
  return [code, String(reason)];
}
async function said(socket: WebSocket, text: string | Buffer): Promise<unknown> {
  socket.send(text);
  const [data, isBinary] = await once(socket, "message");
  return isBinary ? data : String(data);
}
function events(host: string): { text: () => string; end: Promise<unknown>; outgoing: ClientRequest } {
  let text = "";
  const outgoing = request({ port, path: "/events", headers: { host } });
  const end = once(outgoing, "response").then(async ([incoming]: IncomingMessage[]) => {
    for await (const chunk of incoming ?? []) text += chunk;
  });
  outgoing.end();
  // Without the comments that show whether somebody still listens.
  return { text: () => text.replaceAll(":\n\n", ""), end, outgoing };
}

beforeAll(async () => {
  for (const name of ["v1", "v2"]) origins.push(await startOrigin(name, stream));
  edge = await startEdgeStack(
    {
      table: (hostname) => {
        const table = tables.get(hostname);
        return table ? { kind: "table", table } : { kind: "unknown" };
      },
      meter: () => {},
    },
    { clockHeader: CLOCK },
  );
  port = edge.ports[0] ?? 0;
});
afterAll(async () => {
  await edge.dispose();
  await Promise.all(origins.map((origin) => origin.stop()));
});
beforeEach(() => {
  streams.length = 0;
});

it(
  "1,000 sockets leave a replaced release over its drain: reconnects are spread, and none is refused",
  TIMED,
  async () => {
    const host = serve(CROWD_DRAIN_MS);
    const sockets: WebSocket[] = [];
    for (let i = 0; i < SOCKETS; i += 100)
      sockets.push(...(await Promise.all(Array.from({ length: 100 }, () => connect(host)))));
    expect(origins[0]?.sockets.size).toBe(SOCKETS);
    const startedAt = performance.now();
    const again = sockets.map(async (socket) => {
      const [code] = await ended(socket);
      const leftAt = performance.now() - startedAt;
      const next = await connect(host);
      return { code, leftAt, next };
    });
    await switchOver(host, CROWD_DRAIN_MS);
    const moved = await Promise.all(again);
    expect(new Set(moved.map(({ code }) => code))).toEqual(new Set([1012]));
    expect([origins[0]?.sockets.size, origins[1]?.sockets.size]).toEqual([0, SOCKETS]);
    const times = moved.map(({ leftAt }) => leftAt);
    const [first, last] = [Math.min(...times), Math.max(...times)];
    expect(last - first).toBeGreaterThan(CROWD_DRAIN_MS / 2);
    // Of ten parts of the time none has more than thrice its share.
    const parts = new Array(10).fill(0);
    for (const at of times) parts[Math.min(9, Math.floor(((at - first) * 10) / (last - first)))] += 1;
    expect(Math.max(...parts)).toBeLessThan((SOCKETS * 3) / 10);
    for (const { next } of moved) next.terminate();
  },
);

describe("a held socket", () => {
  it("is as it would be: protocol, text, bytes, codes of both sides", async () => {
    const socket = await connect(serve());
    expect(socket.protocol).toBe("chat");
    expect(await said(socket, "hi")).toBe("v1 /live hi");
    expect(await said(socket, Buffer.from([0, 255, 1]))).toEqual(Buffer.from([0, 255, 1]));
    socket.send("close 4321");
    expect(await ended(socket)).toEqual([4321, "as asked"]);
    const other = await connect(serve());
    const [app] = [...(origins[0]?.sockets ?? [])];
    other.close(4000, "bye");
    const [code, reason] = await once(app as WebSocket, "close");
    expect([code, String(reason)]).toEqual([4000, "bye"]);
  });

  it("ends when the other end breaks off", async () => {
    const socket = await connect(serve());
    const over = ended(socket);
    for (const app of origins[0]?.sockets ?? []) app.terminate();
    expect((await over)[0]).toBe(1011);
  });
});

describe("an event stream", () => {
  it("is told, and ended, when its release leaves", async () => {
    const host = serve();
    const { text, end } = events(host);
    await expect.poll(text).toBe("data: hello\n\n");
    await switchOver(host);
    await end;
    expect(text()).toMatch(/^data: hello\n\nevent: sluice-restart\ndata: \{"code":1012,.*\}\n\n$/);
  });

  it("is never cut within an event", async () => {
    const host = serve();
    const { text, end } = events(host);
    await expect.poll(() => streams.length).toBe(1);
    streams[0]?.write("data: half of ");
    await switchOver(host);
    await new Promise((resolve) => setTimeout(resolve, DRAIN_MS));
    streams[0]?.write("an event\n\n");
    await end;
    expect(text()).toContain("data: half of an event\n\nevent: sluice-restart\n");
  });

  it("passes on what comes, its end, and that the visitor left", async () => {
    const host = serve();
    const { text, end } = events(host);
    await expect.poll(() => streams.length).toBe(1);
    streams[0]?.write("data: 1\n\n");
    await expect.poll(text).toBe("data: hello\n\ndata: 1\n\n");
    streams[0]?.end();
    await end;
    const other = events(host);
    await expect.poll(() => streams.length).toBe(2);
    const left = once(streams[1] as ServerResponse, "close");
    other.end.catch(() => {});
    other.outgoing.destroy();
    await left;
  });
});

it("keeps sockets and streams where nobody asks for it", async () => {
  const host = serve(null);
  const socket = await connect(host);
  const { text, outgoing, end } = events(host);
  end.catch(() => {});
  await switchOver(host, null);
  await new Promise((resolve) => setTimeout(resolve, DRAIN_MS / 2));
  expect(await said(socket, "hi")).toBe("v1 /live hi");
  expect(text()).toBe("data: hello\n\n");
  socket.terminate();
  outgoing.destroy();
});
