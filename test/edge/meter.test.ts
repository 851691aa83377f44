import { EventEmitter, once } from "node:events";
import type { IncomingMessage, RequestListener } from "node:http";
import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { LATE_MS, type MeterBatch, type MeterEntry, WINDOW_MS } from "../../src/domain/routing/meter.ts";
import type { RoutingTable } from "../../src/domain/routing/table.ts";
import { type Origin, startOrigin } from "../support/apps/origin.ts";
import { ask } from "../support/http-client.ts";
import { TIMED } from "../support/patience.ts";
import { type EdgeStack, startEdgeStack } from "../support/stack/edge-stack.ts";
import { releaseOf, tableOf } from "../support/tables.ts";

const DEAD = "http://127.0.0.1:1";
const RESPONSE_MS = 600;

let app: Origin;
let edge: EdgeStack;
let port: number;
const tables = new Map<string, RoutingTable>();
const batches: MeterBatch[] = [];
const points: { indexes: string[]; blobs: string[]; doubles: number[] }[] = [];
let refuseBatches = false;
let hosts = 0;

function serve(releases: RoutingTable["releases"], overrides: Partial<RoutingTable> = {}): string {
  hosts += 1;
  const host = `m${hosts}.test`;
  const unique = releases.map((release) => ({
    ...release,
    instances: release.instances.map((instance) => ({ ...instance, id: `${host}-${instance.id}` })),
  }));
  const stable = unique.at(-1)?.id ?? null;
  const timeouts = { responseMs: RESPONSE_MS };
  tables.set(host, {
    ...tableOf([], { hostnames: [host], environment: host, releases: unique, stable, timeouts }),
    ...overrides,
  });
  return host;
}

/** Each batch once, as control counts them. */
const distinct = () => [...new Map(batches.map((batch) => [batch.id, batch])).values()];
const entriesOf = (host: string): MeterEntry[] =>
  distinct().flatMap((batch) => (batch.environment === host ? batch.entries : []));
const sum = (entries: readonly MeterEntry[], pick: (entry: MeterEntry) => number) =>
  entries.reduce((total, entry) => total + pick(entry), 0);

/** Waits until control has been told of so many requests. */
async function counted(host: string, requests: number): Promise<MeterEntry[]> {
  for (let i = 0; i < 200; i += 1) {
    const entries = entriesOf(host);
    if (sum(entries, (entry) => entry.requests) >= requests) return entries;
    await sleep(25);
  }
  throw new Error(
    `control heard of ${sum(entriesOf(host), (entry) => entry.requests)} of ${requests} requests`,
  );
}

const uploads = Object.assign(new EventEmitter(), {
  next: (event: "begun" | "ended") => once(uploads, event),
});
/** Takes an upload in; false: it broke off. */
async function received(request: IncomingMessage, isReset: boolean): Promise<boolean> {
  try {
    for await (const _ of request) {
      uploads.emit("begun");
      if (isReset) request.socket.destroy();
    }
    return true;
  } catch {
    return false;
  } finally {
    uploads.emit("ended");
  }
}

const behave: RequestListener = async (request, response) => {
  const path = request.url ?? "/";
  if (path === "/hang") return;
  if (path === "/slow") await sleep(120);
  if (path.startsWith("/upload")) {
    const isWhole = await received(request, path === "/upload/reset");
    if (!isWhole) return;
  }
  response.writeHead(path.startsWith("/status/") ? Number(path.slice(8)) : 200).end("ok");
};

beforeAll(async () => {
  app = await startOrigin("app", behave);
  edge = await startEdgeStack({
    table: (hostname) => {
      const table = tables.get(hostname);
      return table ? { kind: "table", table } : { kind: "unknown" };
    },
    meter: (batch) => {
      if (refuseBatches) throw new Error("control is away");
      batches.push(batch);
    },
    analytics: (point) => {
      points.push(point);
    },
  });
  port = edge.ports[0] ?? 0;
});
afterAll(async () => {
  await edge.dispose();
  await app.stop();
});
beforeEach(() => {
  refuseBatches = false;
});

