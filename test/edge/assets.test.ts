/** Built assets that the serving release has not (any more): from a warm release, from kept copies, or nobody's. */
import type { RequestListener } from "node:http";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { RoutingTable } from "../../src/domain/routing/table.ts";
import { type Origin, startOrigin } from "../support/apps/origin.ts";
import { type Answer, ask } from "../support/http-client.ts";
import { type EdgeStack, startEdgeStack } from "../support/stack/edge-stack.ts";
import { releaseOf, tableOf } from "../support/tables.ts";

const CLOCK = "x-test-clock";
type Files = Record<string, RequestListener | string>;
const NAMES = ["v1", "v2", "v3"] as const;
type Name = (typeof NAMES)[number];
const origins = {} as Record<Name, Origin>;
const files: Record<Name, Files> = { v1: {}, v2: {}, v3: {} };
let missing: RequestListener;
let edge: EdgeStack;
let port: number;
const tables = new Map<string, RoutingTable>();
let hosts = 0;

const notFound: RequestListener = (_, response) =>
  response.writeHead(404, { "content-type": "text/html" }).end("<p>nothing here");
const page: RequestListener = (_, response) =>
  response.writeHead(200, { "content-type": "text/html; charset=utf-8" }).end("<div id=root>");
const file =
  (text: string | Buffer, headers: Record<string, string> = {}): RequestListener =>
  (_, response) =>
    response.writeHead(200, { "content-type": "text/javascript", ...headers }).end(text);

/** The release that serves has all traffic; the others named are warm, the newest first. */
function tableFor(host: string, version: number, serving: Name, warm: readonly Name[] = []): RoutingTable {
  const named = (name: Name, weightBp: number) => {
    const release = releaseOf(name, weightBp, [origins[name].url]);
    return { ...release, instances: release.instances.map((one) => ({ ...one, id: `${host}-${one.id}` })) };
  };
  return tableOf([], {
    version,
    hostnames: [host],
    environment: host,
    releases: [named(serving, 10_000), ...warm.map((name) => named(name, 0))],
    stable: serving,
    assets: { also: ["/packs/**"], from: [serving, ...warm] },
  });
}

function serve(serving: Name, warm: readonly Name[] = [], overrides: Partial<RoutingTable> = {}): string {
  const host = `a${++hosts}.test`;
  tables.set(host, { ...tableFor(host, 1, serving, warm), ...overrides });
  return host;
}

/** Another release serves from now on, and the edge knows. */
let ahead = 0;
async function change(host: string, serving: Name, warm: readonly Name[] = []): Promise<void> {
  tables.set(host, tableFor(host, (tables.get(host)?.version ?? 0) + 1, serving, warm));
  ahead += 5_000;
  await edge.setAhead(ahead);
}

const get = (host: string, path: string, headers: Record<string, string> = {}): Promise<Answer> =>
  ask({ port, host, path, headers });
const asked = (name: Name, path: string): number =>
  origins[name].seen.filter(({ url }) => url === path).length;
/** Behind the visitor's answer, the file has been asked for once more. */
const copied = (name: Name, path: string) => expect.poll(() => asked(name, path)).toBe(2);

beforeAll(async () => {
  for (const name of NAMES)
    origins[name] = await startOrigin(name, (request, response) => {
      const found = files[name][(request.url ?? "").split("?")[0] ?? ""];
      if (typeof found === "string") return file(found)(request, response);
      return (found ?? missing)(request, response);
    });
  edge = await startEdgeStack(
    {
      table: (hostname) => {
        const table = tables.get(hostname);
        return table ? { kind: "table", table } : { kind: "unknown" };
      },
      meter: () => {},
    },
    { clockHeader: CLOCK, bucket: true },
  );
  port = edge.ports[0] ?? 0;
});
afterAll(async () => {
  await edge.dispose();
  await Promise.all(Object.values(origins).map((origin) => origin.stop()));
});
beforeEach(() => {
  missing = notFound;
  for (const name of NAMES) {
    files[name] = {};
    origins[name].seen.length = 0;
  }
});

