import { env } from "cloudflare:workers";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { tableKey } from "../../../src/control/environment/publisher.ts";
import { environments } from "../../../src/control/store/schema/environments.ts";
import { sweep } from "../../../src/control/sweep.ts";
import { aSpec } from "../../domain/rollout/spec.ts";
import { LIMITS } from "../../support/runtime-limits.ts";
import { Api } from "../support/api.ts";
import { asInvocation, peak } from "../support/invocation.ts";
import { Stage } from "../support/stage.ts";
import { withinD1Limits } from "../support/within-limits.ts";

const SMOKE = Array.from({ length: 10 }, (_, n) => ({ path: `/check-${n}`, status: 200 }));
let stage: Stage;
beforeEach(async () => {
  peak.connections = 0;
  vi.stubGlobal("fetch", async () => {
    // All that are asked at once have begun by then.
    for (let n = 0; n < 50; n++) await null;
    return new Response("ok");
  });
  stage = await Stage.open({ smoke: SMOKE });
});
afterEach(() => void vi.unstubAllGlobals());

/** A whole release; each poke is an invocation of its own. */
async function release(version: string, limits: ReturnType<typeof withinD1Limits>): Promise<void> {
  await stage.inside((coordinator) => coordinator.useDatabase(limits.DB));
  limits.begin();
  await stage.create();
  for (let turn = 0; (await stage.release(version)).state !== "settling"; turn++) {
    expect(turn, "it comes to serve").toBeLessThan(60);
    await stage.work();
    limits.begin();
    await stage.coordinator.poke();
  }
}

describe("within the Free plan's limits", () => {
  it("a release goes through, with far fewer queries in each turn", async () => {
    const limits = withinD1Limits(env.DB);
    await release("v1", limits);
    await release("v2", limits);
    expect(limits.most()).toBeLessThanOrEqual(30);
  });

  it("no probe or smoke check waits in the runtime's queue while its own time runs", async () => {
    await release("v1", withinD1Limits(env.DB));
    expect(peak.connections).toBeGreaterThan(1);
    expect(peak.connections).toBeLessThanOrEqual(LIMITS.fetch.connections);
  });

  it("an environment takes fifty other hostnames, and no copy of the old ones is left", async () => {
    const named = (name: string) => Array.from({ length: 50 }, (_, n) => `${name}-${n}.example.com`);
    stage.at = Date.now();
    const take = (hostnames: string[]) =>
      stage.db.update(environments).set({ spec: aSpec({ smoke: [], hostnames }) });
    const turn = async () => {
      await stage.inside(() => {});
      await stage.coordinator.poke();
      stage.at = (stage.at ?? 0) + 20_000;
    };
    await take(named("old"));
    await stage.deploy();
    await turn();
    expect((await env.TABLES.list()).keys).toHaveLength(50);
    await take(named("new"));
    for (let n = 0; n < 3; n++) await turn();
    const { keys } = await env.TABLES.list();
    expect(keys.map(({ name }) => name).sort()).toEqual(named("new").map(tableKey).sort());
  });

  it("a sweep is one invocation", async () => {
    await stage.deploy();
    const limits = withinD1Limits(env.DB);
    expect(await sweep({ ...env, DB: limits.DB }, Date.now())).toMatchObject({ failed: 0 });
    expect(limits.most()).toBeLessThanOrEqual(30);
  });
});

describe("all of control's tests run within them", () => {
  const queries = async (db: D1Database, count: number) => {
    for (let n = 0; n < count; n++) await db.prepare("SELECT 1").run();
  };

  it("an object's storage takes no value, no list of keys and no query that Cloudflare's would not", async () => {
    await stage.inside((_coordinator, { storage }) => {
      expect(() => storage.put("big", "a".repeat(2_097_152))).toThrow("larger than 2097152 bytes");
      expect(() => storage.get(Array.from({ length: 129 }, (_, n) => `${n}`))).toThrow(
        "Maximum number of keys",
      );
      const many = Array.from({ length: 101 }, () => 1);
      expect(() => storage.sql.exec(`SELECT ${many.map(() => "?").join()}`, ...many)).toThrow(
        "SQL variables",
      );
    });
  });

  it("an object's call has 50 queries of D1, and an API's request too", async () => {
    // What the class itself is given, and not what this test has.
    const own = await stage.inside((coordinator) => (coordinator as unknown as { env: typeof env }).env.DB);
    for (const db of [own, new Api().env.DB]) {
      await asInvocation(() => queries(db, LIMITS.d1.queriesOnFree));
      await expect(asInvocation(() => queries(db, LIMITS.d1.queriesOnFree + 1))).rejects.toThrow(
        "too many queries",
      );
      const values = Array.from({ length: 101 }, () => 1);
      expect(() => db.prepare("SELECT 1").bind(...values)).toThrow("101 parameters");
      expect(() => db.prepare("SELECT ?").bind("a".repeat(2_000_001))).toThrow("too big");
    }
  });

  it("a key of KV's is written once a second by its writer's clock, and a thousand calls are all that one may make", async () => {
    await stage.inside(async (coordinator) => {
      const { TABLES } = (coordinator as unknown as { env: typeof env }).env;
      let now = Date.now();
      coordinator.clock = () => now;
      await TABLES.put("a", "1");
      await expect(TABLES.put("a", "2")).rejects.toThrow("429 Too Many Requests");
      await expect(TABLES.delete("a")).rejects.toThrow("429 Too Many Requests");
      await TABLES.put("b", "1");
      now += LIMITS.kv.writeEveryMs;
      await TABLES.put("a", "2");
      const read = async (times: number) => {
        for (let n = 0; n < times; n++) await TABLES.get("a");
      };
      await asInvocation(() => read(LIMITS.fetch.servicesOnFree));
      await expect(asInvocation(() => read(LIMITS.fetch.servicesOnFree + 1))).rejects.toThrow(
        "Too many API requests",
      );
      await expect(TABLES.get(Array.from({ length: 101 }, (_, n) => `${n}`))).rejects.toThrow("101 keys");
    });
  });

  it("an object asked counts as a call, and a bucket takes no key, metadata or deletion that R2's would not", async () => {
    const { IMAGES, HOST_LINK } = new Api().env;
    const ask = async (times: number) => {
      for (let n = 0; n < times; n++) await HOST_LINK.getByName("host_none").look("http://anna-1.test/");
    };
    await expect(asInvocation(() => ask(LIMITS.fetch.servicesOnFree + 1))).rejects.toThrow("Too many API");
    await expect(IMAGES?.put("a".repeat(1_025), "")).rejects.toThrow("key of 1025 bytes");
    await expect(IMAGES?.put("a", "", { customMetadata: { b: "c".repeat(8_192) } })).rejects.toThrow(
      "metadata",
    );
    await expect(IMAGES?.delete(Array.from({ length: 1_001 }, (_, n) => `${n}`))).rejects.toThrow(
      "1001 keys",
    );
  });

  it("a call's seventh connection waits, and its fifty-first subrequest fails", async () => {
    let [open, most] = [0, 0];
    vi.stubGlobal("fetch", async () => {
      most = Math.max(most, ++open);
      await scheduler.wait(1);
      open -= 1;
      return new Response("ok");
    });
    const ask = (times: number) =>
      asInvocation(() => Promise.all(Array.from({ length: times }, () => fetch("http://anna-1.test/"))));
    await ask(LIMITS.fetch.subrequestsOnFree);
    expect(most).toBe(LIMITS.fetch.connections);
    await expect(ask(LIMITS.fetch.subrequestsOnFree + 1)).rejects.toThrow("Too many subrequests");
  });
});