describe("the meter", () => {
  it.concurrent("counts by route while traffic is split, made-up paths as one", async () => {
    const canary = releaseOf("r2", 5_000, [app.url]);
    const host = serve([canary, releaseOf("r1", 5_000, [app.url])], { rescue: "off" });
    for (let i = 0; i < 8; i += 1) await ask({ port, host, path: `/orders/${i}?page=${i}` });
    for (let i = 0; i < 60; i += 1) await ask({ port, host, path: `/made-up-${"abcdefghij"[i % 10]}${i}` });
    const headers = { "X-Request-Id": "a-visitors-own-0001" };
    for (let i = 0; i < 4; i += 1) await ask({ port, host, method: "POST", path: "/status/500", headers });
    await ask({ port, host, path: "/status/530" });
    const entries = await counted(host, 73);
    const routes = entries.flatMap((entry) => entry.routes ?? []);
    const of = (route: string) => routes.filter((one) => one.route === route);
    expect(of("GET /orders/:id").reduce((total, one) => total + one.requests, 0)).toBe(8);
    const failing = of("POST /status/:id");
    expect(failing.reduce((total, one) => total + one.errors, 0)).toBe(4);
    expect(failing.flatMap(({ visitors }) => visitors).length).toBeGreaterThan(0);
    expect(new Set(failing.map(({ failedId }) => failedId))).toEqual(new Set(["a-visitors-own-0001"]));
    expect(of("GET /orders/:id").every((one) => one.failedId === undefined)).toBe(true);
    // What the path lost is no route's.
    expect(routes.reduce((total, one) => total + one.requests, 0)).toBe(72);
    expect(new Set(routes.map(({ route }) => route)).size).toBeLessThanOrEqual(34);

    const whole = serve([releaseOf("r1", 10_000, [app.url])]);
    await ask({ port, host: whole, path: "/orders/1" });
    expect((await counted(whole, 1))[0]).not.toHaveProperty("routes");
  });

  it.concurrent("tells control of every request, by class, once", async () => {
    const host = serve([releaseOf("r1", 10_000, [app.url])]);
    const statuses = [200, 204, 301, 404, 404, 500];
    for (let i = 0; i < 5; i += 1) {
      await Promise.all(statuses.map((status) => ask({ port, host, path: `/status/${status}` })));
    }
    const entries = await counted(host, 30);
    const classes = [0, 1, 2, 3, 4, 5].map((at) => sum(entries, (entry) => entry.classes[at as 0]));
    expect(classes).toEqual([0, 0, 10, 5, 10, 5]);
    expect(sum(entries, (entry) => entry.requests)).toBe(30);
    expect(sum(entries, (entry) => entry.errors)).toBe(5);
    expect(sum(entries, (entry) => entry.failed)).toBe(5);
    for (const { release, instance, window, eligible } of entries) {
      expect([release, instance, eligible, window % WINDOW_MS]).toEqual(["r1", `${host}-r1-0`, true, 0]);
    }
  });

  it.concurrent("keeps the latencies of good answers only", async () => {
    const host = serve([releaseOf("r1", 10_000, [app.url])]);
    await Promise.all([ask({ port, host, path: "/slow" }), ask({ port, host, path: "/status/500" })]);
    const latency = (await counted(host, 2)).flatMap((entry) => entry.latency);
    expect(
      sum(await counted(host, 2), (entry) => entry.latency.reduce((all, [, count]) => all + count, 0)),
    ).toBe(1);
    // 2^(55/8) = 117 ms.
    expect(latency[0]?.[0]).toBeGreaterThanOrEqual(54);
  });

  it.concurrent("charges the instance that failed, not the one that rescued", async () => {
    const host = serve([releaseOf("r2", 9_999, [DEAD]), releaseOf("r1", 1, [app.url])]);
    for (let i = 0; i < 4; i += 1) await ask({ port, host });
    const entries = await counted(host, 8);
    const canary = entries.filter(({ release }) => release === "r2");
    expect([sum(canary, (entry) => entry.requests), sum(canary, (entry) => entry.errors)]).toEqual([4, 4]);
    expect([sum(canary, (entry) => entry.rescued), sum(canary, (entry) => entry.failed)]).toEqual([4, 0]);
    // Traffic that another's failure sent here is no fair sample of stable.
    const stable = entries.filter(({ release }) => release === "r1");
    expect(stable.every(({ eligible }) => !eligible)).toBe(true);
    expect(sum(stable, (entry) => entry.errors)).toBe(0);
  });

  it.concurrent("counts distinct visitors who met an error, not their errors", async () => {
    const host = serve([releaseOf("r2", 5_000, [app.url]), releaseOf("r1", 5_000, [app.url])]);
    const visitors = ["visitor-a-1", "visitor-b-2", "visitor-c-3"];
    for (const id of visitors) {
      for (let i = 0; i < 4; i += 1) {
        await ask({ port, host, path: "/status/500", headers: { Cookie: `sluice_visitor=${id}` } });
      }
    }
    const entries = await counted(host, 12);
    expect(sum(entries, (entry) => entry.errors)).toBe(12);
    expect(new Set(entries.flatMap((entry) => entry.erroredVisitors)).size).toBe(3);
  });

  it.concurrent("keeps those outside the rollout's population apart", async () => {
    const match = [{ header: { name: "X-Beta", value: "1" } }];
    const host = serve([releaseOf("r2", 1, [app.url]), releaseOf("r1", 9_999, [app.url])], { match });
    await ask({ port, host });
    await ask({ port, host, headers: { "X-Beta": "1", Cookie: "sluice_visitor=someone-1" } });
    const entries = await counted(host, 2);
    expect(entries.map(({ eligible, requests }) => [eligible, requests]).sort()).toEqual([
      [false, 1],
      [true, 1],
    ]);
  });

  it.concurrent("tells path faults and timeouts from the app's own errors", async () => {
    const host = serve([releaseOf("r1", 10_000, [app.url])]);
    await ask({ port, host, path: "/status/500" });
    await ask({ port, host, path: "/hang" });
    await ask({ port, host, path: "/status/530" }).catch(() => {});
    const entries = await counted(host, 3);
    expect(sum(entries, (entry) => entry.errors)).toBe(3);
    expect(sum(entries, (entry) => entry.pathErrors)).toBe(1);
    // The path's fault was one request's of three: no visitor is said to have met the app's error by it.
    expect(sum(entries, (entry) => entry.erroredVisitors.length)).toBe(2);
    expect(sum(entries, (entry) => entry.classes[0])).toBe(1);
  });

  describe("of a visitor who breaks off an upload", () => {
    const BREAKS = 5;
    /** Begins an upload, waits until the app has some of it, and cuts the visitor's end. Resolves when the app's end is cut too. */
    async function breakOff(host: string, path: string, framing: string, sent: string): Promise<void> {
      const socket = connect(port, "127.0.0.1");
      socket.on("error", () => {});
      await once(socket, "connect");
      const begun = uploads.next("begun");
      const ended = uploads.next("ended");
      socket.write(`POST ${path} HTTP/1.1\r\nHost: ${host}\r\n${framing}\r\n\r\n${sent}`);
      await begun;
      socket.destroy();
      await ended;
    }

    /** Everything counted of the host, once a batch has come that was begun after now. */
    async function settled(host: string): Promise<MeterEntry[]> {
      await ask({ port, host });
      await counted(host, 1);
      await ask({ port, host });
      return counted(host, 2);
    }

    const kilobyte = "x".repeat(1_000);
    it.each([
      ["declared", "Content-Length: 500000", kilobyte],
      ["chunked", "Transfer-Encoding: chunked", `3e8\r\n${kilobyte}\r\n`],
    ])("does not blame the app (%s)", async (_, framing, sent) => {
      const host = serve([releaseOf("r1", 10_000, [app.url])]);
      for (let i = 0; i < BREAKS; i += 1) await breakOff(host, "/upload", framing, sent);
      const entries = await settled(host);
      expect(sum(entries, (entry) => entry.errors)).toBe(0);
      expect(sum(entries, (entry) => entry.requests)).toBe(2);
    });

    it("does not blame the app for one so small that it was still being read", async () => {
      const host = serve([releaseOf("r1", 10_000, [app.url])]);
      await ask({ port, host });
      for (let i = 0; i < BREAKS; i += 1) {
        const socket = connect(port, "127.0.0.1");
        await once(socket, "connect");
        socket.end(`POST /upload HTTP/1.1\r\nHost: ${host}\r\nContent-Length: 5000\r\n\r\n${kilobyte}`);
        await once(socket.resume(), "close");
      }
      const entries = await settled(host);
      expect(sum(entries, (entry) => entry.errors)).toBe(0);
      expect(entries.flatMap(({ classes }) => classes[0]).every((none) => none === 0)).toBe(true);
    });

    it("blames the app that resets while the visitor waits", async () => {
      const host = serve([releaseOf("r1", 10_000, [app.url])]);
      for (let i = 0; i < BREAKS; i += 1) {
        const socket = connect(port, "127.0.0.1");
        await once(socket, "connect");
        socket.write(`POST /upload/reset HTTP/1.1\r\nHost: ${host}\r\nContent-Length: 500000\r\n\r\n`);
        socket.write(kilobyte);
        expect(String((await once(socket, "data"))[0])).toMatch(/^HTTP\/1\.1 502/);
        socket.destroy();
      }
      expect(sum(await counted(host, BREAKS), (entry) => entry.errors)).toBe(BREAKS);
    });

    it("does not hold a slow one against the app's time", async () => {
      const host = serve([releaseOf("r1", 10_000, [app.url])]);
      async function* slowly() {
        for (let i = 0; i < 4; i += 1) {
          yield Buffer.alloc(50_000, "x");
          await sleep(RESPONSE_MS / 2);
        }
      }
      const headers = { "content-length": "200000" };
      const answer = await ask({ port, host, method: "POST", path: "/upload", headers, body: slowly() });
      expect(answer.status).toBe(200);
      const late = await ask({
        port,
        host,
        method: "POST",
        path: "/hang",
        body: Buffer.alloc(200_000, "x"),
      });
      expect(late.status).toBe(504);
      expect(sum(await counted(host, 2), (entry) => entry.errors)).toBe(1);
    });
  });

  it("copies its counts to Analytics Engine when that is bound", async () => {
    const host = serve([releaseOf("r1", 10_000, [app.url])]);
    await ask({ port, host });
    await ask({ port, host, path: "/status/500" });
    await counted(host, 2);
    const [point] = points.filter(({ indexes }) => indexes[0] === host);
    expect(point?.blobs).toEqual(["r1", `${host}-r1-0`, "LOCAL", "eligible"]);
    expect(point?.doubles.slice(1, 3)).toEqual([2, 1]);
  });

  it("flushes at most once a second, however much comes", TIMED, async () => {
    const host = serve([releaseOf("r1", 10_000, [app.url])]);
    const until = Date.now() + 2_500;
    let sent = 0;
    while (Date.now() < until) {
      await Promise.all(Array.from({ length: 10 }, () => ask({ port, host })));
      sent += 10;
    }
    await counted(host, sent);
    expect(distinct().filter((batch) => batch.environment === host).length).toBeLessThanOrEqual(4);
  });

  it(
    "keeps counts of environments at rest together, and sends all of them once one is judged",
    TIMED,
    async () => {
      const resting = serve([releaseOf("r1", 10_000, [app.url])], { judged: false });
      const judged = serve([releaseOf("r1", 10_000, [app.url])], { judged: true });
      for (let i = 0; i < 12; i += 1) {
        await ask({ port, host: resting });
        await sleep(200);
      }
      expect(entriesOf(resting)).toEqual([]);
      await ask({ port, host: judged });
      await counted(judged, 1);
      await counted(resting, 12);
      const kinds = distinct().filter(({ environment }) => [resting, judged].includes(environment));
      expect(kinds.map(({ environment, judged: is }) => [environment === judged, is])).toEqual(
        expect.arrayContaining([
          [true, true],
          [false, false],
        ]),
      );
    },
  );

  it("sends a watched release's counts at once when many of its answers are errors", TIMED, async () => {
    const rest = { judged: false, watched: true } as const;
    const sound = serve([releaseOf("r1", 10_000, [app.url])], rest);
    const broken = serve([releaseOf("r1", 10_000, [app.url])], rest);
    for (let i = 0; i < 6; i += 1) {
      await ask({ port, host: sound, ...(i === 0 ? { path: "/status/500" } : {}) });
      await sleep(200);
    }
    expect(entriesOf(sound)).toEqual([]);
    for (let i = 0; i < 3; i += 1) await ask({ port, host: broken, path: "/status/500" });
    await counted(broken, 3);
    const urgent = distinct().filter(({ environment }) => [sound, broken].includes(environment));
    expect(urgent.map(({ environment, urgent: is }) => [environment === broken, is ?? false])).toEqual(
      expect.arrayContaining([
        [true, true],
        [false, false],
      ]),
    );
  });

  it("sends a watched release's counts at once when many of its answers are late", TIMED, async () => {
    const timeouts = { responseMs: LATE_MS + 4_000 };
    const host = serve([releaseOf("r1", 10_000, [app.url])], { judged: false, watched: true, timeouts });
    const asked = Array.from({ length: 3 }, () => ask({ port, host, path: "/hang" }));
    const told = () => distinct().find(({ environment }) => environment === host);
    while (told() === undefined) await sleep(50);
    expect(told()).toMatchObject({ urgent: true, entries: [{ requests: 0 }] });
    await Promise.all(asked);
  });

  it("loses nothing while control is away, and counts nothing twice after", async () => {
    const host = serve([releaseOf("r1", 10_000, [app.url])]);
    refuseBatches = true;
    for (let i = 0; i < 12; i += 1) {
      await ask({ port, host });
      await sleep(200);
    }
    expect(entriesOf(host)).toEqual([]);
    refuseBatches = false;
    await ask({ port, host });
    expect(sum(await counted(host, 13), (entry) => entry.requests)).toBe(13);
  });
});
