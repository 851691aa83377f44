import { createHmac } from "node:crypto";
import type { RequestListener } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { formatPreviewToken, previewPayload } from "../../src/domain/routing/preview.ts";
import type { RoutingTable } from "../../src/domain/routing/table.ts";
import { type Origin, startOrigin } from "../support/apps/origin.ts";
import { type Answer, ask } from "../support/http-client.ts";
import { type EdgeStack, startEdgeStack } from "../support/stack/edge-stack.ts";
import { releaseOf, tableOf } from "../support/tables.ts";

const KEY = "00112233445566778899aabbccddeeff";

let stable: Origin;
let canary: Origin;
let edge: EdgeStack;
let port: number;
const tables = new Map<string, RoutingTable>();
let hosts = 0;

/** A fresh hostname with a canary, `r2`, at `weightBp`. */
function serve(weightBp: number, overrides: Partial<RoutingTable> = {}): string {
  hosts += 1;
  const host = `v${hosts}.test`;
  publish(host, weightBp, overrides);
  return host;
}
function publish(host: string, weightBp: number, overrides: Partial<RoutingTable> = {}): void {
  const releases = [
    releaseOf("r2", weightBp, [canary.url]),
    releaseOf("r1", 10_000 - weightBp, [stable.url]),
  ];
  const version = (tables.get(host)?.version ?? 0) + 1;
  tables.set(host, {
    ...tableOf([], { hostnames: [host], environment: host, releases, version }),
    ...overrides,
  });
}
const nameOf = (answer: Answer): string =>
  answer.status === 200 ? JSON.parse(answer.text).name : String(answer.status);
const visitorOf = (answer: Answer) =>
  answer.headers["set-cookie"]?.find((cookie) => cookie.startsWith("sluice_visitor="));
const pairOf = (cookie: string | undefined) => cookie?.split(";")[0] ?? "";
const inSeconds = (seconds: number) => Math.floor(Date.now() / 1_000) + seconds;

function token(host: string, target: string, expiresAtS = inSeconds(60), key = KEY): string {
  const payload = previewPayload(host, target, expiresAtS);
  const signature = createHmac("sha256", Buffer.from(key, "hex")).update(payload).digest("base64url");
  return formatPreviewToken({ target, expiresAtS, signature });
}

const app =
  (name: string): RequestListener =>
  (request, response) => {
    if (request.url === "/shared") response.setHeader("Cache-Control", "public, max-age=31536000, immutable");
    if (request.url === "/private") response.setHeader("Cache-Control", "private, max-age=60");
    if (request.url === "/not-modified") return response.writeHead(304).end();
    if (request.url === "/teapot") return response.writeHead(name === "stable" ? 418 : 200).end();
    response.end(JSON.stringify({ name, headers: request.headers }));
  };

beforeAll(async () => {
  stable = await startOrigin("stable", app("stable"));
  canary = await startOrigin("canary", app("canary"));
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
  await Promise.all([stable.stop(), canary.stop()]);
});
beforeEach(async () => {
  await edge.setAhead(0);
  stable.seen.length = 0;
  canary.seen.length = 0;
});

