import Cloudflare from "cloudflare";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { LIMITS } from "./support/cloudflare/account-limits.ts";
import { API_TOKEN, type Cloudflare as StandIn, startCloudflare } from "./support/cloudflare/server.ts";

/** The stand-in is only worth as much as it refuses: asked through the SDK, as control and `sluice setup` ask it. */
let api: StandIn;
let client: Cloudflare;
let account: string;
let zone: string;

beforeEach(async () => {
  api = await startCloudflare({
    tokens: { [API_TOKEN]: "all", "dns-only": ["Zone › DNS › Edit", "Zone › Zone › Read"] },
    zones: [{ name: "example.com", maxRecords: 3, maxRoutes: 2 }],
  });
  client = connect(API_TOKEN);
  account = api.state.account.id;
  zone = api.state.zones[0]?.id ?? "";
});
afterEach(() => api.close());

const connect = (apiToken: string) => new Cloudflare({ apiToken, baseURL: api.url, maxRetries: 0 });
const cname = (name: string, content: string) => ({
  type: "CNAME" as const,
  name,
  content,
  ttl: 1 as const,
  proxied: true,
});
const tunnel = () =>
  client.zeroTrust.tunnels.cloudflared.create({ account_id: account, name: "t", config_src: "cloudflare" });
const configure = (id: string, ingress: unknown[]) =>
  client.zeroTrust.tunnels.cloudflared.configurations.update(id, {
    account_id: account,
    config: { ingress: ingress as { hostname: string; service: string }[] },
  });
const CATCH_ALL = { service: "http_status:404" };

describe("who may", () => {
  it("refuses an unknown token, and one without the permission, as Cloudflare does", async () => {
    await expect(connect("wrong").zones.list()).rejects.toMatchObject({
      status: 401,
      errors: [{ code: 1000 }],
    });
    const refused = connect("dns-only").zeroTrust.tunnels.cloudflared.list({ account_id: account });
    await expect(refused).rejects.toMatchObject({ status: 403, errors: [{ code: 10_000 }] });
    expect((await connect("dns-only").zones.list({ name: "example.com" })).result).toHaveLength(1);
  });
});

describe("an account's limits", () => {
  it("takes ten databases on Free, a thousand tunnels, five hundred applications and policies of Access", async () => {
    const { state } = api;
    const of = { account_id: account };
    for (let n = 0; n < LIMITS.databases; n++) await client.d1.database.create({ ...of, name: `d${n}` });
    await expect(client.d1.database.create({ ...of, name: "one-more" })).rejects.toMatchObject({
      status: 400,
    });
    await tunnel();
    const [one] = state.tunnels;
    if (!one) throw new Error("no tunnel was made");
    state.tunnels.push(...Array.from({ length: LIMITS.tunnels - 1 }, (_, n) => ({ ...one, name: `t${n}` })));
    const named = { ...of, name: "t-more", config_src: "cloudflare" } as const;
    await expect(client.zeroTrust.tunnels.cloudflared.create(named)).rejects.toMatchObject({ status: 400 });
    const app = { id: "a", name: "a", domains: [], policies: [] };
    state.accessApps.push(...Array.from({ length: LIMITS.accessApps }, () => app));
    const asked = { ...of, type: "self_hosted", name: "b", domain: "b.example.com" } as const;
    await expect(client.zeroTrust.access.applications.create(asked)).rejects.toMatchObject({ status: 400 });
    const policy = { id: "p", name: "p", decision: "allow", include: [] };
    state.accessPolicies.push(...Array.from({ length: LIMITS.accessPolicies }, () => policy));
    const rule = { ...of, name: "q", decision: "bypass" as const, include: [{ everyone: {} }] };
    await expect(client.zeroTrust.access.policies.create(rule)).rejects.toMatchObject({ status: 400 });
  });

  it("answers 1,200 calls in five minutes", async () => {
    const ask = () => fetch(`${api.url}/zones`, { headers: { authorization: `Bearer ${API_TOKEN}` } });
    for (let n = 0; n < LIMITS.calls; n++) await (await ask()).body?.cancel();
    const refused = await ask();
    expect([refused.status, refused.headers.get("retry-after")]).toEqual([429, "300"]);
  });
});

