/** What the new release answers with an error while traffic is split, visitors get from stable; the error is its own. */
import type { RequestListener } from "node:http";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { MeterBatch } from "../../src/domain/routing/meter.ts";
import type { RoutingTable } from "../../src/domain/routing/table.ts";
import { type Origin, startOrigin } from "../support/apps/origin.ts";
import { type Answer, type Ask, ask as askEdge } from "../support/http-client.ts";
import { type EdgeStack, startEdgeStack } from "../support/stack/edge-stack.ts";
import { releaseOf, tableOf } from "../support/tables.ts";

const CLOCK = "x-test-clock";
let stable: Origin;
let canary: Origin;
let edge: EdgeStack;
let port: number;
let canaryDoes: RequestListener;
let stableDoes: RequestListener | null = null;
const tables = new Map<string, RoutingTable>();
const batches: MeterBatch[] = [];
let hosts = 0;

const answers =
  (status: number, text = "canary"): RequestListener =>
  (_, response) =>
    response.writeHead(status, { "x-app": text, "set-cookie": `from=${text}` }).end(text);

/** As a visitor whom the canary is dealt: of nameless ones, one in 10,000 would not be. */
const ask = (asked: Ask) =>
  askEdge({ ...asked, headers: { cookie: "sluice_visitor=someone-1", ...asked.headers } });

/** Nearly all visitors are dealt the canary, of one instance; stable has one, too. */
function serve(overrides: Partial<RoutingTable> = {}): string {
  hosts += 1;
  const host = `c${hosts}.test`;
  const named = (id: string, weightBp: number, url: string) => {
    const release = releaseOf(id, weightBp, [url]);
    return { ...release, instances: release.instances.map((one) => ({ ...one, id: `${host}-${one.id}` })) };
  };
  tables.set(
    host,
    tableOf([], {
      hostnames: [host],
      environment: host,
      releases: [named("r2", 9_999, canary.url), named("r1", 1, stable.url)],
      stable: "r1",
      rescue: "errors",
      ...overrides,
    }),
  );
  return host;
}

/** What the meter was told of a host's release, summed. */
async function counted(host: string, release: string) {
  for (let i = 0; i < 300 && !batches.some(({ environment }) => environment === host); i += 1)
    await new Promise((resolve) => setTimeout(resolve, 10));
  const own = batches.filter(({ environment }) => environment === host).flatMap(({ entries }) => entries);
  const of = own.filter((entry) => entry.release === release);
  const sum = (key: "requests" | "errors" | "rescued" | "failed") =>
    of.reduce((total, entry) => total + entry[key], 0);
  return { requests: sum("requests"), errors: sum("errors"), rescued: sum("rescued"), failed: sum("failed") };
}
const from = ({ status, headers, text }: Answer) => [status, headers["x-app"] ?? JSON.parse(text).name];

beforeAll(async () => {
  const echo =
    (name: string): RequestListener =>
    (_, response) =>
      response.end(JSON.stringify({ name }));
  stable = await startOrigin("stable", (request, response) =>
    (stableDoes ?? echo("stable"))(request, response),
  );
  canary = await startOrigin("canary", (request, response) => canaryDoes(request, response));
  edge = await startEdgeStack(
    {
      table: (hostname) => {
        const table = tables.get(hostname);
        return table ? { kind: "table", table } : { kind: "unknown" };
      },
      meter: (batch) => void batches.push(batch),
    },
    { clockHeader: CLOCK },
  );
  port = edge.ports[0] ?? 0;
});
afterAll(async () => {
  await edge.dispose();
  await Promise.all([stable.stop(), canary.stop()]);
});
beforeEach(() => {
  canaryDoes = answers(500);
  stableDoes = null;
  stable.seen.length = 0;
  canary.seen.length = 0;
});

