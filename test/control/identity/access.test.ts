import { generateKeyPair, SignJWT } from "jose";
import { beforeEach, describe, expect, it } from "vitest";
import { Api, problemOf } from "../support/api.ts";
import { Issuer } from "../support/issuer.ts";
import * as world from "../support/world.ts";

const TEAM = "https://acme.cloudflareaccess.com";
const AUD = "ab".repeat(32);
const OWN = { origin: "https://control.test", "sec-fetch-site": "same-origin" };

let team: Issuer;
let api: Api;
let environmentId: string;
beforeEach(async () => {
  await world.emptyWorld();
  team = await Issuer.at(TEAM, "RS256");
  // Access shows its keys at a path of its own.
  const ask = (url: string, init: RequestInit) =>
    team.ask(url === `${TEAM}/cdn-cgi/access/certs` ? `${TEAM}/keys` : url, init);
  api = new Api({ issuers: { ask } });
  environmentId = await world.applied(api);
  await api.put("/api/v1/people/access", { team: "acme", audience: AUD });
});

const tokenOf = (claims: Record<string, unknown> = {}, more: { kid?: string } = {}) =>
  team.sign({ aud: [AUD], email: "Ann@acme.test", type: "app", ...claims }, { now: api.time, ...more });
const allow = (who: string, role: string, place = {}) =>
  api.post("/api/v1/people/grants", { who, role, ...place });
const ask = (token: string, path = "/api/v1/whoami", headers: Record<string, string> = {}) =>
  api.get(path, { token: null, headers: { "cf-access-jwt-assertion": token, ...headers } });

