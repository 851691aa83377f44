import { expect, test } from "vitest";
import { interceptionOf } from "../../src/protocol/interception.ts";

const asked = (status: number, headers: Record<string, string>, body = "") =>
  interceptionOf({ status, headers: new Headers(headers), body })?.by ?? null;
const server = { server: "cloudflare" };

test.each<[string, number, Record<string, string>, string, string | null]>([
  ["a challenge, by the mark that each has", 403, { "cf-mitigated": "challenge" }, "<html>", "challenge"],
  ["the same with the status of before 2023", 503, { "cf-mitigated": "challenge" }, "", "challenge"],
  [
    "Access, for browsers",
    302,
    { location: "https://acme.cloudflareaccess.com/cdn-cgi/access/login" },
    "",
    "access",
  ],
  [
    "Access, for programs",
    401,
    { "www-authenticate": "Cloudflare-Access resource_metadata=x" },
    "",
    "access",
  ],
  ["the Browser Integrity Check", 403, server, "error code: 1010", "integrity"],
  ["a firewall rule", 403, server, '<span class="cf-error-code">1020</span>', "firewall"],
  ["a blocked address", 403, server, "error code: 1006", "firewall"],
  ["a rate limiting rule", 429, server, "error code: 1015", "limit"],
  ["a Free plan's end of the day", 429, server, "error code: 1027", "allowance"],
  ["an app's own refusal", 403, server, "you may not", null],
  ["an app that quotes Cloudflare", 200, server, "error code: 1020", null],
  ["somebody else's server", 403, { server: "nginx" }, "error code: 1010", null],
  ["a redirect elsewhere", 302, { location: "https://cloudflareaccess.com.evil.test/" }, "", null],
  [
    "an app whose own sign-in is Access",
    302,
    { location: "https://acme.cloudflareaccess.com/cdn-cgi/access/sso/oidc/1" },
    "",
    null,
  ],
  ["a path for a place", 302, { location: "/login" }, "", null],
])("%s is told from all others", (_what, status, headers, body, by) => {
  expect(asked(status, headers, body)).toBe(by);
});
