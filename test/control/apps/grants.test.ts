import { applyD1Migrations, reset } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { beforeEach, describe, expect, it } from "vitest";
import type { ApplyAnswer } from "../../../src/protocol/api/apps.ts";
import type { HostnameGrantView } from "../../../src/protocol/api/hostnames.ts";
import type { Problem } from "../../../src/protocol/problem.ts";
import { Api, problemOf } from "../support/api.ts";
import * as world from "../support/world.ts";

const CONTROL = "sluice.example.com";
let api: Api;
beforeEach(async () => {
  await world.emptyWorld();
  api = new Api({}, { CONTROL_HOSTNAME: CONTROL, SLOT_ZONE: "slots.example" });
});

const manifest = (...hostnames: string[]) =>
  world.manifest("shop").replace("[shop.example.com]", JSON.stringify(hostnames));
const apply = (token: string | undefined, ...hostnames: string[]) =>
  api.apply("shop", manifest(...hostnames), token === undefined ? {} : { token });
const allow = (pattern: string, claim = false, token?: string) =>
  api.put(`/api/v1/apps/shop/hostnames/${pattern}`, { claim }, token === undefined ? {} : { token });
const revoke = (pattern: string) => api.delete(`/api/v1/apps/shop/hostnames/${pattern}`);
const grants = async () =>
  (await (await api.get("/api/v1/apps/shop/hostnames")).json<{ items: HostnameGrantView[] }>()).items;

describe("an apply", () => {
  it.each(["deployer", "admin"])("of an app's %s stays within what was granted to it", async (role) => {
    const token = await api.token(role, { app: "shop" });
    const refused = await apply(token, "pay.example.com");
    expect(refused.status).toBe(403);
    expect(await refused.json<Problem>()).toMatchObject({
      code: "hostname_not_granted",
      detail: "shop may not have pay.example.com: no administrator granted it (granted: none)",
      next: [{ command: "sluice hostnames allow pay.example.com -a shop" }, {}],
    });
    await allow("*.shop.example.com");
    expect((await apply(token, "a.shop.example.com", "B.Shop.Example.com.")).status).toBe(200);
    for (const other of ["shop.example.com", "pay.example.com", "a.shop.example.com.evil.net"])
      expect(await problemOf(await apply(token, "a.shop.example.com", other))).toBe(
        "403 hostname_not_granted",
      );
  });

  it("of a deployer of everything is no administrator's", async () => {
    const token = await api.token("deployer");
    expect(await problemOf(await apply(token, "shop.example.com"))).toBe("403 hostname_not_granted");
    expect(await problemOf(await api.apply("shop", manifest("x.example.com"), { token }))).toContain("403");
    const dry = api.call("PUT", "/api/v1/apps/shop?dryRun=1", { text: manifest("x.example.com"), token });
    expect(await problemOf(await dry)).toBe("403 hostname_not_granted");
  });

  it("of an administrator grants what it names, and says so", async () => {
    const answer = await (await apply(undefined, "shop.example.com")).json<ApplyAnswer>();
    expect(answer.granted).toEqual(["shop.example.com"]);
    expect(await grants()).toMatchObject([
      {
        pattern: "shop.example.com",
        claim: false,
        by: "admin",
        covers: [{ hostname: "shop.example.com", environment: "production" }],
      },
    ]);
    expect((await (await apply(undefined, "shop.example.com")).json<ApplyAnswer>()).granted).toEqual([]);
    const token = await api.token("deployer", { app: "shop" });
    expect((await apply(token, "shop.example.com")).status).toBe(200);
    const { items } = await (await api.get("/api/v1/audit")).json<{ items: { type: string }[] }>();
    expect(items.map(({ type }) => type)).toContain("hostname.granted");
  });

  it("that only asks grants nothing", async () => {
    const dry = await api.call("PUT", "/api/v1/apps/shop?dryRun=1", { text: manifest("shop.example.com") });
    expect((await dry.json<ApplyAnswer>()).granted).toEqual(["shop.example.com"]);
    expect(await grants()).toEqual([]);
  });

  it("takes no part of another app's hostname unclaimed, and names who has it", async () => {
    const other = world
      .manifest("front")
      .replace("[front.example.com]", "[front.example.com/, front.example.com/Help]");
    expect((await api.apply("front", other)).status).toBe(200);
    for (const part of ["front.example.com/api", "front.example.com/Help/more"]) {
      const refused = await apply(undefined, part);
      expect(refused.status).toBe(409);
      const { detail, next } = await refused.json<Problem>();
      expect(detail).toContain(`${part} is a part of front.example.com`);
      expect(detail).toContain("which belongs to front/production");
      expect(next?.[0]?.command).toBe(`sluice hostnames allow ${part} --claim -a shop`);
    }
    expect(await problemOf(await apply(undefined, "front.example.com/Help"))).toBe("409 hostname_taken");
    await allow("front.example.com%2Fapi", true);
    const token = await api.token("deployer", { app: "shop" });
    expect(await apply(token, "shop.example.com", "front.example.com/api/v2")).toMatchObject({ status: 403 });
    await allow("shop.example.com");
    expect((await apply(token, "shop.example.com", "front.example.com/api/v2")).status).toBe(200);
    expect(await problemOf(await apply(token, "front.example.com/apis"))).toBe("403 hostname_not_granted");
    // What it has is not asked about again, and a part of it that goes further neither.
    expect((await apply(token, "shop.example.com", "front.example.com/api")).status).toBe(200);
    expect((await revoke("front.example.com%2Fapi")).status).toBe(409);
  });

  it.each([
    CONTROL,
    "SLUICE.Example.COM",
    "sluice.example.com.",
    "control.test",
    "sl-0123456789abcdef.slots.example",
    "sl-new.slots.example",
  ])("never has %s, not even an administrator's, granted or not", async (hostname) => {
    await allow("*.example.com", true);
    await allow("*.slots.example", true);
    await allow("*.test", true);
    const token = await api.token("deployer", { app: "shop" });
    for (const by of [undefined, token])
      expect(await problemOf(await apply(by, "shop.example.com", hostname))).toBe("422 hostname_reserved");
    expect((await world.db.run("SELECT * FROM hostnames")).results).toEqual([]);
  });

  it.each([
    "localhost",
    "sluice",
    "slu_ice.example.com",
    "slüice.example.com",
    "xn--sluice-.example.com",
    "127.0.0.1",
    "0x7f.1",
    "sluice.example.com..",
    "sluice.example.com:443",
    "user@sluice.example.com",
    "sluice%2eexample.com",
    "*.com",
    "sluice。example。com",
    `${"a".repeat(64)}.example.com`,
  ])("does not take %s for a hostname", async (hostname) => {
    expect(await problemOf(await apply(undefined, hostname))).toBe("422 manifest_invalid");
  });

  it("is refused to claim other sites, unless it is an administrator's", async () => {
    await allow("shop.example.com");
    const token = await api.token("deployer", { app: "shop" });
    const claim = { text: manifest("shop.example.com"), token };
    expect(await problemOf(await api.call("PUT", "/api/v1/apps/shop?claim=1", claim))).toBe("403 forbidden");
    const own = { text: manifest("shop.example.com") };
    expect((await api.call("PUT", "/api/v1/apps/shop?claim=1", own)).status).toBe(200);
    expect(await grants()).toMatchObject([{ pattern: "shop.example.com", claim: true }]);
  });
});

