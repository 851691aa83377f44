import { env } from "cloudflare:workers";
import { beforeEach, describe, expect, it } from "vitest";
import { environments } from "../../../src/control/store/schema/environments.ts";
import type { SecretView, SetSecretAnswer } from "../../../src/protocol/api/secrets.ts";
import type { Problem } from "../../../src/protocol/problem.ts";
import { Api, problemOf } from "../support/api.ts";
import { dump, K1, K2, tracesOf } from "../support/vault.ts";
import * as world from "../support/world.ts";

const ENV = "/api/v1/apps/shop/envs/production";
const VALUE = "postgres://shop:hunter2@db/shop";
let api: Api;

beforeEach(async () => {
  await world.emptyWorld();
  api = new Api({}, { SECRETS_KEY: K1 });
  const more = `secrets: [DATABASE_URL, SESSION_SECRET]
accessories:
  db: { image: "postgres:17", secrets: [POSTGRES_PASSWORD] }
`;
  expect((await api.apply("shop", world.manifest("shop", more))).status).toBe(200);
});

const set = (name: string, value: unknown, call = {}) => api.put(`${ENV}/secrets/${name}`, { value }, call);
const list = async (of = api) =>
  (await (await of.get(`${ENV}/secrets`)).json<{ items: SecretView[] }>()).items;
const named = async (name: string, of = api) => (await list(of)).find((item) => item.name === name);

