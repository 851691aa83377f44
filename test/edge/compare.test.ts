import type { RequestListener } from "node:http";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Compared, Comparisons, type FieldEntry } from "../../src/domain/routing/compare.ts";
import type { MeterBatch } from "../../src/domain/routing/meter.ts";
import type { RoutingTable } from "../../src/domain/routing/table.ts";
import { type Origin, startOrigin } from "../support/apps/origin.ts";
import { type Answer, ask } from "../support/http-client.ts";
import { waitFor } from "../support/patience.ts";
import { type EdgeStack, startEdgeStack } from "../support/stack/edge-stack.ts";
import { releaseOf, tableOf } from "../support/tables.ts";

let stable: Origin;
let other: Origin;
let canary: Origin;
let edge: EdgeStack;
const tables = new Map<string, RoutingTable>();
const batches: MeterBatch[] = [];
/** Batches that came while control took none. */
const refused: MeterBatch[] = [];
let isAway = false;
let hosts = 0;

/** A fresh hostname of which every GET is compared. */
function serve(to: readonly string[] = [canary.url], from: readonly string[] = [stable.url]): string {
  hosts += 1;
  const host = `c${hosts}.test`;
  const releases = [releaseOf("r2", 0, to), releaseOf("r1", 10_000, from)];
  const mirror = { release: "r2", shareBp: 10_000, compare: "json" } as const;
  tables.set(host, { ...tableOf([], { hostnames: [host], environment: host, releases }), mirror });
  return host;
}

/** What control was told of so many comparisons. */
const compared = (host: string, answers: number) =>
  waitFor(() => {
    const sum = new Comparisons();
    for (const { environment, mirrored } of new Map(batches.map((batch) => [batch.id, batch])).values())
      if (environment === host) for (const { compared: one } of mirrored) if (one) sum.add(one);
    const { routes, fields } = sum.read();
    const count = routes.reduce((total, route) => total + route.answers, 0);
    if (count < answers) throw new Error(`control was told of ${count} of ${answers} comparisons`);
    return { routes, fields };
  });
let turn = 0;
const app =
  (total: number): RequestListener =>
  (request, response) => {
    turn += 1;
    const { pathname } = new URL(request.url ?? "", "http://app");
    const say = (body: string | Buffer, headers: Record<string, string> = {}, status = 200) =>
      response.writeHead(status, { "Content-Type": "application/json", ...headers }).end(body);
    const isNew = total !== 1;
    const order = JSON.stringify({ id: `order-${turn}`, at: turn, total });
    if (pathname === "/gzip")
      return say(gzipSync(order), { "Content-Encoding": "gzip", "Set-Cookie": `s=${turn}` });
    if (pathname === "/invalid") return say(isNew ? order.slice(0, 9) : order);
    if (pathname.startsWith("/made-up")) return say('{"error":"no such page"}', {}, 404);
    if (pathname === "/long") return say(JSON.stringify({ total, pad: "x".repeat(17_000) }));
    if (pathname === "/huge") return say(JSON.stringify({ total, pad: "x".repeat(100_000) }));
    if (pathname === "/failing") return say('{"error":"no"}', {}, isNew ? 500 : 200);
    if (pathname === "/page") return say("<p>", { "Content-Type": isNew ? "text/plain" : "text/html" });
    if (pathname === "/cached" && request.headers["if-none-match"]) return response.writeHead(304).end();
    return say(order);
  };

beforeAll(async () => {
  [stable, other, canary] = await Promise.all([
    startOrigin("stable", app(1)),
    startOrigin("other", app(1)),
    startOrigin("canary", app(2)),
  ]);
  edge = await startEdgeStack({
    table: (hostname) => {
      const table = tables.get(hostname);
      return table ? { kind: "table", table } : { kind: "unknown" };
    },
    meter: (batch) => {
      if (isAway) refused.push(batch);
      if (isAway) throw new Error("control is away");
      batches.push(batch);
    },
  });
  await askAll();
});
afterAll(async () => {
  await edge?.dispose();
  await Promise.all([stable?.stop(), other?.stop(), canary?.stop()]);
});

/** What each of these requests, one after another, got and was found to differ in. */
const REQUESTS: Readonly<Record<string, Partial<Parameters<typeof ask>[0]>>> = {
  "GET /orders/:id": { path: "/orders/4711?token=secret" },
  "GET /gzip": { headers: { "Accept-Encoding": "gzip" } },
  "GET /cached": { headers: { "If-None-Match": '"1"', Cookie: "session=me" } },
  "GET /invalid": {},
  "GET /failing": {},
  "HEAD /failing": {},
  "GET /page": {},
  "GET /long": {},
  "GET /huge": {},
};
const answers = new Map<string, Answer>();
let found: Compared;

