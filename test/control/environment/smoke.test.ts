import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { events } from "../../../src/control/store/schema/events.ts";
import type { EnvironmentSpec } from "../../../src/domain/spec.ts";
import { waitFor } from "../../support/patience.ts";
import { Stage } from "../support/stage.ts";

let stage: Stage;
const origin = vi.fn<(url: string, init: RequestInit) => Response | Promise<Response>>();
const requests: [string, RequestInit][] = [];
beforeEach(() => {
  requests.length = 0;
  vi.stubGlobal("fetch", async (input: RequestInfo | URL, init: RequestInit = {}) => {
    requests.push([String(input), init]);
    return origin(String(input), init);
  });
  origin.mockImplementation(() => new Response("Welcome to the Shop"));
});
afterEach(() => void vi.unstubAllGlobals());

const LOGIN = "https://acme.cloudflareaccess.com/cdn-cgi/access/login/sl-1.example.com?kid=1";
const smoke = [{ path: "/shop", status: 200, contains: "Shop" }];
const isSmoke = (url: string) => url.endsWith("/shop");

/** v1 serves; then v2 is asked for, with these checks. */
async function deploy(spec: Partial<EnvironmentSpec> = {}): Promise<void> {
  stage = await Stage.open({ smoke, ...spec });
  await stage.deploy();
  requests.length = 0;
  await stage.create();
}
const failure = async () => (await stage.release("v2")).failure;

describe("a smoke check over the real path", () => {
  it("asks every instance, marked as Sluice's, before the switch and after", async () => {
    await deploy();
    await stage.until("v2", "settling");
    await waitFor(async () => expect((await stage.release("v2")).smoke?.after).toBeDefined());
    const asked = requests.filter(([url]) => isSmoke(url));
    const about = asked.map(([url, init]) => [
      new URL(url).host,
      new Headers(init.headers).get("x-sluice-probe"),
    ]);
    expect(new Set(about.map(String)).size).toBe(2);
    expect(about.every(([, marked]) => marked === "1")).toBe(true);
    expect((await stage.release("v2")).smoke).toMatchObject({
      before: { failure: null },
      after: { failure: null },
    });
  });

  it("asks as many checks of as many instances as there are, some at each ring of its alarm", async () => {
    const many = Array.from({ length: 20 }, (_, n) => ({ path: `/page-${n}`, status: 200 }));
    const isOver = (version: string) =>
      waitFor(async () => expect((await stage.release(version)).smoke?.after).toBeDefined());
    stage = await Stage.open({ smoke: many, replicas: 4 });
    await stage.deploy();
    await isOver("v1");
    requests.length = 0;
    await stage.create();
    await stage.until("v2", "settling");
    await isOver("v2");
    expect((await stage.release("v2")).smoke).toMatchObject({
      before: { failure: null },
      after: { failure: null },
    });
    const asked = requests.map(([url]) => url).filter((url) => url.includes("/page-"));
    // Before and after, and none twice.
    expect([asked.length, new Set(asked).size]).toEqual([160, 80]);
  });

  it.each([
    ["another status", () => new Response("", { status: 500 }), "answered 500"],
    ["another body", () => new Response("Oops"), 'answered 200 with "Oops"'],
    ["a redirect", () => new Response("", { status: 302, headers: { location: "/login" } }), "answered 302"],
    [
      "a challenge of Cloudflare's",
      () => new Response("<html>", { status: 403, headers: { "cf-mitigated": "challenge" } }),
      "Bot Fight Mode",
    ],
    [
      "a login of Access's",
      () => new Response("", { status: 302, headers: { location: LOGIN } }),
      "stopped by Cloudflare Access",
    ],
    ["no connection", () => Promise.reject(new Error("connection refused")), "connection refused"],
  ])("that meets %s fails the release, saying what it wanted", async (_, answer, said) => {
    await deploy();
    origin.mockImplementation((url) => (isSmoke(url) ? answer() : new Response("ok")));
    await stage.until("v2", "failed");
    const wanted = '200 and a body with "Shop"';
    expect(await failure()).toMatchObject({
      code: "smoke_failed",
      check: { name: "smoke GET /shop", limit: wanted },
    });
    expect((await failure())?.message).toContain(said);
    expect((await stage.routed()).weights).toEqual({ v1: 10_000 });
  });

  it("that answers without end is read a little, and let go of", async () => {
    await deploy();
    let megabytes = 0;
    let isTaken = true;
    const endless = () =>
      new ReadableStream<Uint8Array>({
        pull(to) {
          megabytes += 1;
          to.enqueue(new Uint8Array(1 << 20).fill(46));
        },
        cancel() {
          isTaken = false;
        },
      });
    origin.mockImplementation((url) => new Response(isSmoke(url) ? endless() : "ok"));
    await stage.until("v2", "failed");
    expect(await failure()).toMatchObject({ code: "smoke_failed" });
    expect(isTaken).toBe(false);
    expect(megabytes).toBeLessThan(20);
  });

  it("that fails after the switch rolls back by itself", async () => {
    await deploy();
    // Both instances once before the switch; what comes after that is after it.
    let checks = 0;
    origin.mockImplementation((url) => {
      if (isSmoke(url)) checks += 1;
      return new Response(checks > 2 ? "Oops" : "Shop");
    });
    await stage.until("v2", "rolling_back");
    expect((await stage.routed()).weights).toEqual({ v1: 10_000 });
    expect(await failure()).toMatchObject({ code: "smoke_failed" });
  });
});

