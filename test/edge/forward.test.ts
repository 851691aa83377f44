import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { request as httpRequest, type RequestListener } from "node:http";
import { gzipSync } from "node:zlib";
import fc from "fast-check";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { WebSocket } from "ws";
import type { RoutingTable } from "../../src/domain/routing/table.ts";
import { type Origin, startOrigin } from "../support/apps/origin.ts";
import { ask } from "../support/http-client.ts";
import { type EdgeStack, startEdgeStack } from "../support/stack/edge-stack.ts";
import { releaseOf, tableOf } from "../support/tables.ts";

const GZIPPED = gzipSync("hello ".repeat(1_000));
const MEGABYTE = randomBytes(1_048_576);
/** Called when the app sees its client leave `/stream`. */
let left: () => void = () => {};

/** What the app answers, by how the path begins. */
const ANSWERS: Record<string, RequestListener> = {
  "/redirect": (request, response) =>
    response.writeHead(302, { Location: `http://${request.headers.host}/there?x=1` }).end(),
  "/elsewhere": (_, response) => response.writeHead(301, { Location: "https://other.test/x" }).end(),
  "/relative": (_, response) => response.writeHead(303, { Location: "/there" }).end(),
  "/cookies": ({ headers }, response) => {
    const domain = headers.host?.replace(/:.*/, "");
    const cookies = ["a=1; Expires=Wed, 21 Oct 2026 07:28:00 GMT", `b=2; Domain=${domain}; Path=/`];
    response.writeHead(200, { "Set-Cookie": cookies }).end("ok");
  },
  "/gzip": (_, response) =>
    response.writeHead(200, { "Content-Encoding": "gzip", "Content-Length": GZIPPED.length }).end(GZIPPED),
  "/say": ({ url = "" }, response) => {
    const { searchParams } = new URL(url, "http://app");
    response.writeHead(302, { [searchParams.get("name") ?? ""]: searchParams.get("value") ?? "" }).end();
  },
  "/tagged": ({ headers }, response) => {
    // RFC 9111 §5.2.1.4 as Express and all that builds on `fresh` follow it: who says no-cache wants it whole.
    const isFresh = headers["if-none-match"] === '"e1"' && !headers["cache-control"]?.includes("no-cache");
    response.writeHead(isFresh ? 304 : 200, { ETag: '"e1"' }).end(isFresh ? undefined : "whole");
  },
  "/early": (_, response) => response.writeHead(413).end("too much"),
  "/length": (_, response) => response.writeHead(200, { "Content-Length": "5" }).end("12345"),
  "/not-modified": (_, response) => response.writeHead(304, { ETag: '"e1"' }).end(),
  "/range": (_, response) =>
    response.writeHead(206, { "Content-Range": "bytes 2-4/10", "Content-Length": "3" }).end("234"),
  "/status/": ({ url = "" }, response) =>
    response.writeHead(Number(url.slice("/status/".length)), { "X-App": "1" }).end(),
  "/hop": (_, response) =>
    response.writeHead(200, { Connection: "x-secret, keep-alive", "X-Secret": "1", "X-Kept": "1" }).end("ok"),
  "/large": async (_, response) => {
    for (let i = 0; i < 64; i += 1) if (!response.write(MEGABYTE)) await once(response, "drain");
    response.end();
  },
  "/events": (request, response) => {
    response.writeHead(200, { "Content-Type": "text/event-stream" });
    response.write("data: first\n\n");
    request.on("end", () => {}).resume();
  },
  "/stream": (_, response) => {
    const ticking = setInterval(() => response.write("tick"), 20);
    response.on("close", () => {
      clearInterval(ticking);
      left();
    });
    response.writeHead(200).write("begin");
  },
};

/** Any other path is told what came: how much, and its hash. */
const app: RequestListener = async (request, response) => {
  const known = Object.entries(ANSWERS).find(([path]) => request.url?.startsWith(path));
  if (known) return known[1](request, response);
  const hash = createHash("sha256");
  let bytes = 0;
  for await (const chunk of request) {
    bytes += chunk.length;
    hash.update(chunk);
  }
  response.end(JSON.stringify({ bytes, sha256: hash.digest("hex") }));
};

/** A body that goes on until its signal. */
let origin: Origin;
let edge: EdgeStack;
let port: number;
const last = () => {
  const seen = origin.seen.at(-1);
  if (seen === undefined) throw new Error("the app saw no request");
  return seen;
};
/** All values of a header, as the app saw them on the wire. */
const wire = (name: string) =>
  last().rawHeaders.filter((_, i, all) => i % 2 === 1 && all[i - 1]?.toLowerCase() === name.toLowerCase());