describe("a built asset that the serving release has not", () => {
  it.each([
    "/assets/Lazy-Ab3dEf9h.js",
    "/_next/static/chunks/40x6taufsd5o8.js",
    "/main.ed3d48a7.css",
    "/packs/any.js",
  ])("comes from the warm one: %s", async (path) => {
    files.v1[path] = "of v1";
    const answer = await get(serve("v2", ["v1"]), path);
    expect([answer.status, answer.text, answer.headers["x-sluice-release"]]).toEqual([200, "of v1", "v1"]);
  });

  it("is asked for there at once from then on", async () => {
    files.v1["/assets/a-Ab3dEf9h.js"] = "of v1";
    const host = serve("v2", ["v1"]);
    for (let i = 0; i < 150; i++) expect((await get(host, "/assets/a-Ab3dEf9h.js")).status).toBe(200);
    expect([asked("v2", "/assets/a-Ab3dEf9h.js"), asked("v1", "/assets/a-Ab3dEf9h.js")]).toEqual([1, 150]);
  });

  it("is told from a single-page app's answer to whatever it has not", async () => {
    missing = page;
    files.v1["/assets/b-Ab3dEf9h.js"] = "of v1";
    const host = serve("v2", ["v1"]);
    expect((await get(host, "/assets/b-Ab3dEf9h.js")).text).toBe("of v1");
    expect((await get(host, "/assets/none-Ab3dEf9h.js")).text).toBe("<div id=root>");
  });

  it("goes to an older warm one when neither the newest has it nor a copy was kept", async () => {
    files.v1["/assets/c-Ab3dEf9h.js"] = "of v1";
    expect((await get(serve("v3", ["v2", "v1"]), "/assets/c-Ab3dEf9h.js")).text).toBe("of v1");
  });

  it("is one extra fetch, once, when nobody has it", async () => {
    const host = serve("v2", ["v1"]);
    for (let i = 0; i < 20; i++)
      expect((await get(host, "/assets/gone-Ab3dEf9h.js")).text).toBe("<p>nothing here");
    expect([asked("v2", "/assets/gone-Ab3dEf9h.js"), asked("v1", "/assets/gone-Ab3dEf9h.js")]).toEqual([
      20, 1,
    ]);
  });

  it("is looked for anew when another release has come", async () => {
    const host = serve("v2", ["v1"]);
    expect((await get(host, "/assets/d-Ab3dEf9h.js")).status).toBe(404);
    files.v3["/assets/d-Ab3dEf9h.js"] = "of v3";
    await change(host, "v2", ["v3"]);
    expect((await get(host, "/assets/d-Ab3dEf9h.js")).text).toBe("of v3");
  });

  it("costs the others no storm: made-up names are paid for from a budget of their own", async () => {
    const host = serve("v2", ["v1"]);
    const names = Array.from({ length: 400 }, (_, i) => `/assets/x-${String(i).padStart(8, "0")}.js`);
    for (let i = 0; i < 400; i += 50)
      await Promise.all(names.slice(i, i + 50).map((path) => get(host, path)));
    expect(origins.v1.seen.length).toBeLessThan(200);
    files.v2["/"] = (_, response) => response.writeHead(503).end();
    expect((await get(host, "/")).status).toBe(503);
  });
});

describe("what is not looked for elsewhere", () => {
  it.each(["/", "/account", "/about.html", "/api/orders.json", "/app.js", "/uploads/photo-1a2b3c4d.jpg"])(
    "%s",
    async (path) => {
      files.v1[path] = "of v1";
      expect((await get(serve("v2", ["v1"]), path)).status).toBe(404);
      expect(origins.v1.seen).toHaveLength(0);
    },
  );

  it("a page in an asset's place, from whoever", async () => {
    files.v1["/assets/e-Ab3dEf9h.js"] = page;
    expect((await get(serve("v2", ["v1"]), "/assets/e-Ab3dEf9h.js")).status).toBe(404);
  });

  it("what a POST asks for", async () => {
    files.v1["/assets/f-Ab3dEf9h.js"] = "of v1";
    const host = serve("v2", ["v1"]);
    expect((await ask({ port, host, path: "/assets/f-Ab3dEf9h.js", method: "POST", body: "x" })).status).toBe(
      404,
    );
    expect(origins.v1.seen).toHaveLength(0);
  });

  it("anything, where the table says nothing of assets", async () => {
    files.v1["/assets/g-Ab3dEf9h.js"] = "of v1";
    const host = serve("v2", ["v1"], { assets: undefined } as unknown as Partial<RoutingTable>);
    expect((await get(host, "/assets/g-Ab3dEf9h.js")).status).toBe(404);
  });
});