describe("secrets", () => {
  it("are listed with who needs them, what is missing and what nobody uses, never with a value", async () => {
    await set("DATABASE_URL", VALUE);
    await set("OLD_ONE", "x");
    const response = await api.get(`${ENV}/secrets`);
    expect(await response.clone().text()).not.toContain("hunter2");
    const short = (await list()).map(({ name, isSet, version, usedBy }) => [name, isSet, version, usedBy]);
    expect(short).toEqual([
      ["DATABASE_URL", true, 1, ["app"]],
      ["OLD_ONE", true, 1, []],
      ["POSTGRES_PASSWORD", false, null, ["accessory db"]],
      ["SESSION_SECRET", false, null, ["app"]],
    ]);
    expect(await named("DATABASE_URL")).toMatchObject({ updatedBy: "admin", unreadable: null });
  });

  it("get a new version with each new value, and none with the same one again", async () => {
    const answers = [];
    for (const value of ["a", "a", "b", "a"]) {
      const { secret, changed } = await (await set("DATABASE_URL", value)).json<SetSecretAnswer>();
      answers.push([secret.version, changed]);
    }
    expect(answers).toEqual([
      [1, true],
      [1, false],
      [2, true],
      [3, true],
    ]);
  });

  it("that are set at once by several get a version each", async () => {
    await Promise.all(["a", "b", "c", "d", "e"].map((value) => set("DATABASE_URL", value)));
    expect((await named("DATABASE_URL"))?.version).toBe(5);
  });

  it("that were removed and set again are newer than what still runs", async () => {
    const host = await world.enrolled(api);
    const [environment] = await world.db.select().from(environments).all();
    const environmentId = environment?.id ?? "";
    const releaseId = await world.release(environmentId);
    await world.instance(
      { environmentId, releaseId, host, slot: 0 },
      { secretVersions: { DATABASE_URL: 7 } },
    );
    await set("DATABASE_URL", "a");
    expect((await named("DATABASE_URL"))?.version).toBe(8);
  });

  it("can be removed, twice with the same answer", async () => {
    await set("DATABASE_URL", VALUE);
    for (let i = 0; i < 2; i += 1) expect((await api.delete(`${ENV}/secrets/DATABASE_URL`)).status).toBe(204);
    expect(await named("DATABASE_URL")).toMatchObject({ isSet: false, version: null });
  });

  it.each([
    ["", "empty"],
    ["a\0b", "NUL"],
    ["\ud800", "not valid Unicode"],
    ["x".repeat(64 * 1024 + 1), "larger than 64 KiB"],
    ["é".repeat(32 * 1024 + 1), "larger than 64 KiB"],
  ])("that no variable can hold are refused (%#)", async (value, words) => {
    const response = await set("DATABASE_URL", value);
    expect(await problemOf(response)).toBe("400 invalid_request");
    expect((await response.json<Problem>()).detail).toContain(words);
    expect((await set("DATABASE_URL", "x".repeat(64 * 1024))).status).toBe(200);
  });

  it.each(["1X", "A-B", "__proto__", "PORT", "SLUICE_VERSION", "x".repeat(101)])(
    "are not named %s",
    async (name) => {
      expect(await problemOf(await set(name, "x"))).toBe("400 invalid_request");
    },
  );

  it("are set by a deployer of their scope, and by nobody else", async () => {
    const scope = { app: "shop", environment: "production" };
    const viewer = await api.token("viewer", scope);
    expect(await problemOf(await set("DATABASE_URL", "x", { token: viewer }))).toBe("403 forbidden");
    const remove = await api.delete(`${ENV}/secrets/DATABASE_URL`, { token: viewer });
    expect(await problemOf(remove)).toBe("403 forbidden");
    expect((await api.get(`${ENV}/secrets`, { token: viewer })).status).toBe(200);
    const elsewhere = await api.token("deployer", { app: "shop", environment: "staging" });
    expect(await problemOf(await set("DATABASE_URL", "x", { token: elsewhere }))).toBe("403 forbidden");
    expect(await problemOf(await api.get(`${ENV}/secrets`, { token: elsewhere }))).toBe("403 forbidden");
    const deployer = await api.token("deployer", scope);
    expect((await set("DATABASE_URL", "x", { token: deployer })).status).toBe(200);
    const registry = { username: "u", password: "p" };
    const put = api.put("/api/v1/apps/shop/registries/ghcr.io", registry, { token: deployer });
    expect(await problemOf(await put)).toBe("403 forbidden");
  });

  it("can't be set without a key, and the answer says what to do", async () => {
    const keyless = new Api({}, {});
    const response = await keyless.put(`${ENV}/secrets/DATABASE_URL`, { value: "x" });
    expect(await problemOf(response)).toBe("409 not_configured");
    expect(await response.json()).toMatchObject({ next: [{ command: "sluice setup" }] });
  });

  it("whose key is gone are listed as such, and can be set again", async () => {
    await set("DATABASE_URL", VALUE);
    const other = new Api({}, { SECRETS_KEY: K2 });
    expect((await named("DATABASE_URL", other))?.unreadable).toContain("`k1`, and control has `k2`");
    await other.put(`${ENV}/secrets/DATABASE_URL`, { value: VALUE });
    expect(await named("DATABASE_URL", other)).toMatchObject({ unreadable: null, version: 2 });
  });

  it("are no more than an environment can list", async () => {
    for (const name of ["S_0", "S_199"]) expect((await set(name, "x")).status).toBe(200);
    await env.DB.exec(
      "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 198) INSERT INTO secrets SELECT environment_id, 'S_' || i, sealed, key_id, version, updated_at, updated_by FROM secrets, n WHERE name = 'S_0'",
    );
    expect(await problemOf(await set("ONE_MORE", "x"))).toBe("409 conflict");
    expect((await set("S_7", "y")).status).toBe(200);
  });
});

