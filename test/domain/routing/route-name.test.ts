import { describe, expect, it } from "vitest";
import { MOST_ROUTES, OTHER_ROUTES, RouteNames, routeName } from "../../../src/domain/routing/route-name.ts";

describe("a route's name", () => {
  it.each([
    ["GET", "/", "GET /"],
    ["POST", "/checkout", "POST /checkout"],
    ["GET", "/checkout?step=2#pay", "GET /checkout"],
    ["GET", "/orders/42", "GET /orders/:id"],
    ["GET", "/orders/42/lines/7?x=1", "GET /orders/:id/lines/:id"],
    ["GET", "/u/3f1c8a52-6a0f-4c53-9c2e-5a9f6d2b7e10/edit", "GET /u/:id/edit"],
    ["GET", "/c/9f86d081884c7d65", "GET /c/:id"],
    ["GET", "/watch/dQw4w9WgXcQ", "GET /watch/:id"],
    ["GET", "/assets/index-3f2a91bc.js", "GET /assets/:id.js"],
    ["GET", "/api/v2/oauth2/sign-in", "GET /api/v2/oauth2/sign-in"],
    ["GET", "/people/jo%C3%A3o", "GET /people/:id"],
    ["GET", "/mail/a@b.example", "GET /mail/:id"],
    ["GET", "/.well-known/acme", "GET /.well-known/acme"],
    ["GET", `/${"a".repeat(200)}`, "GET /:id"],
    ["GET", "/a/b/c/d/e/f/g/h", "GET /a/b/c/d/e/f/…"],
    ["GET", "//x/", "GET //x/"],
    ["BREW", "/pot", "OTHER /pot"],
    ["OPTIONS", "/*", "OPTIONS /:id"],
  ])("%s %s is %s", (method, target, name) => {
    expect(routeName(method, target)).toBe(name);
  });

  it("is short whatever is asked for", () => {
    const name = routeName("X".repeat(500), `/${"seg-ment/".repeat(300)}`);
    expect(name.length).toBeLessThan(300);
  });
});

describe("the routes that are counted by name", () => {
  const filled = (now = 0): RouteNames => {
    const names = new RouteNames();
    for (let i = 0; i < MOST_ROUTES; i++) {
      names.admit(`GET /r-${String.fromCharCode(97 + i)}`, false, now);
      names.admit("GET /r-b", false, now);
    }
    return names;
  };

  it("are bounded: what comes later is counted as one", () => {
    const names = filled();
    for (let i = 0; i < 1_000; i++) expect(names.admit(`GET /made-up-${i}`, false, 1)).toBe(OTHER_ROUTES);
  });

  it("take in a route that fails, for the least visited that doesn't", () => {
    const names = filled();
    expect(names.admit("POST /checkout", true, 1)).toBe("POST /checkout");
    expect(names.admit("GET /r-b", false, 1)).toBe("GET /r-b");
    expect(names.admit("GET /r-a", false, 1)).toBe(OTHER_ROUTES);
    // A storm of failing ones stops when all have failed.
    const taken = Array.from({ length: 200 }, (_, i) => names.admit(`GET /bad-${i}`, true, 2));
    expect(taken.filter((name) => name !== OTHER_ROUTES)).toHaveLength(MOST_ROUTES - 1);
    expect(names.admit("POST /checkout", false, 2)).toBe("POST /checkout");
  });

  it("are given up after a minute without a request", () => {
    const names = filled();
    names.admit("GET /r-b", false, 59_000);
    expect(names.admit("GET /new", false, 61_000)).toBe("GET /new");
    expect(names.admit("GET /r-b", false, 61_000)).toBe("GET /r-b");
  });
});

describe("a name that was made before", () => {
  it("is the same again, whatever else was asked for in between", () => {
    const names = new RouteNames();
    const ask = () => [names.nameOf("GET", "/orders/4711?page=2"), names.nameOf("POST", "/orders/4711")];
    const first = ask();
    for (let n = 0; n < 2_000; n++) names.nameOf("GET", `/made/up/${n}`);
    expect(ask()).toEqual(first);
    expect(first).toEqual(["GET /orders/:id", "POST /orders/:id"]);
  });
});