async function askAll(): Promise<void> {
  const host = serve();
  await ask({ port: edge.ports[0] ?? 0, host, method: "POST", path: "/orders", body: "x" });
  for (const [route, options] of Object.entries(REQUESTS)) {
    const [method = "", path = ""] = route.split(" ");
    answers.set(route, await ask({ port: edge.ports[0] ?? 0, host, method, path, ...options }));
  }
  found = await compared(host, answers.size);
}

const differing = (route: string, pick: (field: FieldEntry) => number) =>
  found.fields.filter((field) => field.route === route && pick(field) > 0).map(({ field }) => field);

describe("compared answers", () => {
  it.each([
    ["GET /orders/:id", ["$.total"]],
    ["GET /gzip", ["$.total"]],
    ["GET /cached", ["$.total"]],
    ["GET /invalid", ["not JSON"]],
    ["GET /failing", ["status"]],
    ["HEAD /failing", ["status"]],
    ["GET /page", ["content-type"]],
    ["GET /long", []],
    ["GET /huge", []],
  ])("of %s differ for the canary alone in %j", (route, fields) => {
    expect(found.routes).toContainEqual({ route, answers: 1 });
    expect(differing(route, ({ canary }) => canary)).toEqual(fields);
  });

  it("are told apart from what differs anyhow, and no value of either is", () => {
    expect(differing("GET /orders/:id", ({ both }) => both)).toEqual(["$.id", "$.at"]);
    expect(JSON.stringify(batches)).not.toMatch(/order-|4711|secret|session/);
  });

  it("leave the visitor's as it is: stable's, compressed, conditional, with its one cookie", () => {
    const [order, gzip, cached] = ["GET /orders/:id", "GET /gzip", "GET /cached"].map((key) =>
      answers.get(key),
    );
    expect(JSON.parse(order?.text ?? "")).toMatchObject({ total: 1 });
    expect(gzip?.headers["content-encoding"]).toBe("gzip");
    expect(gzip?.headers["set-cookie"]?.filter((cookie) => cookie.startsWith("s="))).toHaveLength(1);
    expect(cached?.status).toBe(304);
  });

  it("are asked of the canary once and of stable twice, as this visitor, marked; nothing but GET and HEAD is", () => {
    const copies = [...canary.seen, ...stable.seen].filter(
      ({ headers }) => headers["x-sluice-mirror"] === "1",
    );
    expect(copies.filter(({ url }) => url === "/cached").map(({ headers }) => headers.cookie)).toEqual(
      Array(3).fill("session=me"),
    );
    expect(copies).toHaveLength(3 * answers.size);
    expect(canary.seen).toHaveLength(answers.size);
    expect(copies.filter(({ method }) => method !== "GET" && method !== "HEAD")).toEqual([]);
  });

  it("are asked of two instances of stable, where it has two", async () => {
    const host = serve([canary.url], [stable.url, other.url]);
    await ask({ port: edge.ports[0] ?? 0, host, path: "/two" });
    const copies = ({ seen }: Origin) =>
      seen.filter(({ url, headers }) => url === "/two" && headers["x-sluice-mirror"] === "1").length;
    await waitFor(() => expect([copies(stable), copies(other)]).toEqual([1, 1]));
  });

  it("of paths that stable doesn't know take no route's place", async () => {
    const host = serve();
    for (const path of ["/made-up/a", "/made-up/b"]) await ask({ port: edge.ports[0] ?? 0, host, path });
    expect(await compared(host, 2)).toEqual({ routes: [{ route: "other routes", answers: 2 }], fields: [] });
  });

  it("are not kept while control is away: they would fill the memory that visitors need", async () => {
    const host = serve();
    isAway = true;
    await ask({ port: edge.ports[0] ?? 0, host, path: "/orders/1" });
    const hasLeft = (batch: MeterBatch) => batch.environment === host && batch.mirrored.length > 0;
    const first = await waitFor(() => {
      const found = refused.find(hasLeft);
      if (!found) throw new Error("nothing compared was sent");
      return found;
    });
    isAway = false;
    const again = await waitFor(async () => {
      await ask({ port: edge.ports[0] ?? 0, host, path: "/orders/1" });
      const found = batches.find(({ id }) => id === first.id);
      if (!found) throw new Error("the batch has not come again");
      return found;
    });
    expect(again).toEqual({ ...first, mirrored: [] });
  });

  it("of a canary that never answers cost the visitor nothing, and at most sixteen wait at a time", async () => {
    const hanging = await startOrigin("hanging", () => {});
    const host = serve([hanging.url]);
    const asked = Array.from({ length: 30 }, (_, n) =>
      ask({ port: edge.ports[0] ?? 0, host, path: `/a${n}` }),
    );
    const statuses = (await Promise.all(asked)).map(({ status }) => status);
    expect(statuses).toEqual(Array(30).fill(200));
    await waitFor(() => expect(hanging.seen).not.toHaveLength(0));
    expect(hanging.seen.length).toBeLessThanOrEqual(16);
    await hanging.stop();
  });
});