const isBytes = (text: string) => text.toLowerCase() === "x-bytes";

beforeAll(async () => {
  origin = await startOrigin("app", app);
  edge = await startEdgeStack({
    table: (hostname) => {
      const rest = { environment: "env_3", hostnames: ["rest.test"], marks: "rollout" } as const;
      const canary = {
        releases: [releaseOf("r2", 5_000, [origin.url]), releaseOf("r1", 5_000, [origin.url])],
      };
      const others: Record<string, Partial<RoutingTable>> = {
        "plain.test": { environment: "env_2", hostnames: ["plain.test"], showRelease: false },
        "rest.test": rest,
        "split.test": { ...rest, ...canary, environment: "env_4", hostnames: ["split.test"] },
      };
      const originSuffixes = [".tunnels.test", "127.0.0.1"];
      const overrides = { originSuffixes, publicHost: "shop.test", appPort: 3_000, ...others[hostname] };
      return { kind: "table", table: tableOf([origin.url], overrides) };
    },
    meter: () => {},
  });
  port = edge.ports[0] ?? 0;
});
afterAll(async () => {
  await edge.dispose();
  await origin.stop();
});
beforeEach(() => {
  origin.seen.length = 0;
});

describe("a request on its way to the app", () => {
  it.each([
    "/a//b/%2F/c?x=%zz&y=a'b&z=1&z=2",
    "/?q=a+b%20c&&=",
    "/search?redirect=http://evil.test/?a=b#",
    `/long?q=${"x".repeat(15_900)}`,
  ])("keeps path and query: %.40s", async (path) => {
    await ask({ port, path });
    expect(last().url.replace("%27", "'")).toBe(path.replace("#", ""));
  });

  it("keeps repeated headers apart and odd ones as they are", async () => {
    await ask({
      port,
      headers: { "X-Many": ["1", "2, 3", ""], "X-Odd": "a\tb  \xe9", "If-None-Match": 'W/"x"' },
    });
    expect(wire("X-Many")).toEqual(["1", "2, 3", ""]);
    expect(wire("X-Odd")).toHaveLength(1);
    expect(wire("If-None-Match")).toEqual(['W/"x"']);
  });

  it.each(["__proto__", "constructor", "hasOwnProperty", "7"])("carries a header named %s", async (name) => {
    await ask({ port, headers: Object.fromEntries([[name, "x"]]) });
    expect(wire(name)).toEqual(["x"]);
  });

  it("keeps every byte of a value, text or not", async () => {
    const values = ["caf\xc3\xa9", "caf\xe9", "\xff\xfe"];
    for (const value of values) await ask({ port, headers: { "X-Bytes": value } });
    expect(origin.seen.map(({ rawHeaders }) => rawHeaders[rawHeaders.findIndex(isBytes) + 1])).toEqual(
      values,
    );
  });

  it("joins no lines but those that mean the same joined", async () => {
    const headers = { "X-A": ["1", "2"], "Set-Cookie": ["a=1", "b=2"], "User-Agent": "x (KHTML, like y)" };
    await ask({ port, headers });
    expect([wire("X-A"), wire("Set-Cookie"), wire("User-Agent")]).toEqual([
      ["1", "2"],
      ["a=1", "b=2"],
      ["x (KHTML, like y)"],
    ]);
  });

  it("carries any header a client may make up, value by value", async () => {
    const name = fc
      .stringMatching(/^x-[a-z0-9!#$%&'*+.^_`|~-]{1,20}$/)
      .filter((text) => !/^x-(sluice-|forwarded-|real-ip|request-id)/.test(text));
    const value = fc.stringMatching(/^[!-~]([ -~]{0,60}[!-~])?$/);
    const headers = fc.dictionary(name, fc.array(value, { minLength: 1, maxLength: 3 }), { maxKeys: 8 });
    await fc.assert(
      fc.asyncProperty(headers, async (made) => {
        expect((await ask({ port, headers: made })).status).toBe(200);
        for (const [key, values] of Object.entries(made)) expect(wire(key)).toEqual(values);
      }),
      { numRuns: 60 },
    );
  });

  it("lets no header in that only the edge may send, whatever else comes along", async () => {
    const forged = fc
      .stringMatching(/^[Xx]-[Ss]luice-[A-Za-z0-9-]{1,15}$/)
      .filter((text) => text.toLowerCase() !== "x-sluice-preview");
    await fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(forged, { minLength: 1, maxLength: 5, selector: (text) => text.toLowerCase() }),
        async (names) => {
          await ask({ port, headers: Object.fromEntries(names.map((text) => [text, "1"])) });
          expect(last().rawHeaders.filter((text) => /^x-sluice-/i.test(text))).toEqual([]);
        },
      ),
      { numRuns: 30 },
    );
  });

  it("names the public host, scheme and request in headers of its own", async () => {
    const answer = await ask({ port, host: "Shop.Test:8787" });
    expect(wire("X-Forwarded-Host")).toEqual(["shop.test:8787"]);
    expect(wire("X-Forwarded-Proto")).toEqual(["http"]);
    expect(wire("X-Request-Id")).toEqual([answer.headers["x-request-id"]]);
  });

  it("passes a visitor's trace on as it came, and begins none", async () => {
    const trace = {
      traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
      tracestate: "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE",
      baggage: "user=7",
    };
    await ask({ port, headers: trace });
    for (const [name, value] of Object.entries(trace)) expect(wire(name)).toEqual([value]);
    await ask({ port });
    for (const name of Object.keys(trace)) expect(wire(name)).toEqual([]);
  });

  it("vouches for no address, host or scheme that came from outside", async () => {
    const spoofed = {
      "X-Forwarded-For": "6.6.6.6",
      "X-Forwarded-Host": "evil.test",
      "X-Forwarded-Proto": "https",
      "X-Forwarded-Port": "443",
      "X-Real-IP": "6.6.6.6",
      Forwarded: "for=6.6.6.6",
      "X-Sluice-Mirror": "1",
      "X-Sluice-Synthetic": "1",
      "X-Sluice-Probe": "1",
      "X-Sluice-Anything": "1",
    };
    await ask({ port, headers: { ...spoofed, "CF-Connecting-IP": "203.0.113.7" } });
    expect(wire("X-Forwarded-For")).toEqual(["203.0.113.7"]);
    expect(wire("X-Real-IP")).toEqual(["203.0.113.7"]);
    expect(wire("X-Forwarded-Host")).toEqual(["shop.test"]);
    expect(wire("X-Forwarded-Proto")).toEqual(["http"]);
    const ours = ["Mirror", "Synthetic", "Probe", "Anything"].map((name) => `X-Sluice-${name}`);
    for (const name of ["X-Forwarded-Port", "Forwarded", ...ours]) expect(wire(name)).toEqual([]);
    await ask({ port, headers: spoofed });
    expect([...wire("X-Forwarded-For"), ...wire("X-Real-IP")]).toEqual([]);
  });

  it.each([
    "X-Forwarded-Prefix",
    "X-Forwarded-Ssl",
    "X-Forwarded-Scheme",
    "X-Forwarded-Protocol",
    "X-Forwarded",
    "X_Forwarded_For",
    "X_Sluice_Mirror",
    "True-Client-IP",
    "X-Client-IP",
    "Client-IP",
    "Client_Ip",
    "X-Original-URL",
    "X-Original-Uri",
    "X-Rewrite-URL",
    "X-Original-Host",
    "Front-End-Https",
    "Forwarded-For",
  ])("lets no %s in: the app would believe it", async (name) => {
    await ask({ port, headers: { [name]: "//evil.test" } });
    expect(wire(name)).toEqual([]);
  });

  it("passes a sane request id on and replaces any other", async () => {
    await ask({ port, headers: { "X-Request-Id": "caller-7f.3" } });
    expect(wire("X-Request-Id")).toEqual(["caller-7f.3"]);
    await ask({ port, headers: { "X-Request-Id": "<script>" } });
    expect(wire("X-Request-Id")[0]).not.toContain("<");
  });

  it("asks for compression only if the visitor did", async () => {
    await ask({ port });
    expect(wire("Accept-Encoding")).toEqual([]);
    await ask({ port, headers: { "Accept-Encoding": "br;q=1, zstd" } });
    expect(wire("Accept-Encoding")).toEqual(["br;q=1, zstd"]);
  });

  it("is not told to be fetched anew where the visitor didn't say so", async () => {
    await ask({ port });
    expect([...wire("Cache-Control"), ...wire("Pragma")]).toEqual([]);
    const again = await ask({ port, path: "/tagged", headers: { "If-None-Match": '"e1"' } });
    expect([again.status, again.text]).toEqual([304, ""]);
    const headers = { "If-None-Match": '"e1"', "Cache-Control": "no-cache" };
    expect((await ask({ port, path: "/tagged", headers })).text).toBe("whole");
  });

  it.each([
    ["http://shop.test/dav/b%20c?x", "/dav/b%20c?x"],
    ["https://SHOP.test:8787/b", "/b"],
    ["https://elsewhere.test/b", "https://elsewhere.test/b"],
    ["/b", "/b"],
  ])(
    "that copies to %s says so without a scheme or host that the app might not take for its own",
    async (given, sent) => {
      await ask({ port, headers: { Destination: given } });
      expect(wire("destination")).toEqual([sent]);
    },
  );

  it("keeps the visitor's own Cache-Control", async () => {
    await ask({ port, headers: { "Cache-Control": "max-age=0", Pragma: "x" } });
    expect([...wire("Cache-Control"), ...wire("Pragma")]).toEqual(["max-age=0", "x"]);
  });

  it.each(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])(
    "keeps the method %s",
    async (method) => {
      expect((await ask({ port, method })).status).toBe(200);
      expect(last().method).toBe(method);
    },
  );

  it.each([
    ["a small body", Buffer.from("name=value")],
    ["a body at the limit of what is kept", randomBytes(65_536)],
    ["a body over it", randomBytes(65_537)],
    ["an empty body", Buffer.alloc(0)],
  ])("carries %s with its length", async (_, body) => {
    const answer = await ask({
      port,
      method: "POST",
      body,
      headers: { "Content-Length": String(body.length) },
    });
    const sha256 = createHash("sha256").update(body).digest("hex");
    expect(JSON.parse(answer.text)).toEqual({ bytes: body.length, sha256 });
    expect(wire("Content-Length")).toEqual([String(body.length)]);
  });

  it.each(["GET", "HEAD", "OPTIONS", "DELETE"])(
    "carries the body of a %s, unusual as it is",
    async (method) => {
      expect((await ask({ port, method, body: "query" })).status).toBe(200);
      expect(wire("Content-Length")).toEqual(["5"]);
    },
  );

  it("may be answered before it is whole", async () => {
    const headers = { host: "shop.test", "content-length": "500000000" };
    const outgoing = httpRequest({ port, path: "/early", method: "POST", headers });
    outgoing.write(MEGABYTE);
    const [incoming] = await once(outgoing, "response");
    outgoing.on("error", () => {}).destroy();
    expect(incoming.statusCode).toBe(413);
  });

  it("carries a body of unknown length in chunks", async () => {
    const answer = await ask({ port, method: "PUT", body: [MEGABYTE, MEGABYTE, MEGABYTE] });
    expect(JSON.parse(answer.text).bytes).toBe(3 * MEGABYTE.length);
    expect(wire("Transfer-Encoding")).toEqual(["chunked"]);
  });
});

