import { env } from "cloudflare:workers";
import { eq } from "drizzle-orm";
import { beforeEach, describe, expect, it } from "vitest";
import { environments } from "../../../src/control/store/schema/environments.ts";
import { registries, secrets } from "../../../src/control/store/schema/secrets.ts";
import { sweep } from "../../../src/control/sweep.ts";
import type { ResealAnswer, SecretView } from "../../../src/protocol/api/secrets.ts";
import { Api, problemOf } from "../support/api.ts";
import { countQueries } from "../support/count-queries.ts";
import { K1, K2 } from "../support/vault.ts";
import * as world from "../support/world.ts";

const ENV = "/api/v1/apps/shop/envs/production";
let before: Api;
let rotated: Api;
beforeEach(async () => {
  await world.emptyWorld();
  before = new Api({}, { SECRETS_KEY: K1 });
  rotated = new Api({}, { SECRETS_KEY: K2, SECRETS_KEY_BEFORE: K1 });
  await world.applied(before);
});

const set = (of: Api, name: string, value = "x") => of.put(`${ENV}/secrets/${name}`, { value });
const reseal = async (of = rotated) => (await of.call("POST", "/api/v1/secrets/reseal")).json<ResealAnswer>();
const keyIds = async () => {
  const rows = [...(await world.db.select().from(secrets)), ...(await world.db.select().from(registries))];
  return [...new Set(rows.map(({ keyId }) => keyId))].sort();
};

describe("a new key", () => {
  it("takes over everything, some at a time, without a new version; then the one before can go", async () => {
    for (let i = 0; i < 60; i += 1) await set(before, `S_${i}`);
    await before.put("/api/v1/apps/shop/registries/ghcr.io", { username: "u", password: "p" });
    expect(await reseal()).toEqual({
      ...{ keyId: "k2", beforeKeyId: "k1", resealed: 51, left: 10, unreadable: [] },
    });
    expect(await reseal()).toMatchObject({ resealed: 10, left: 0 });
    expect(await reseal()).toMatchObject({ resealed: 0, left: 0 });
    expect(await keyIds()).toEqual(["k2"]);
    const alone = new Api({}, { SECRETS_KEY: K2 });
    const { items } = await (await alone.get(`${ENV}/secrets`)).json<{ items: SecretView[] }>();
    expect(items.filter(({ unreadable, version }) => unreadable !== null || version !== 1)).toEqual([]);
  });

  it("is carried through by the sweep alone, and costs no query when there is no key before", async () => {
    await set(before, "A");
    await sweep(rotated.env, rotated.time);
    expect(await keyIds()).toEqual(["k2"]);
    const queries = async (bindings: object) => {
      const { counted, DB } = countQueries(env.DB);
      await sweep(new Api({}, { DB, ...bindings }).env, rotated.time);
      return counted.queries;
    };
    expect(await queries({ SECRETS_KEY: K2 })).toBe(await queries({}));
  });

  it("leaves a value that was set meanwhile", async () => {
    await set(before, "A", "old");
    await Promise.all([reseal(), set(rotated, "A", "new")]);
    expect(await keyIds()).toEqual(["k2"]);
    const again = await (await set(rotated, "A", "new")).json<{ changed: boolean }>();
    expect(again.changed).toBe(false);
  });

  it("names what no key opens, and passes over it", async () => {
    await set(new Api({}, { SECRETS_KEY: K1.replace("k1", "k0") }), "LOST");
    await set(before, "BROKEN");
    await set(before, "A");
    await world.db.update(secrets).set({ sealed: "1.AAAA.AAAA" }).where(eq(secrets.name, "BROKEN"));
    const answer = await reseal();
    expect(answer).toMatchObject({ resealed: 1, left: 1 });
    expect(answer.unreadable.map(({ name, reason }) => [name, reason.slice(0, 35)])).toEqual([
      ["BROKEN", "the key `k1` does not open it: anot"],
      ["LOST", "it is sealed under the key `k0`, an"],
    ]);
  });

  it("is an administrator's business, in the audit log, and needs a key", async () => {
    await set(before, "A");
    const deployer = await before.token("deployer");
    const denied = await rotated.call("POST", "/api/v1/secrets/reseal", { token: deployer });
    expect(await problemOf(denied)).toBe("403 forbidden");
    await reseal();
    const { items } = await (await rotated.get("/api/v1/audit")).json<{ items: { message: string }[] }>();
    expect(items[0]?.message).toBe("1 sealed anew under the key k2");
    const none = await new Api({}, {}).call("POST", "/api/v1/secrets/reseal");
    expect(await problemOf(none)).toBe("409 not_configured");
  });
});

describe("a deleted environment's secrets", () => {
  it("stay for a day, in case it comes back, and are gone then", async () => {
    await set(before, "A");
    await world.db.update(environments).set({ deletedAt: before.time });
    await sweep(before.env, before.time + 86_399_999);
    expect(await world.db.select().from(secrets)).toHaveLength(1);
    await sweep(before.env, before.time + 86_400_000);
    expect(await world.db.select().from(secrets)).toHaveLength(0);
  });
});