describe("a visitor", () => {
  it("keeps the release they got, by cookie", async () => {
    const host = serve(5_000);
    for (let i = 0; i < 10; i += 1) {
      const first = await ask({ port, host });
      const cookie = visitorOf(first);
      expect(cookie).toMatch(
        /^sluice_visitor=[0-9a-f-]{36}; Path=\/; Max-Age=604800; HttpOnly; SameSite=Lax$/,
      );
      for (let again = 0; again < 4; again += 1) {
        const next = await ask({ port, host, headers: { Cookie: `theme=dark; ${pairOf(cookie)}` } });
        expect(nameOf(next)).toBe(nameOf(first));
        expect(visitorOf(next)).toBeUndefined();
      }
    }
  });

  it("gets no cookie while there is nothing to choose between", async () => {
    expect(visitorOf(await ask({ port, host: serve(0) }))).toBeUndefined();
    expect(visitorOf(await ask({ port, host: serve(10_000) }))).toBeUndefined();
  });

  it("gets none on an answer that others may be given from a cache", async () => {
    const host = serve(5_000);
    for (const path of ["/shared", "/not-modified"]) {
      for (let i = 0; i < 8; i += 1) expect(visitorOf(await ask({ port, host, path }))).toBeUndefined();
    }
    expect(visitorOf(await ask({ port, host, path: "/private" }))).toBeDefined();
  });

  it("is dealt a release when they navigate: what a page asks for that they have open already is stable's", async () => {
    const host = serve(9_000);
    for (const mode of ["cors", "no-cors", "same-origin", "websocket"]) {
      for (let i = 0; i < 4; i += 1) {
        const part = await ask({ port, host, headers: { "Sec-Fetch-Mode": mode } });
        expect([nameOf(part), visitorOf(part)]).toEqual(["stable", undefined]);
      }
    }
    const names = new Set<string>();
    for (let i = 0; i < 40; i += 1) {
      const page = await ask({ port, host, headers: { "Sec-Fetch-Mode": "navigate" } });
      expect(visitorOf(page)).toBeDefined();
      names.add(nameOf(page));
      const headers = { cookie: pairOf(visitorOf(page)), "sec-fetch-mode": "cors" };
      expect(nameOf(await ask({ port, host, headers }))).toBe(nameOf(page));
    }
    expect([...names]).toContain("canary");
  });

  it("gets a new cookie for one that is forged", async () => {
    const host = serve(5_000);
    const answer = await ask({ port, host, headers: { Cookie: `sluice_visitor=${"x".repeat(5_000)}` } });
    expect(visitorOf(answer)).toBeDefined();
  });

  it("stays on the canary while its weight rises", async () => {
    const host = serve(3_000);
    const cookies: string[] = [];
    while (cookies.length < 5) {
      const answer = await ask({ port, host });
      if (nameOf(answer) === "canary") cookies.push(pairOf(visitorOf(answer)));
    }
    publish(host, 6_000);
    await edge.setAhead(2_200);
    for (const cookie of cookies)
      expect(nameOf(await ask({ port, host, headers: { Cookie: cookie } }))).toBe("canary");
  });

  it.each<[RoutingTable["affinity"], (i: number) => Record<string, string>]>([
    [{ kind: "header", name: "X-User" }, (i) => ({ "X-User": `user-${i}` })],
    [{ kind: "ip" }, (i) => ({ "CF-Connecting-IP": `203.0.113.${i}` })],
  ])("is known by %j", async (affinity, headersOf) => {
    const host = serve(5_000, { affinity });
    const names = new Set<string>();
    for (let i = 0; i < 20; i += 1) {
      const answers = [
        await ask({ port, host, headers: headersOf(i) }),
        await ask({ port, host, headers: headersOf(i) }),
      ];
      expect(new Set(answers.map(nameOf)).size).toBe(1);
      expect(answers.flatMap((answer) => visitorOf(answer) ?? [])).toEqual([]);
      names.add(nameOf(answers[0] as Answer));
    }
    expect(names).toEqual(new Set(["stable", "canary"]));
  });

  it("is nobody without affinity: each request is dealt anew", async () => {
    const host = serve(5_000, { affinity: { kind: "none" } });
    const answers = await Promise.all(Array.from({ length: 60 }, () => ask({ port, host })));
    expect(new Set(answers.map(nameOf))).toEqual(new Set(["stable", "canary"]));
    expect(answers.flatMap((answer) => visitorOf(answer) ?? [])).toEqual([]);
  });

  it("gets the canary only if a match rule lets them", async () => {
    const match = [
      { header: { name: "X-Beta", value: "1" } },
      { pathPrefix: "/beta", cookie: { name: "b", value: "2" } },
    ];
    const host = serve(10_000, { match });
    const get = async (path: string, headers: Record<string, string>) =>
      nameOf(await ask({ port, host, path, headers }));
    expect(await get("/", {})).toBe("stable");
    expect(await get("/", { "X-Beta": "1" })).toBe("canary");
    expect(await get("/beta/x", { Cookie: "a=1; b=2" })).toBe("canary");
    expect(await get("/x", { Cookie: "b=2" })).toBe("stable");
  });

  it("gets stable when nobody has vouched for the split in time", async () => {
    const host = serve(9_999, { partialUntil: Date.now() + 30_000 });
    expect(nameOf(await ask({ port, host }))).toBe("canary");
    await edge.setAhead(31_000);
    expect(nameOf(await ask({ port, host }))).toBe("stable");
  });
});

