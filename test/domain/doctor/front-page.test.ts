import { describe, expect, it } from "vitest";
import { judgeLook, type Page, type Walk } from "../../../src/domain/doctor/front-page.ts";

const NAMES = {
  host: "shop.example.com",
  hostnames: ["shop.example.com", "*.shop.example.com", "www.example.com/api"],
  origin: "sl-0123456789abcdef.slots.example",
};
const page = (given: Partial<Page> = {}): Page => ({
  url: "https://shop.example.com/",
  status: 200,
  location: null,
  cookies: [],
  contentType: "text/html; charset=utf-8",
  body: "<h1>Shop</h1>",
  ...given,
});
const to = (location: string) => page({ status: 302, location });
const html = (body: string) => page({ body });
const seen = (pages: Page[], end: Walk["end"] = "answered") =>
  judgeLook({ pages, end }, NAMES).map(({ code, fatal }) => (fatal ? `${code}!` : code));

describe("a look at an app as a visitor would", () => {
  it.each<[string, Page, string[]]>([
    ["a page", page(), []],
    ["an API that has no front page", page({ status: 404, contentType: "application/json", body: "{}" }), []],
    ["a sign-in", page({ status: 401 }), []],
    ["a redirect of its own", to("/login"), []],
    ["a redirect to another of its names", to("https://a.shop.example.com/"), []],
    ["a redirect to its scheme", to("https://shop.example.com/en/"), []],
    ["a secure cookie", page({ cookies: ["sid=1; Path=/; Secure; HttpOnly"] }), []],
    ["links of its own and to other sites by http", html('<a href="/x"><a href="http://w3.org/">'), []],
    [
      "a refused name of Django's, in production",
      page({
        status: 400,
        body: '\n<!doctype html>\n<html lang="en">\n<head>\n  <title>Bad Request (400)</title>',
      }),
      ["host_refused!"],
    ],
    [
      "a refused name of Django's, while debugging",
      page({ status: 400, body: "DisallowedHost at /" }),
      ["host_refused!"],
    ],
    [
      "a refused name of Rails'",
      page({ status: 403, body: "<h1>Blocked hosts: shop.example.com</h1>" }),
      ["host_refused!"],
    ],
    [
      "a refused name of Vite's",
      page({ status: 403, body: 'Blocked request. This host ("shop.example.com") is not allowed.' }),
      ["host_refused!"],
    ],
    [
      "a refused name of Starlette's",
      page({ status: 400, contentType: "text/plain", body: "Invalid host header" }),
      ["host_refused!"],
    ],
    ["a misdirected request", page({ status: 421 }), ["host_refused!"]],
    ["a bad request of another kind", page({ status: 400, body: "missing parameter" }), []],
    ["a redirect to localhost", to("http://localhost:3000/"), ["leads_inside!"]],
    ["a redirect to its slot", to("https://sl-0123456789abcdef.slots.example/x"), ["own_address"]],
    ["a redirect to another site", to("https://old.example.net/"), ["leads_elsewhere"]],
    ["a redirect to its name by http", to("http://shop.example.com/login"), ["http_redirect"]],
    ["a redirect to nowhere", to("http://[oops/"), ["bad_location"]],
    ["an open cookie", page({ cookies: ["sid=1; Path=/; HttpOnly"] }), ["cookie_without_secure"]],
    ["an error", page({ status: 500 }), ["server_error"]],
    ["a page that loads by http", html('<script src="http://cdn.example.net/x.js">'), ["mixed_content"]],
    [
      "a page that names itself by http",
      html('<a class="x" href="http://shop.example.com/y">'),
      ["http_in_page"],
    ],
    [
      "a page that names its container",
      html("<form action='http://127.0.0.1:8080/post'>"),
      ["own_address_in_page"],
    ],
    [
      "a page with another canonical address",
      html('<link rel="canonical" href="https://old.example.net/">'),
      ["canonical_elsewhere"],
    ],
    ["nginx's default page", html("<title>Welcome to nginx!</title>"), ["default_page"]],
    ["Apache's default page", html("<html><body><h1>It works!</h1></body></html>"), ["default_page"]],
    ["a directory's listing", html("<title>Index of /</title>"), ["default_page"]],
  ])("at %s", (_, given, codes) => {
    expect(seen([given])).toEqual(codes);
  });

  it("takes a circle for what no visitor gets out of, and says first what is worst", () => {
    const circle = page({ status: 301, location: "https://shop.example.com/", cookies: ["a=1"] });
    expect(seen([circle], "loop")).toEqual(["redirect_loop!", "cookie_without_secure"]);
  });

  it("says how its framework learns its name", () => {
    const [sight] = judgeLook(
      { pages: [page({ status: 400, body: "DisallowedHost" })], end: "answered" },
      NAMES,
    );
    expect(sight?.fix).toContain("Django: add shop.example.com to ALLOWED_HOSTS");
  });
});
