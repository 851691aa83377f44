import { env } from "cloudflare:workers";
import { beforeEach, describe, expect, it } from "vitest";
import { ADMIN_TOKEN, Api, problemOf } from "../support/api.ts";
import * as world from "../support/world.ts";

const ORIGIN = "https://control.test";
const OWN_PAGE = { origin: ORIGIN, "sec-fetch-site": "same-origin" };

let api: Api;
beforeEach(async () => {
  await world.emptyWorld();
  api = new Api();
});

const signIn = (token: string, headers: Record<string, string> = OWN_PAGE) =>
  api.post("/login", { token }, { token: null, headers });

async function cookieOf(token: string): Promise<string> {
  const response = await signIn(token);
  expect(response.status).toBe(200);
  return response.headers.get("set-cookie")?.split(";")[0] ?? "";
}

const ask = (cookie: string, path = "/api/v1/whoami", headers: Record<string, string> = {}) =>
  api.get(path, { token: null, headers: { cookie, ...headers } });

describe("a browser's session", () => {
  it("stands for the token it was begun with, and no page's script can read it", async () => {
    const token = await api.token("viewer", { app: "shop" });
    const response = await signIn(token);
    const cookie = response.headers.get("set-cookie") ?? "";
    expect(cookie).toMatch(/^__Host-sluice=sls_[\w-]{43}; /);
    for (const attribute of ["HttpOnly", "Secure", "Path=/", "SameSite=Lax", "Max-Age=43200"])
      expect(cookie).toContain(attribute);
    expect(cookie).not.toContain("Domain");
    const whoami = await ask(cookie.split(";")[0] ?? "");
    expect(await whoami.json()).toEqual({
      actor: "token:viewer-token",
      role: "viewer",
      app: "shop",
      environment: null,
    });
  });

  it("lies in the database only as its hash", async () => {
    const cookie = await cookieOf(ADMIN_TOKEN);
    const rows = await env.DB.prepare("SELECT * FROM sessions").all();
    expect(rows.results).toHaveLength(1);
    expect(JSON.stringify(rows.results)).not.toContain(cookie.slice(cookie.indexOf("sls_") + 4));
  });

  it("ends with its token, after twelve hours, and by signing out", async () => {
    const created = await api.post("/api/v1/tokens", { name: "ci", role: "viewer" });
    const { id, token } = await created.json<{ id: string; token: string }>();
    const revoked = await cookieOf(token);
    await api.delete(`/api/v1/tokens/${id}`);
    expect(await problemOf(await ask(revoked))).toBe("401 token_revoked");

    const left = await cookieOf(ADMIN_TOKEN);
    const out = await api.call("POST", "/logout", { token: null, headers: { cookie: left, ...OWN_PAGE } });
    expect(out.status).toBe(204);
    expect(out.headers.get("set-cookie")).toContain("Max-Age=0");
    expect(await problemOf(await ask(left))).toBe("401 unauthenticated");

    const old = await cookieOf(ADMIN_TOKEN);
    api.time += 12 * 3_600_000;
    expect(await problemOf(await ask(old))).toBe("401 token_expired");
  });

  it("of the first administrator ends when that token is replaced", async () => {
    const cookie = await cookieOf(ADMIN_TOKEN);
    expect((await ask(cookie)).status).toBe(200);
    const replaced = new Api({}, { ADMIN_TOKEN_SHA256: "0".repeat(64) });
    const response = await replaced.get("/api/v1/whoami", { token: null, headers: { cookie } });
    expect(await problemOf(response)).toBe("401 unauthenticated");
  });

  it("is not begun with a wrong token or a host's, and a form is sent back with the reason", async () => {
    expect(await problemOf(await signIn(`slu_${"x".repeat(43)}`))).toBe("401 unauthenticated");
    const { token } = await world.enrolled(api);
    expect(await problemOf(await signIn(token))).toBe("403 forbidden");
    const form = (body: Record<string, string>) =>
      api.call("POST", "/login", {
        token: null,
        text: new URLSearchParams(body).toString(),
        headers: { ...OWN_PAGE, "content-type": "application/x-www-form-urlencoded" },
      });
    const wrong = await form({ token: "nonsense" });
    expect([wrong.status, wrong.headers.get("location")]).toEqual([303, "/login?problem=unauthenticated"]);
    for (const [next, leads] of [
      ["/apps/shop?tab=1", "/apps/shop?tab=1"],
      ["//evil.example", "/"],
      ["/\\evil.example", "/"],
      ["https://evil.example", "/"],
    ] as const) {
      const right = await form({ token: ADMIN_TOKEN, next });
      expect([right.status, right.headers.get("location")]).toEqual([303, leads]);
    }
  });

  it.each([
    ["another site", { origin: "https://evil.example", "sec-fetch-site": "cross-site" }],
    ["an app under the same domain", { origin: "https://shop.test", "sec-fetch-site": "same-site" }],
    ["an old browser's page elsewhere", { origin: "https://evil.example" }],
    ["a page in a sandbox", { origin: "null", "sec-fetch-site": "cross-site" }],
    ["nothing that says where it comes from", {}],
  ])("changes nothing for %s, and isn't begun or ended by it", async (_, headers: Record<string, string>) => {
    const cookie = await cookieOf(ADMIN_TOKEN);
    const write = await api.post(
      "/api/v1/tokens",
      { name: "x", role: "admin" },
      { token: null, headers: { cookie, ...headers } },
    );
    expect(await problemOf(write)).toBe("403 forbidden");
    expect(await problemOf(await signIn(ADMIN_TOKEN, headers))).toBe("403 forbidden");
    const out = await api.call("POST", "/logout", { token: null, headers: { cookie, ...headers } });
    expect(await problemOf(out)).toBe("403 forbidden");
    expect((await ask(cookie)).status).toBe(200);
  });

  it("changes what control's own page asks for, also in browsers without Fetch Metadata", async () => {
    const cookie = await cookieOf(ADMIN_TOKEN);
    for (const headers of [OWN_PAGE, { origin: ORIGIN }]) {
      const made = await api.post(
        "/api/v1/tokens",
        { name: "x", role: "viewer" },
        { token: null, headers: { cookie, ...headers } },
      );
      expect(made.status).toBe(201);
    }
  });

  it("is read by control's own pages and by whoever follows a link, by no other page's request", async () => {
    const cookie = await cookieOf(ADMIN_TOKEN);
    const link = { "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate" };
    const fetched = { "sec-fetch-site": "same-site", "sec-fetch-mode": "no-cors" };
    expect((await ask(cookie, "/api/v1/apps", link)).status).toBe(200);
    expect(await problemOf(await ask(cookie, "/api/v1/apps", fetched))).toBe("403 forbidden");
  });

  it("counts by no name that a sibling subdomain could plant, and never before a token", async () => {
    const value = (await cookieOf(ADMIN_TOKEN)).split("=")[1] ?? "";
    expect(await problemOf(await ask(`sluice=${value}`))).toBe("401 unauthenticated");
    const viewer = await api.token("viewer");
    const both = await api.get("/api/v1/whoami", {
      token: viewer,
      headers: { cookie: `__Host-sluice=${value}` },
    });
    expect(await both.json()).toMatchObject({ role: "viewer" });
  });
});

it("an approver may steer a release and end it, not start one", async () => {
  const environmentId = await world.applied(api);
  const id = await world.release(environmentId);
  const token = await api.token("approver");
  for (const move of ["promote", "pause", "resume", "abort"])
    expect((await api.post(`/api/v1/releases/${id}/${move}`, {}, { token })).status).toBeLessThan(300);
  const started = await api.post("/api/v1/apps/shop/envs/production/releases", {}, { token });
  expect(await problemOf(started)).toBe("403 forbidden");
});