describe("an answer on its way to the visitor", () => {
  it("is not followed when it redirects, and names the public host instead of the slot", async () => {
    const answer = await ask({ port, path: "/redirect", host: "shop.test:8787" });
    expect([answer.status, answer.headers.location]).toEqual([302, "http://shop.test:8787/there?x=1"]);
    expect((await ask({ port, path: "/elsewhere" })).headers.location).toBe("https://other.test/x");
    expect((await ask({ port, path: "/relative" })).headers.location).toBe("/there");
  });

  it.each([
    ["Location", `http://SLOT/there`, "http://shop.test/there"],
    ["Location", `https://SIBLING/dir/`, "http://shop.test/dir/"],
    ["Location", `http://SIBLING:8080/dir/?u=http://x.test/`, "http://shop.test/dir/?u=http://x.test/"],
    ["Location", `//SIBLING/x`, "//shop.test/x"],
    ["Location", "http://HOST/x", "http://shop.test/x"],
    ["Location", "http://HOST:80/x", "http://shop.test/x"],
    ["Location", "http://HOST:9/x", "http://HOST:9/x"],
    ["Location", "https://SIBLING.evil.test/x", "https://SIBLING.evil.test/x"],
    ["Content-Location", "https://SIBLING/a", "http://shop.test/a"],
    [
      "Link",
      "<https://SIBLING/n>; rel=next, <https://x.test/>",
      "<http://shop.test/n>; rel=next, <https://x.test/>",
    ],
    ["Refresh", "5; url=https://SIBLING/n", "5; url=http://shop.test/n"],
  ])("names no slot in %s: %s", async (name, given, public_) => {
    const put = (text: string) =>
      text
        .replace("SLOT", origin.host)
        .replace("SIBLING", "sl-0123456789abcdef.tunnels.test")
        .replace("HOST", "127.0.0.1");
    const path = `/say?name=${name}&value=${encodeURIComponent(put(given))}`;
    for (const host of ["shop.test", "plain.test"]) {
      const { headers } = await ask({ port, host, path });
      expect(headers[name.toLowerCase()]).toBe(put(public_).replace("shop.test", host));
    }
  });

  // An app that gets its public name, and adds to it the scheme or the port of the connection it has.
  it.each([
    ["shop.test", "http://shop.test:3000/dir/", "http://shop.test/dir/"],
    ["shop.test", "//shop.test:3000/dir/", "//shop.test/dir/"],
    ["shop.test:8787", "http://shop.test:3000/dir/", "http://shop.test:8787/dir/"],
    ["shop.test:8787", "http://shop.test:<slot>/dir/", "http://shop.test:8787/dir/"],
    ["shop.test:8787", "http://shop.test/dir/", "http://shop.test:8787/dir/"],
    ["shop.test:8787", "https://shop.test/secure", "https://shop.test/secure"],
    ["shop.test", "http://shop.test:9000/other", "http://shop.test:9000/other"],
    ["shop.test", "http://shop.test.evil.test/", "http://shop.test.evil.test/"],
  ])("leads a visitor of %s who is sent to %s to the public scheme and port", async (host, given, wanted) => {
    const sent = given.replace("<slot>", new URL(origin.url).port);
    const path = `/say?name=Location&value=${encodeURIComponent(sent)}`;
    expect((await ask({ port, host, path })).headers.location).toBe(wanted);
  });

  it("loses `Proxy-Connection`, which no proxy passes on", async () => {
    for (const host of ["shop.test", "rest.test"]) {
      const { headers } = await ask({ port, host, path: "/say?name=Proxy-Connection&value=keep-alive" });
      expect(headers["proxy-connection"]).toBeUndefined();
    }
  });

  it("keeps the name that the app gave its answer", async () => {
    const { headers } = await ask({ port, path: "/say?name=X-Request-Id&value=app-7" });
    expect(headers["x-request-id"]).toBe("app-7");
  });

  it("keeps its cookies apart, and their Domain becomes the public host", async () => {
    const answer = await ask({ port, path: "/cookies" });
    expect(answer.headers["set-cookie"]).toEqual([
      "a=1; Expires=Wed, 21 Oct 2026 07:28:00 GMT",
      "b=2; Domain=shop.test; Path=/",
    ]);
  });

  it("keeps compressed bytes as they are", async () => {
    const answer = await ask({ port, path: "/gzip", headers: { "Accept-Encoding": "gzip" } });
    expect(answer.headers["content-encoding"]).toBe("gzip");
    expect(answer.body.equals(GZIPPED)).toBe(true);
  });

  it("answers HEAD with the length and no body", async () => {
    const answer = await ask({ port, path: "/length", method: "HEAD" });
    expect([answer.headers["content-length"], answer.text]).toEqual(["5", ""]);
  });

  it("keeps 304 with its tag and 206 with its range", async () => {
    const unchanged = await ask({ port, path: "/not-modified", headers: { "If-None-Match": '"e1"' } });
    expect([unchanged.status, unchanged.headers.etag, unchanged.text]).toEqual([304, '"e1"', ""]);
    const part = await ask({ port, path: "/range", headers: { Range: "bytes=2-4" } });
    expect([part.status, part.headers["content-range"], part.text]).toEqual([206, "bytes 2-4/10", "234"]);
    expect(wire("Range")).toEqual(["bytes=2-4"]);
  });

  it.each([204, 205, 207, 299, 300, 400, 401, 404, 418, 451, 500, 501, 599])(
    "keeps the status %i",
    async (status) => {
      const answer = await ask({ port, path: `/status/${status}` });
      expect([answer.status, answer.headers["x-app"]]).toEqual([status, "1"]);
    },
  );

  it("loses what belonged to the app's connection only", async () => {
    const { headers } = await ask({ port, path: "/hop" });
    expect(headers["x-secret"]).toBeUndefined();
    expect(headers["x-kept"]).toBe("1");
  });

  it("says which release answered and how long each part took", async () => {
    const { headers } = await ask({ port });
    expect(headers["x-sluice-release"]).toBe("v1");
    expect(headers["server-timing"]).toMatch(/^sluice;dur=\d+, origin;dur=\d+$/);
  });

  it("goes out as it came, its address apart, where the environment wants no marks", async () => {
    const plain = await ask({ port, host: "plain.test", path: "/length" });
    expect([plain.status, plain.text]).toEqual([200, "12345"]);
    for (const name of ["x-sluice-release", "x-request-id", "server-timing"])
      expect(plain.headers[name]).toBeUndefined();
    const moved = await ask({ port, host: "plain.test", path: "/redirect" });
    expect(moved.headers.location).toBe("http://plain.test/there?x=1");
    expect((await ask({ port, host: "plain.test", path: "/hop" })).headers["x-secret"]).toBeUndefined();
  });

  it("is marked at rest only when the request asks for it", async () => {
    const unmarked = await ask({ port, host: "rest.test", path: "/length" });
    expect(unmarked.headers["x-sluice-release"]).toBeUndefined();
    const headers = { "X-Sluice-Trace": "1" };
    const traced = await ask({ port, host: "rest.test", path: "/length", headers });
    expect(traced.headers["x-sluice-release"]).toBe("v1");
    expect(traced.headers["x-request-id"]).toBe(wire("X-Request-Id")[0]);
    expect(wire("X-Sluice-Trace")).toEqual([]);
  });

  it("is marked while traffic is split", async () => {
    const split = await ask({ port, host: "split.test", path: "/length" });
    expect(split.headers["x-sluice-release"]).toMatch(/^v[12]$/);
    expect(split.headers["server-timing"]).toBeDefined();
  });

  it("streams 64 MB through whole", async () => {
    const answer = await ask({ port, path: "/large" });
    expect(answer.body.length).toBe(64 * MEGABYTE.length);
  });

  it("hands on server-sent events as they come", async () => {
    const outgoing = httpRequest({ port, path: "/events", headers: { host: "shop.test" } }).end();
    const [incoming] = await once(outgoing, "response");
    const [chunk] = await once(incoming, "data");
    expect(String(chunk)).toBe("data: first\n\n");
    outgoing.destroy();
  });

  it("ends at the app when the visitor leaves", async () => {
    const gone = new Promise<void>((resolve) => {
      left = resolve;
    });
    const outgoing = httpRequest({ port, path: "/stream", headers: { host: "shop.test" } }).end();
    const [incoming] = await once(outgoing, "response");
    await once(incoming, "data");
    outgoing.destroy();
    await gone;
  });
});