describe("logins at registries", () => {
  const path = (registry: string) => `/api/v1/apps/shop/registries/${encodeURIComponent(registry)}`;
  it("are kept under the registry's one name, and their passwords are not told", async () => {
    for (const name of ["https://index.docker.io/v1/", "GHCR.io", "127.0.0.1:5000"])
      expect((await api.put(path(name), { username: "bot", password: "hunter2" })).status).toBe(200);
    const text = await (await api.get("/api/v1/apps/shop/registries")).text();
    expect(text).not.toContain("hunter2");
    const { items } = JSON.parse(text) as { items: { registry: string; username: string }[] };
    expect(items.map(({ registry }) => registry)).toEqual(["127.0.0.1:5000", "docker.io", "ghcr.io"]);
    for (let i = 0; i < 2; i += 1) expect((await api.delete(path("docker.io"))).status).toBe(204);
  });

  it("are refused for what is no registry", async () => {
    for (const name of ["ghcr.io/acme", "a b", "-x", "host:port"])
      expect(await problemOf(await api.put(path(name), { username: "u", password: "p" }))).toBe(
        "400 invalid_request",
      );
  });
});

describe("a release that names secrets", () => {
  const deploy = (of = api, query = "") => of.post(`${ENV}/releases${query}`, {});

  it("is refused before anything moves while one has no value, with the command for each", async () => {
    const response = await deploy();
    expect(await problemOf(response)).toBe("409 secrets_missing");
    const { detail, next } = await response.json<Problem>();
    expect(detail).toContain("DATABASE_URL, SESSION_SECRET have no value in shop/production");
    expect(next.map(({ command }) => command)).toEqual([
      "sluice secrets set DATABASE_URL -a shop -e production",
      "sluice secrets set SESSION_SECRET -a shop -e production",
    ]);
    expect(api.coordinators.of("createRelease")).toEqual([]);
  });

  it("is planned with that as a problem", async () => {
    await set("SESSION_SECRET", "x");
    const plan = await (await deploy(api, "?dryRun=1")).json<{
      problems: { code: string; detail: string }[];
    }>();
    const problem = plan.problems.find(({ code }) => code === "secrets_missing");
    expect(problem?.detail).toContain("sluice secrets set DATABASE_URL -a shop -e production");
    expect(problem?.detail).not.toContain("SESSION_SECRET");
  });

  it("goes ahead once they are set; the accessory's own is none of its business", async () => {
    await set("DATABASE_URL", VALUE);
    await set("SESSION_SECRET", "x");
    api.coordinators.release = (_input, environment) => world.release(environment, { state: "queued" });
    expect((await deploy()).status).toBe(202);
    expect(await problemOf(await deploy(new Api({}, {})))).toBe("409 not_configured");
    expect(await problemOf(await deploy(new Api({}, { SECRETS_KEY: K2 })))).toBe("409 not_configured");
  });
});

describe("what is written down", () => {
  it("holds no value: not in D1, not in an answer to somebody who sent it wrongly, whatever the key header", async () => {
    const headers = { "idempotency-key": "k-1" };
    await set("DATABASE_URL", VALUE, { headers });
    await set("DATABASE_URL", VALUE, { headers });
    await set("SESSION_SECRET", "hunter2", { headers });
    await api.put(
      "/api/v1/apps/shop/registries/ghcr.io",
      { username: "bot", password: "hunter2" },
      { headers },
    );
    const wrong = [
      await api.call("PUT", `${ENV}/secrets/A`, {
        text: '{"value": hunter2',
        headers: { "content-type": "application/json" },
      }),
      await set("A", ["hunter2"]),
      await set("A", `hunter2${"\0"}`),
      await api.put(`${ENV}/secrets/A`, { value: "x", more: "hunter2" }),
    ];
    for (const response of wrong) {
      expect(response.status).toBe(400);
      expect(await response.text()).not.toContain("hunter2");
    }
    const text = await dump();
    for (const trace of [...(await tracesOf(VALUE)), ...(await tracesOf("hunter2"))])
      expect(text).not.toContain(trace);
    const events = await (await api.get("/api/v1/audit")).json<{
      items: { type: string; message: string }[];
    }>();
    const said = events.items.map(({ type, message }) => `${type}: ${message}`);
    expect(said.slice(0, 3)).toEqual([
      "registry.set: shop: login at ghcr.io set",
      "secret.set: secret SESSION_SECRET set",
      "secret.set: secret DATABASE_URL set",
    ]);
  });
});