describe("tunnels", () => {
  it("keeps one name once, and lists deleted tunnels only when they are asked for", async () => {
    const made = await tunnel();
    await expect(tunnel()).rejects.toMatchObject({ status: 409, errors: [{ code: 1013 }] });
    await client.zeroTrust.tunnels.cloudflared.delete(made.id ?? "", { account_id: account });
    const names = async (is_deleted: boolean) => {
      const list = await client.zeroTrust.tunnels.cloudflared.list({
        account_id: account,
        name: "t",
        is_deleted,
      });
      return list.result.map(({ id }) => id);
    };
    expect([await names(false), await names(true)]).toEqual([[], [made.id]]);
  });

  it("refuses to delete a tunnel that is connected", async () => {
    const { id = "" } = await tunnel();
    for (const one of api.state.tunnels) one.connections = 4;
    const remove = () => client.zeroTrust.tunnels.cloudflared.delete(id, { account_id: account });
    await expect(remove()).rejects.toMatchObject({ errors: [{ code: 1022 }] });
    await client.zeroTrust.tunnels.cloudflared.connections.delete(id, { account_id: account });
    expect((await remove()).deleted_at).not.toBeNull();
  });

  it("replaces the whole configuration, and its version rises", async () => {
    const { id = "" } = await tunnel();
    await configure(id, [{ hostname: "a.example.com", service: "http://127.0.0.1:1" }, CATCH_ALL]);
    const second = await configure(id, [CATCH_ALL]);
    expect(second).toMatchObject({ version: 2, config: { ingress: [CATCH_ALL] } });
  });

  it.each([
    ["no catch-all at the end", [{ hostname: "a.example.com", service: "http://127.0.0.1:1" }]],
    ["a catch-all before the end", [CATCH_ALL, CATCH_ALL]],
    ["a port in the hostname", [{ hostname: "a.example.com:80", service: "http://127.0.0.1:1" }, CATCH_ALL]],
    ["a path in the service", [{ hostname: "a.example.com", service: "http://127.0.0.1:1/x" }, CATCH_ALL]],
    ["seconds as text", [{ service: "http_status:404", originRequest: { connectTimeout: "5s" } }]],
    ["a key that nobody knows", [{ service: "http_status:404", originrequest: {} }]],
  ])("refuses ingress with %s", async (_, ingress) => {
    const { id = "" } = await tunnel();
    await expect(configure(id, ingress)).rejects.toMatchObject({ status: 400 });
  });
});

describe("DNS records", () => {
  const create = (record: Parameters<typeof client.dns.records.create>[0]) =>
    client.dns.records.create(record);

  it("refuses what can't stand beside each other, what is too deep, and what is too many", async () => {
    await create({ zone_id: zone, ...cname("a.example.com", "x.cfargotunnel.com") });
    const again = create({ zone_id: zone, ...cname("a.example.com", "y.cfargotunnel.com") });
    await expect(again).rejects.toMatchObject({ errors: [{ code: 81_053 }] });
    const identical = create({ zone_id: zone, ...cname("a.example.com", "x.cfargotunnel.com") });
    await expect(identical).rejects.toMatchObject({ errors: [{ code: 81_058 }] });
    const deep = create({ zone_id: zone, ...cname("a.b.example.com", "x.cfargotunnel.com") });
    await expect(deep).rejects.toMatchObject({ status: 400 });
    const pointless = create({ zone_id: zone, ...cname("b.example.com", "not a name") });
    await expect(pointless).rejects.toMatchObject({ status: 400 });
    const posts = ["b", "c", "d"].map((name) => cname(`${name}.example.com`, "x.cfargotunnel.com"));
    await expect(client.dns.records.batch({ zone_id: zone, posts })).rejects.toMatchObject({
      errors: [{ code: 81_045 }],
    });
    expect(api.state.records.map(({ name }) => name)).toEqual(["a.example.com"]);
  });

  it("pages through a list", async () => {
    const posts = ["a", "b", "c"].map((name) => cname(`${name}.example.com`, "x.cfargotunnel.com"));
    await client.dns.records.batch({ zone_id: zone, posts });
    const names: string[] = [];
    for await (const { name } of client.dns.records.list({ zone_id: zone, per_page: 2 })) names.push(name);
    expect(names).toEqual(["a.example.com", "b.example.com", "c.example.com"]);
    const exact = await client.dns.records.list({ zone_id: zone, name: { exact: "b.example.com" } });
    expect(exact.result_info).toMatchObject({ page: 1, count: 1, total_count: 1, total_pages: 1 });
  });
});