describe("who comes through Cloudflare Access", () => {
  it("is known by the address that Access signed, on the dashboard and the API, by header or cookie", async () => {
    await allow("ann@acme.test", "viewer");
    const token = await tokenOf();
    const who = await (await ask(token)).json();
    expect(who).toMatchObject({ actor: "access:ann@acme.test", role: "viewer", app: null });
    const page = await ask(token, "/", { accept: "text/html", "sec-fetch-mode": "navigate" });
    expect(page.status).toBe(200);
    expect(await page.text()).toContain("access:ann@acme.test");
    const headers = { cookie: `CF_Authorization=${token}` };
    expect((await api.get("/api/v1/apps", { token: null, headers })).status).toBe(200);
    expect(team.asked).toEqual([`${TEAM}/keys`]);
  });

  it.each<[string, () => Promise<string>, string]>([
    ["of another application", () => tokenOf({ aud: ["cd".repeat(32)] }), "401 unauthenticated"],
    ["of another team", () => tokenOf({ iss: "https://evil.cloudflareaccess.com" }), "401 unauthenticated"],
    ["that has expired", () => tokenOf({ exp: 1_780_000_000 }), "401 unauthenticated"],
    ["that does not hold yet", () => tokenOf({ nbf: 1_800_000_000 }), "401 unauthenticated"],
    ["without an end", () => tokenOf({ exp: undefined }), "401 unauthenticated"],
    ["by a key that the team doesn't have", () => tokenOf({}, { kid: "key-9" }), "401 unauthenticated"],
    ["signed by somebody else under its key's name", forged, "401 unauthenticated"],
    ["signed with a shared secret", () => signedWith("HS256"), "401 unauthenticated"],
    [
      "that nobody signed",
      async () => `${(await tokenOf()).split(".").slice(0, 2).join(".")}.`,
      "401 unauthenticated",
    ],
    ["that is none", async () => "ann@acme.test", "401 unauthenticated"],
    ["without an address", () => tokenOf({ email: undefined }), "401 unauthenticated"],
    [
      "of somebody to whom nothing was granted",
      () => tokenOf({ email: "eve@acme.test" }),
      "401 unauthenticated",
    ],
  ])("is nobody with a token %s", async (_, make, answer) => {
    await allow("ann@acme.test", "admin");
    expect(await problemOf(await ask(await make()))).toBe(answer);
  });

  it("is nobody by a header without a token, and by any token where no application is set", async () => {
    await allow("ann@acme.test", "admin");
    const headers = { "cf-access-authenticated-user-email": "ann@acme.test" };
    expect((await api.get("/api/v1/whoami", { token: null, headers })).status).toBe(401);
    const token = await tokenOf();
    await api.delete("/api/v1/people/access");
    expect(await problemOf(await ask(token))).toBe("401 unauthenticated");
    // Whose keys they are is not for the token to say.
    expect(team.asked).toEqual([]);
  });

  it("has the roles of their address, domain and groups together, each where it was given", async () => {
    await allow("*@acme.test", "viewer");
    await allow("group:shop-devs", "approver", { app: "shop", environment: "production" });
    const release = await world.release(environmentId, { version: "v2", state: "shifting" });
    const move = async (groups: string[]) =>
      (
        await api.post(
          `/api/v1/releases/${release}/promote`,
          {},
          {
            ...{ token: null },
            headers: { ...OWN, "cf-access-jwt-assertion": await tokenOf({ custom: { groups } }) },
          },
        )
      ).status;
    expect(await move(["shop-devs"])).toBe(200);
    expect(await move(["others"])).toBe(403);
    expect((await ask(await tokenOf())).status).toBe(200);
  });

  it("loses a role with the next request", async () => {
    const { id } = await (await allow("ann@acme.test", "viewer")).json<{ id: string }>();
    const token = await tokenOf();
    expect((await ask(token)).status).toBe(200);
    await api.delete(`/api/v1/people/grants/${id}`);
    expect((await ask(token)).status).toBe(401);
  });

  it("changes nothing when another site's page makes the browser ask", async () => {
    await allow("ann@acme.test", "admin");
    const grant = async (headers: Record<string, string>) =>
      (
        await api.post(
          "/api/v1/people/grants",
          { who: "eve@evil.test", role: "admin" },
          {
            ...{ token: null },
            headers: { "cf-access-jwt-assertion": await tokenOf(), ...headers },
          },
        )
      ).status;
    expect(await grant({ origin: "https://evil.test", "sec-fetch-site": "cross-site" })).toBe(403);
    expect(await grant({})).toBe(403);
    expect(await grant(OWN)).toBe(201);
  });

  it("may be a service token, which is no browser", async () => {
    await allow("service:abc.access", "deployer", { app: "shop" });
    const token = await tokenOf({ email: undefined, common_name: "abc.access", sub: "" });
    const headers = { "cf-access-jwt-assertion": token };
    await api.post("/api/v1/apps/shop/envs/production/releases", {}, { token: null, headers });
    expect(api.coordinators.of("createRelease")[0]?.input).toMatchObject({ actor: "access:abc.access" });
  });

  it("approves as one person, whatever they started from", async () => {
    await allow("ann@acme.test", "approver");
    await api.put("/api/v1/people/links", { identity: "github:583231", email: "ann@acme.test" });
    const startedAs = ["ci:github:acme/shop#1", "github:583231"];
    const release = await world.release(environmentId, { version: "v2", startedAs });
    const headers = { ...OWN, "cf-access-jwt-assertion": await tokenOf() };
    await api.post(`/api/v1/releases/${release}/approve`, {}, { token: null, headers });
    expect(api.coordinators.of("approve")[0]?.input).toMatchObject({
      identities: ["access:ann@acme.test", "person:ann@acme.test", "github:583231"],
      starter: expect.arrayContaining(["github:583231", "person:ann@acme.test"]),
    });
  });

  it("knows keys that changed, and those it knew while the team does not answer", async () => {
    await allow("ann@acme.test", "viewer");
    expect((await ask(await tokenOf())).status).toBe(200);
    await team.rotate("key-2");
    api.time += 61_000;
    expect((await ask(await tokenOf())).status).toBe(200);
    team.trouble = async () => new Response("down", { status: 503 });
    api.time += 2 * 3_600_000;
    expect((await ask(await tokenOf())).status).toBe(200);
  });
});

it.each(["https://evil.test", "acme.evil.test", "http://127.0.0.1:99", "a/b", ""])(
  "`%s` is no team",
  async (name) => {
    const answer = await api.put("/api/v1/people/access", { team: name, audience: AUD });
    expect(await problemOf(answer)).toBe("400 invalid_request");
  },
);

async function signedWith(alg: "HS256") {
  const claims = { aud: [AUD], email: "ann@acme.test", iss: TEAM };
  const jwt = new SignJWT(claims).setProtectedHeader({ alg, kid: "key-1" });
  return jwt
    .setIssuedAt(api.time / 1_000)
    .setExpirationTime(api.time / 1_000 + 300)
    .sign(new Uint8Array(32));
}

async function forged() {
  const { privateKey } = await generateKeyPair("RS256");
  const seconds = Math.floor(api.time / 1_000);
  return new SignJWT({ aud: [AUD], email: "ann@acme.test", iss: TEAM, iat: seconds, exp: seconds + 300 })
    .setProtectedHeader({ alg: "RS256", kid: "key-1" })
    .sign(privateKey);
}