describe("a WebSocket", () => {
  const open = async (path: string, protocols: string[] = []) => {
    const socket = new WebSocket(`ws://127.0.0.1:${port}${path}`, protocols, {
      headers: { host: "shop.test" },
    });
    await once(socket, "open");
    return socket;
  };

  it("carries text and bytes both ways, under the protocol that was agreed", async () => {
    const socket = await open("/chat?room=1", ["v2.chat", "v1.chat"]);
    expect(socket.protocol).toBe("v2.chat");
    socket.send("hello");
    expect(String((await once(socket, "message"))[0])).toBe("app /chat?room=1 hello");
    const bytes = randomBytes(70_000);
    socket.send(bytes);
    expect(bytes.equals((await once(socket, "message"))[0])).toBe(true);
    socket.close();
    await once(socket, "close");
  });

  it("carries close codes and reasons both ways", async () => {
    const socket = await open("/chat");
    const [server] = origin.sockets;
    const seenByApp = server && once(server, "close");
    socket.close(4001, "visitor's reason");
    const [code, reason] = (await seenByApp) ?? [];
    expect([code, String(reason)]).toEqual([4001, "visitor's reason"]);
    const other = await open("/chat");
    other.send("close 4321");
    const [back, why] = await once(other, "close");
    expect([back, String(why)]).toEqual([4321, "as asked"]);
  });

  it("gets the app's refusal when the app refuses", async () => {
    const socket = new WebSocket(`ws://127.0.0.1:${port}/status/401`, { headers: { host: "other.test" } });
    const [, response] = await once(socket, "unexpected-response");
    expect(response.statusCode).toBeGreaterThanOrEqual(400);
    socket.on("error", () => {}).terminate();
  });
});