describe("Worker routes", () => {
  const route = (pattern: string, script = "sluice-edge") =>
    client.workers.routes.create({ zone_id: zone, pattern, script });

  it.each([
    "sl-*.example.com/*",
    "example.com/*.jpg",
    "example.com/?x",
    "a.example.com:80/*",
    "example.org/*",
  ])("refuses the pattern %s", async (pattern) => {
    await expect(route(pattern)).rejects.toMatchObject({ errors: [{ code: 10_022 }] });
  });

  it("refuses a pattern twice, a Worker that is not there, and one route too many", async () => {
    await route("a.example.com/*");
    await expect(route("a.example.com/*")).rejects.toMatchObject({ errors: [{ code: 10_020 }] });
    await expect(route("b.example.com/*", "nobody")).rejects.toMatchObject({ errors: [{ code: 10_019 }] });
    await route("*.example.com/*");
    await expect(route("c.example.com/*")).rejects.toMatchObject({ errors: [{ code: 10_034 }] });
  });
});

describe("Access", () => {
  it("takes five domains for an application, and shows a service token's secret once", async () => {
    const app = (count: number) =>
      client.zeroTrust.access.applications.create({
        account_id: account,
        type: "self_hosted",
        name: "slots",
        domain: "a0.example.com",
        destinations: Array.from({ length: count }, (_, n) => ({ type: "public", uri: `a${n}.example.com` })),
      });
    await expect(app(6)).rejects.toMatchObject({ status: 400 });
    expect(await app(5)).toMatchObject({ name: "slots" });
    const token = await client.zeroTrust.access.serviceTokens.create({ account_id: account, name: "edge" });
    expect(token.client_secret).toMatch(/^cfast_/);
    const [listed] = (await client.zeroTrust.access.serviceTokens.list({ account_id: account })).result;
    expect(listed).toMatchObject({ client_id: token.client_id });
    expect(listed).not.toHaveProperty("client_secret");
  });
});

describe("faults on order", () => {
  it("fails before the work or after it, so often as was asked", async () => {
    api.fail({ method: "POST", path: "/cfd_tunnel", answer: 429, retryAfterS: 7 });
    api.fail({ method: "POST", path: "/cfd_tunnel", skip: 0, answer: "drop", afterWork: true });
    const limited = await tunnel().catch((error: unknown) => error);
    expect(limited).toMatchObject({ status: 429 });
    expect((limited as { headers: Headers }).headers.get("retry-after")).toBe("7");
    await expect(tunnel()).rejects.toThrow("Connection error");
    expect(api.state.tunnels).toHaveLength(1);
    expect(api.log.map(({ method, status }) => `${method} ${status}`)).toEqual(["POST 429", "POST 0"]);
  });

  it("calls what it does not know by its name", async () => {
    await expect(client.post("/zones/none/nowhere")).rejects.toMatchObject({
      status: 404,
      errors: [{ code: 7000 }],
    });
  });
});