describe("a kept copy", () => {
  it("serves when the release is gone, with the app's own headers", async () => {
    const path = "/assets/k-Ab3dEf9h.js";
    files.v1[path] = file("of v1", { "cache-control": "public, max-age=60", etag: '"1"' });
    const host = serve("v1");
    await get(host, path, { cookie: "session=me", authorization: "Bearer me" });
    await copied("v1", path);
    const copy = origins.v1.seen.at(-1)?.headers;
    expect([copy?.cookie, copy?.authorization, copy?.["x-sluice-mirror"]]).toEqual([
      undefined,
      undefined,
      "1",
    ]);
    await change(host, "v2");
    const answer = await get(host, path);
    const { etag, "cache-control": control, "content-type": type } = answer.headers;
    expect([answer.status, answer.text, etag, control, type]).toEqual([
      200,
      "of v1",
      '"1"',
      "public, max-age=60",
      "text/javascript",
    ]);
    await get(host, path);
    expect([asked("v1", path), asked("v2", path)]).toEqual([2, 1]);
  });

  it("is there of what a file names, though nobody had it yet", async () => {
    files.v1["/assets/index-Ab3dEf9h.js"] =
      'const m=["assets/Lazy-Ab3dEf9h.js"];import("./Other-Ab3dEf9h.js")';
    files.v1["/assets/Lazy-Ab3dEf9h.js"] = 'import("./Deep-Ab3dEf9h.js")';
    files.v1["/assets/Other-Ab3dEf9h.js"] = "other";
    files.v1["/assets/Deep-Ab3dEf9h.js"] = "deep";
    const host = serve("v1");
    await get(host, "/assets/index-Ab3dEf9h.js");
    await expect.poll(() => asked("v1", "/assets/Deep-Ab3dEf9h.js")).toBe(1);
    await change(host, "v3");
    expect((await get(host, "/assets/Deep-Ab3dEf9h.js")).text).toBe("deep");
    expect((await get(host, "/assets/Other-Ab3dEf9h.js")).text).toBe("other");
  });

  it("lies in a bucket too, where one is bound: what no cache of this data centre has", async () => {
    const path = "/assets/r-Ab3dEf9h.js";
    files.v1[path] = file("of v1", { "cache-control": "max-age=60" });
    const host = serve("v1");
    await get(host, path);
    await copied("v1", path);
    const elsewhere = serve("v2");
    await expect.poll(() => edge.moveInBucket(`${host}/`, `${elsewhere}/`)).toBe(1);
    for (let i = 0; i < 2; i++) {
      const { status, text, headers } = await get(elsewhere, path);
      expect([status, text, headers["cache-control"]]).toEqual([200, "of v1", "max-age=60"]);
    }
  });

  it("is nobody else's: another environment's file of the same name stays its own", async () => {
    const path = "/assets/l-Ab3dEf9h.js";
    files.v1[path] = "of v1";
    const host = serve("v1");
    await get(host, path);
    await copied("v1", path);
    expect((await get(serve("v2"), path)).status).toBe(404);
  });

  it.each<[string, RequestListener]>([
    ["no-store", file("x", { "cache-control": "no-store" })],
    ["private", file("x", { "cache-control": "private, max-age=9" })],
    ["a cookie", file("x", { "set-cookie": "a=b" })],
    ["Vary: Cookie", file("x", { vary: "Accept, Cookie" })],
    ["more bytes than it keeps, as declared", file("x".repeat(9_000_000), { "content-length": "9000000" })],
    [
      "a length that it doesn't say",
      (_, response) => {
        response.writeHead(200, { "content-type": "text/javascript" });
        for (let i = 0; i < 9; i++) response.write("x".repeat(1_000_000));
        response.end();
      },
    ],
    [
      "who asks",
      (request, response) => (request.headers.cookie ? file("mine") : notFound)(request, response),
    ],
  ])("is not made of an answer with %s", async (_, listener) => {
    const path = "/assets/m-Ab3dEf9h.js";
    files.v1[path] = listener;
    const host = serve("v1");
    expect((await get(host, path, { cookie: "session=me" })).status).toBe(200);
    await copied("v1", path);
    await change(host, "v2");
    expect((await get(host, path)).status).toBe(404);
  });
});

describe("a request that says what its page was built as", () => {
  const deployments = (host: string): void => {
    const table = tables.get(host) as RoutingTable;
    const releases = table.releases.map((one, i) => ({ ...one, deployments: [`sha${2 - i}`] }));
    tables.set(host, { ...table, releases });
  };
  const name = ({ text }: Answer) => text;
  beforeEach(() => {
    for (const which of NAMES) files[which]["/action"] = which;
  });

  it("stays with that release while it is warm, POSTs too", async () => {
    const host = serve("v2", ["v1"]);
    deployments(host);
    const old = { "x-deployment-id": "sha1" };
    expect(name(await ask({ port, host, path: "/action", method: "POST", body: "x", headers: old }))).toBe(
      "v1",
    );
    expect(name(await get(host, "/action?dpl=sha1"))).toBe("v1");
    expect(name(await get(host, "/action", { "x-deployment-id": "sha2" }))).toBe("v2");
    expect(name(await get(host, "/action"))).toBe("v2");
  });

  it("goes where all go when that is gone, or was never there", async () => {
    const host = serve("v2", ["v1"]);
    deployments(host);
    expect(name(await get(host, "/action", { "x-deployment-id": "sha0" }))).toBe("v2");
    const table = tables.get(host) as RoutingTable;
    const releases = table.releases.map((one) => (one.id === "v1" ? { ...one, instances: [] } : one));
    tables.set(host, { ...table, version: 2, releases });
    ahead += 5_000;
    await edge.setAhead(ahead);
    expect(name(await get(host, "/action", { "x-deployment-id": "sha1" }))).toBe("v2");
  });
});