describe("a grant", () => {
  it("is an administrator's of everything to give and to take", async () => {
    for (const scope of [{}, { app: "shop" }])
      for (const role of ["viewer", "deployer", ...("app" in scope ? ["admin"] : [])]) {
        const token = await api.token(role, scope);
        expect(await problemOf(await allow("shop.example.com", false, token))).toBe("403 forbidden");
        const path = "/api/v1/apps/shop/hostnames/shop.example.com";
        expect(await problemOf(await api.delete(path, { token }))).toBe("403 forbidden");
      }
    expect((await allow("shop.example.com")).status).toBe(200);
    expect(await problemOf(await allow(CONTROL))).toBe("422 hostname_reserved");
    for (const pattern of ["*", "*.com", "*com", "a.*.example.com", "*.example.com/x", "localhost"])
      expect(await problemOf(await allow(encodeURIComponent(pattern)))).toBe("400 invalid_request");
  });

  it("can't be taken back from under a hostname that stands on it alone", async () => {
    await apply(undefined, "shop.example.com");
    expect(await problemOf(await revoke("shop.example.com"))).toBe("409 conflict");
    await allow("*.example.com");
    expect((await revoke("shop.example.com")).status).toBe(204);
    expect(await problemOf(await revoke("*.example.com"))).toBe("409 conflict");
    await allow("other.example.com");
    await apply(undefined, "other.example.com");
    expect((await revoke("*.example.com")).status).toBe(204);
    expect((await revoke("never.example.com")).status).toBe(204);
    const token = await api.token("deployer", { app: "shop" });
    expect(await problemOf(await apply(token, "shop.example.com"))).toBe("403 hostname_not_granted");
  });

  it("is the app's own, and reaches no other app", async () => {
    await allow("*.example.com");
    const token = await api.token("deployer", { app: "other" });
    const text = world.manifest("other").replace("[other.example.com]", "[a.example.com]");
    expect(await problemOf(await api.apply("other", text, { token }))).toBe("403 hostname_not_granted");
  });

  it("keeps its claim when it is given again without", async () => {
    await allow("shop.example.com", true);
    await allow("shop.example.com", false);
    expect(await grants()).toMatchObject([{ claim: true }]);
  });
});

it("an upgrade grants what exists", async () => {
  const at = env.TEST_MIGRATIONS.findIndex(({ name }) => name.includes("hostname_grants"));
  await reset();
  await applyD1Migrations(env.DB, env.TEST_MIGRATIONS.slice(0, at));
  const spec = JSON.stringify({ hostnames: ["shop.example.com"] });
  await env.DB.batch([
    env.DB.prepare("INSERT INTO apps VALUES ('app_1', 'shop', '', 1, 1)"),
    env.DB.prepare(
      `INSERT INTO environments (id, app_id, name, spec, rev, fence, salt, preview_key, mode, next_version, created_at)
       VALUES ('env_1', 'app_1', 'production', ?, 1, 0, '', '', '{}', 1, 1)`,
    ).bind(spec),
    env.DB.prepare("INSERT INTO hostnames (hostname, environment_id) VALUES ('shop.example.com', 'env_1')"),
  ]);
  await applyD1Migrations(env.DB, env.TEST_MIGRATIONS);
  const { results } = await env.DB.prepare('SELECT app, pattern, claim, "by" FROM hostname_grants').all();
  expect(results).toEqual([{ app: "shop", pattern: "shop.example.com", claim: 1, by: "upgrade" }]);
});