describe("a GET that the new release answers with an error", () => {
  it.each([500, 501, 505, 599])("is answered by stable instead of with %i", async (status) => {
    canaryDoes = answers(status);
    const answer = await ask({ port, host: serve() });
    expect(from(answer)).toEqual([200, "stable"]);
    expect(String(answer.headers["set-cookie"])).not.toContain("from=canary");
    expect([canary.seen.length, stable.seen.length]).toEqual([1, 1]);
  });

  it("is charged to the new release, and to nobody's fair share", async () => {
    const host = serve();
    for (let i = 0; i < 5; i++) await ask({ port, host });
    expect(await counted(host, "r2")).toEqual({ requests: 5, errors: 5, rescued: 5, failed: 0 });
    const entries = batches.filter(({ environment }) => environment === host).flatMap((one) => one.entries);
    expect(entries.filter(({ release }) => release === "r1").every(({ eligible }) => !eligible)).toBe(true);
  });

  it("keeps its own error where stable has none better, and as it was", async () => {
    stableDoes = answers(502, "stable");
    const host = serve();
    expect(from(await ask({ port, host }))).toEqual([500, "canary"]);
    expect(await counted(host, "r2")).toMatchObject({ errors: 1, rescued: 0, failed: 1 });
  });

  it("is no reason to ask stable for a HEAD's body, nor to lose it", async () => {
    expect((await ask({ port, host: serve(), method: "HEAD" })).status).toBe(200);
    expect(stable.seen.map(({ method }) => method)).toEqual(["HEAD"]);
  });

  it("is asked of stable where the new release gives no answer in time", async () => {
    canaryDoes = () => {};
    const host = serve({ timeouts: { responseMs: 200 } });
    expect(from(await ask({ port, host }))).toEqual([200, "stable"]);
    expect(await counted(host, "r2")).toEqual({ requests: 1, errors: 1, rescued: 1, failed: 0 });
  });

  it("goes to stable after a sibling that fails, too", async () => {
    let turn = 0;
    canaryDoes = (request, response) => answers(turn++ === 0 ? 503 : 500)(request, response);
    const two = releaseOf("r2", 9_999, [canary.url, canary.url]);
    const host = serve();
    const held = tables.get(host) as RoutingTable;
    tables.set(host, { ...held, releases: [two, ...held.releases.slice(1)] });
    expect(from(await ask({ port, host }))).toEqual([200, "stable"]);
  });

  it("costs both sides no storm: past the budget errors stand", async () => {
    stableDoes = answers(500, "stable");
    const host = serve();
    for (let i = 0; i < 12; i++) await Promise.all(Array.from({ length: 25 }, () => ask({ port, host })));
    expect(canary.seen.length).toBe(300);
    expect(stable.seen.length).toBeLessThan(220);
  });
});

describe("what stable is not asked for", () => {
  it("a POST that the new release left without an answer", async () => {
    canaryDoes = () => {};
    const host = serve({ timeouts: { responseMs: 200 } });
    expect((await ask({ port, host, method: "POST", body: "x=1" })).status).toBe(504);
    expect(stable.seen).toHaveLength(0);
  });

  it.each(["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])("a %s", async (method) => {
    const body = method === "OPTIONS" ? {} : { body: "x=1" };
    expect((await ask({ port, host: serve(), method, ...body })).status).toBe(500);
    expect(stable.seen).toHaveLength(0);
  });

  it.each<[string, Partial<RoutingTable>]>([
    ["where only a gateway's errors are rescued", { rescue: "gateway" }],
    ["where nothing is", { rescue: "off" }],
    ["by a table from before there was a choice", { rescue: undefined } as unknown as Partial<RoutingTable>],
  ])("an error %s", async (_, overrides) => {
    expect((await ask({ port, host: serve(overrides) })).status).toBe(500);
    expect(stable.seen).toHaveLength(0);
  });

  it("anything, where rescue is off: not even what a gateway failed", async () => {
    canaryDoes = answers(503);
    expect((await ask({ port, host: serve({ rescue: "off" }) })).status).toBe(503);
    expect([canary.seen.length, stable.seen.length]).toEqual([1, 0]);
  });

  it("what it failed itself", async () => {
    stableDoes = answers(500, "stable");
    const host = serve();
    const held = tables.get(host) as RoutingTable;
    const [two, one] = held.releases;
    if (!two || !one) throw new Error("the table has two releases");
    tables.set(host, {
      ...held,
      releases: [
        { ...two, weightBp: 1 },
        { ...one, weightBp: 9_999 },
      ],
    });
    expect(from(await ask({ port, host }))).toEqual([500, "stable"]);
    expect(canary.seen).toHaveLength(0);
  });

  it("a client's mistake", async () => {
    canaryDoes = answers(404);
    expect((await ask({ port, host: serve() })).status).toBe(404);
  });
});