describe("a preview", () => {
  it("reaches a release at 0 % by header and by cookie, and the token goes no further", async () => {
    const host = serve(0);
    const byHeader = await ask({ port, host, headers: { "X-Sluice-Preview": token(host, "r2") } });
    expect([nameOf(byHeader), byHeader.headers["x-sluice-release"]]).toEqual(["canary", "v2"]);
    const byCookie = await ask({
      port,
      host,
      headers: { Cookie: `a=1; sluice_preview=${token(host, "r2")}; b=2` },
    });
    expect(nameOf(byCookie)).toBe("canary");
    expect(canary.seen.map(({ headers }) => headers["x-sluice-preview"])).toEqual([undefined, undefined]);
    expect(canary.seen[1]?.headers.cookie).toBe("a=1; b=2");
    expect(nameOf(await ask({ port, host }))).toBe("stable");
  });

  it("reaches one instance when the token names it", async () => {
    const host = serve(0);
    expect(nameOf(await ask({ port, host, headers: { "X-Sluice-Preview": token(host, "r2-0") } }))).toBe(
      "canary",
    );
  });

  it.each<[string, (host: string) => string, string]>([
    ["garbage", () => "r2", "malformed"],
    ["a signature of another key", (host) => token(host, "r2", inSeconds(60), "ff".repeat(16)), "not signed"],
    ["a token of another hostname", () => token("other.test", "r2"), "not signed"],
    [
      "a longer life than was signed",
      (host) => token(host, "r2").replace(/\.\d+\./, `.${inSeconds(9_999)}.`),
      "not signed",
    ],
    ["an expired token", (host) => token(host, "r2", inSeconds(-1)), "expired"],
    ["a release that is gone", (host) => token(host, "r0"), "r0"],
  ])("is refused with 403, never served from stable, for %s", async (_, make, reason) => {
    const host = serve(0);
    const answer = await ask({ port, host, headers: { "X-Sluice-Preview": make(host) } });
    expect([answer.status, JSON.parse(answer.text).code]).toEqual([403, "preview_refused"]);
    expect(JSON.parse(answer.text).detail).toContain(reason);
    expect(stable.seen.length + canary.seen.length).toBe(0);
  });

  it.each([
    ["junk", () => "junk"],
    ["expired", (host: string) => token(host, "r2", inSeconds(-1))],
  ])("locks nobody out by a cookie that is %s, and says why it opens nothing", async (_, make) => {
    const host = serve(0);
    const answer = await ask({ port, host, headers: { Cookie: `sluice_preview=${make(host)}` } });
    expect(nameOf(answer)).toBe("stable");
    expect(answer.headers["x-sluice-preview-ignored"]).toMatch(/malformed|expired/);
    expect(stable.seen[0]?.headers.cookie).toBeUndefined();
  });

  it("is refused when the environment has no preview key", async () => {
    const host = serve(0, { previewKey: "" });
    expect(
      (await ask({ port, host, headers: { "X-Sluice-Preview": token(host, "r2", inSeconds(60), "") } }))
        .status,
    ).toBe(403);
  });

  it("works in maintenance: that is when one wants to look", async () => {
    const host = serve(0, { mode: { kind: "maintenance", retryAfterS: 60, message: null } });
    expect(nameOf(await ask({ port, host, headers: { "X-Sluice-Preview": token(host, "r2") } }))).toBe(
      "canary",
    );
  });
});

describe("a mirror", () => {
  const mirror = { release: "r2", shareBp: 10_000 };
  const arrived = async (count: number) => {
    for (let i = 0; i < 100 && canary.seen.length < count; i += 1) await sleep(20);
    return canary.seen;
  };

  it("copies harmless requests to the release under test, marked, and the visitor gets stable's answer", async () => {
    const host = serve(0, { mirror });
    expect(nameOf(await ask({ port, host, path: "/a?b=1" }))).toBe("stable");
    await ask({ port, host, method: "HEAD" });
    const copies = await arrived(2);
    expect(copies.map(({ method, url }) => `${method} ${url}`).sort()).toEqual(["GET /a?b=1", "HEAD /"]);
    expect(copies.map(({ headers }) => headers["x-sluice-mirror"])).toEqual(["1", "1"]);
    expect(stable.seen[0]?.headers["x-sluice-mirror"]).toBeUndefined();
  });

  it("copies nothing that could do something", async () => {
    const host = serve(0, { mirror });
    for (const method of ["POST", "PUT", "DELETE", "PATCH"]) await ask({ port, host, method, body: "x" });
    await ask({ port, host, method: "GET", body: "x" });
    await ask({ port, host, path: "/last" });
    expect((await arrived(1)).map(({ url }) => url)).toEqual(["/last"]);
  });

  it("copies about its share", async () => {
    const host = serve(0, { mirror: { ...mirror, shareBp: 3_000 } });
    for (let i = 0; i < 10; i += 1) await Promise.all(Array.from({ length: 20 }, () => ask({ port, host })));
    await sleep(100);
    expect(canary.seen.length).toBeGreaterThan(25);
    expect(canary.seen.length).toBeLessThan(105);
  });
});

describe("traffic that is stopped", () => {
  it("is answered with the environment's words in maintenance", async () => {
    const host = serve(0, { mode: { kind: "maintenance", retryAfterS: 120, message: "Back at <noon>" } });
    const answer = await ask({ port, host });
    expect([answer.status, answer.headers["retry-after"]]).toEqual([503, "120"]);
    expect(JSON.parse(answer.text)).toMatchObject({ code: "maintenance", detail: "Back at <noon>" });
    const page = await ask({ port, host, headers: { Accept: "text/html,*/*" } });
    expect(page.text).toContain("Back at &#60;noon&#62;");
    expect(stable.seen).toHaveLength(0);
  });

  it("is held while paused, and goes on when the pause ends", async () => {
    const host = serve(0, { mode: { kind: "paused", until: Date.now() + 20_000 } });
    const held = Promise.all(
      Array.from({ length: 5 }, () => ask({ port, host, method: "POST", body: "x=1" })),
    );
    await sleep(300);
    expect(stable.seen).toHaveLength(0);
    publish(host, 0);
    expect((await held).map(nameOf)).toEqual(Array(5).fill("stable"));
  });

  it("is turned away with 503 when the pause lasts too long", async () => {
    const host = serve(0, { mode: { kind: "paused", until: Date.now() + 500 } });
    const since = Date.now();
    const answer = await ask({ port, host });
    expect([answer.status, JSON.parse(answer.text).code]).toEqual([503, "paused"]);
    expect(Date.now() - since).toBeGreaterThanOrEqual(450);
    expect(answer.headers["retry-after"]).toBeDefined();
  });
});