describe("a look as a visitor would", () => {
  const look = { smoke: [], look: "fail", hostnames: ["shop.example.com"] } as const;
  const isFront = (url: string) => new URL(url).pathname === "/";
  const front = (answer: (url: string) => Response) =>
    origin.mockImplementation((url) => (isFront(url) ? answer(url) : new Response("ok")));
  const sights = async () => (await stage.release("v2")).smoke?.before?.look?.map(({ code }) => code);

  it("asks under the public name and https, keeps cookies, and lets a release through with what it saw", async () => {
    await deploy(look);
    const seen: Headers[] = [];
    vi.stubGlobal("fetch", async (input: RequestInfo | URL, init: RequestInit = {}) => {
      const headers = new Headers(init.headers);
      if (!isFront(String(input))) return new Response("ok");
      seen.push(headers);
      if (headers.get("cookie") === "lang=en") return new Response("<h1>hello</h1>");
      return new Response(null, { status: 302, headers: { location: "/", "set-cookie": "lang=en; Path=/" } });
    });
    await stage.until("v2", "settling");
    expect(await sights()).toEqual(["cookie_without_secure"]);
    expect(seen.map((headers) => headers.get("x-forwarded-proto"))).toEqual(["https", "https"]);
    expect((await stage.db.select().from(events)).map(({ message }) => message)).toContainEqual(
      expect.stringContaining(
        "v2, as a visitor would see it: GET https://shop.example.com/ sets lang without Secure",
      ),
    );
  });

  it.each([
    [
      "a circle",
      () => new Response(null, { status: 301, headers: { location: "https://shop.example.com/" } }),
      "leads in a circle",
    ],
    [
      "its own name refused",
      () => new Response("DisallowedHost at /", { status: 400 }),
      "Django: add shop.example.com to ALLOWED_HOSTS",
    ],
  ])("ends a release where nobody would get anything: %s", async (_, answer, words) => {
    await deploy(look);
    front(answer);
    await stage.until("v2", "failed");
    expect(await failure()).toMatchObject({ code: "look_failed", message: expect.stringContaining(words) });
  });

  const asked: string[] = [];
  /** An app by what it is asked: the name that the visitor used, and the path as the app gets it. */
  const app = (answers: Record<string, string | number>) => {
    asked.length = 0;
    vi.stubGlobal("fetch", async (input: RequestInfo | URL, init: RequestInit = {}) => {
      const headers = new Headers(init.headers);
      if (!headers.get("accept")?.includes("text/html")) return new Response("ok");
      const at = `${headers.get("x-forwarded-host")}${headers.get("x-forwarded-prefix") ?? ""} ${new URL(String(input)).pathname}`;
      asked.push(at);
      const answer = answers[at] ?? 404;
      if (typeof answer === "number") return new Response("page", { status: answer });
      return new Response(null, { status: 302, headers: { location: answer } });
    });
  };

  it("goes on at another of the environment's names, as a visitor does", async () => {
    const hostnames = ["shop.example.com", "www.shop.example.com"];
    await deploy({ ...look, hostnames });
    app({ "shop.example.com /": "https://www.shop.example.com/", "www.shop.example.com /": 200 });
    await stage.until("v2", "settling");
    expect(asked).toEqual(["shop.example.com /", "www.shop.example.com /"]);
  });

  it("cuts the path that the app doesn't see from where it is led, too, and leaves what is another's alone", async () => {
    await deploy({ ...look, hostnames: ["shop.example.com/app"], stripPrefix: true });
    app({
      "shop.example.com/app /": "/app/home",
      "shop.example.com/app /home": "https://shop.example.com/login",
    });
    await stage.until("v2", "settling");
    expect(asked).toEqual(["shop.example.com/app /", "shop.example.com/app /home"]);
  });

  it("follows as far as a browser does, and says of more what it is", async () => {
    const steps = (count: number) =>
      Object.fromEntries(
        Array.from({ length: count }, (_, n) => [
          `shop.example.com /${n === 0 ? "" : n}`,
          n === count - 1 ? 200 : `/${n + 1}`,
        ]),
      );
    await deploy(look);
    app(steps(20));
    await stage.until("v2", "settling");
    await deploy(look);
    app(steps(22));
    await stage.until("v2", "failed");
    expect((await failure())?.message).toContain("after 20 pages https://shop.example.com/19 still leads on");
  });

  it("only says so where the manifest wants no more, and asks nothing where it wants nothing", async () => {
    await deploy({ smoke: [], look: "warn" });
    front(() => new Response("DisallowedHost at /", { status: 400 }));
    await stage.until("v2", "settling");
    expect(await sights()).toEqual(["host_refused"]);
    await deploy({ smoke: [], look: "off" });
    await stage.until("v2", "settling");
    expect(requests.filter(([url]) => isFront(url))).toEqual([]);
  });

  it("of an app that gives no answer there leaves it to its probes", async () => {
    await deploy(look);
    origin.mockImplementation((url) => {
      if (isFront(url)) throw new Error("connection lost");
      return new Response("ok");
    });
    await stage.until("v2", "settling");
    expect(await sights()).toEqual([]);
  });
});
