import { env } from "cloudflare:workers";
import { eq } from "drizzle-orm";
import { beforeEach, describe, expect, it } from "vitest";
import { environments } from "../../../src/control/store/schema/environments.ts";
import { events } from "../../../src/control/store/schema/events.ts";
import { hostnames } from "../../../src/control/store/schema/hostnames.ts";
import { slots } from "../../../src/control/store/schema/slots.ts";
import { applyAnswerSchema } from "../../../src/protocol/api/apps.ts";
import type { Problem } from "../../../src/protocol/problem.ts";
import { Api, problemOf } from "../support/api.ts";
import { applied, db, emptyWorld, enrolled, instance, manifest, release } from "../support/world.ts";

let api: Api;
beforeEach(async () => {
  await emptyWorld();
  api = new Api();
});

const answer = async (response: Response) => applyAnswerSchema.parse(await response.json());
const staging = "  staging:\n    hostnames: [staging.example.com]\n";

describe("applying a manifest", () => {
  it("creates the app, its environments and hostnames, and pokes their coordinators", async () => {
    const response = await api.apply("shop", manifest("shop", staging));
    expect(response.status).toBe(200);
    expect(await answer(response)).toEqual({
      app: "shop",
      created: true,
      dryRun: false,
      environments: ["production", "staging"],
      changes: [{ path: "app", before: null, after: "shop" }],
      granted: ["shop.example.com", "staging.example.com"],
      accessories: [],
    });
    const rows = await db.select().from(environments).all();
    expect(rows.map(({ name, rev }) => ({ name, rev }))).toEqual([
      { name: "production", rev: 1 },
      { name: "staging", rev: 1 },
    ]);
    expect(await db.select().from(hostnames).all()).toHaveLength(2);
    expect(api.coordinators.of("poke").map(({ environment }) => environment)).toEqual(
      rows.map(({ id }) => id),
    );
  });

  it("changes nothing, pokes nobody and writes no event when the manifest says what is there", async () => {
    await api.apply("shop", manifest());
    const asked = api.coordinators.asked.length;
    expect((await answer(await api.apply("shop", manifest()))).changes).toEqual([]);
    expect(api.coordinators.asked).toHaveLength(asked);
    const types = (await db.select().from(events).all()).map(({ type }) => type);
    expect(types).toEqual(["hostname.granted", "app.applied"]);
  });

  it("answers each changed key with its value before and after", async () => {
    await api.apply("shop", manifest());
    const response = await api.apply(
      "shop",
      manifest("shop", "    replicas: 3\n    env: { COLOUR: blue }\n"),
    );
    expect((await answer(response)).changes).toEqual([
      { path: "environments.production.replicas", before: 1, after: 3 },
      { path: "environments.production.env.COLOUR", before: null, after: "blue" },
    ]);
    const [row] = await db.select().from(environments).all();
    expect(row).toMatchObject({ rev: 2, spec: { replicas: 3, env: { COLOUR: "blue" } } });
  });

  it("touches no environment that stays as it was", async () => {
    await api.apply("shop", manifest("shop", staging));
    const before = api.coordinators.asked.length;
    await api.apply("shop", manifest("shop", `    replicas: 2\n${staging}`));
    const revs = (await db.select().from(environments).all()).map(({ name, rev }) => [name, rev]);
    expect(Object.fromEntries(revs)).toEqual({ production: 2, staging: 1 });
    expect(api.coordinators.asked).toHaveLength(before + 1);
  });

  it("takes JSON as well", async () => {
    const json = {
      app: "shop",
      image: "a/b",
      port: 1,
      environments: { production: { hostnames: ["a.example"] } },
    };
    expect((await api.put("/api/v1/apps/shop", json)).status).toBe(200);
  });

  it("writes nothing in a dry run, and says the same", async () => {
    const response = await api.call("PUT", "/api/v1/apps/shop?dryRun=1", { text: manifest() });
    expect(await answer(response)).toMatchObject({ created: true, dryRun: true });
    expect(await db.select().from(environments).all()).toEqual([]);
    expect(api.coordinators.asked).toEqual([]);
  });

  it("lets many applies at once end in what one of them said, whole", async () => {
    await api.apply("shop", manifest());
    const replicas = [2, 3, 4, 5];
    const responses = await Promise.all(
      replicas.map((n) => api.apply("shop", manifest("shop", `    replicas: ${n}\n`))),
    );
    for (const response of responses) expect([200, 409]).toContain(response.status);
    const applied = responses.filter(({ status }) => status === 200).length;
    expect(applied).toBeGreaterThan(0);
    const [row] = await db.select().from(environments).all();
    expect(row?.rev).toBe(1 + applied);
    const { manifest: text } =
      (await env.DB.prepare("SELECT manifest FROM apps").first<{ manifest: string }>()) ?? {};
    expect(text).toContain(`replicas: ${row?.spec.replicas}`);
  });
});

describe("a manifest that can't be applied", () => {
  const problem = async (response: Response) => response.json<Problem>();

  it("names every wrong key with its line", async () => {
    const response = await api.apply(
      "shop",
      manifest().replace("port: 3000", "prot: 3000\nport: 3000\nport: 1"),
    );
    expect(await problemOf(response)).toBe("422 manifest_invalid");
    expect((await problem(response)).errors).toEqual([
      { pointer: "port", detail: expect.stringContaining("stands twice"), line: 5, column: 1 },
    ]);
    const unknown = await problem(await api.apply("shop", manifest().replace("port:", "prot: 1\nport:")));
    expect(unknown.errors).toEqual([
      { pointer: "prot", detail: expect.stringContaining("did you mean `port`"), line: 3, column: 1 },
    ]);
  });

  it("refuses a key whose feature has not landed by another code than a wrong one", async () => {
    const response = await api.apply("shop", manifest().replace("hostnames:", "notify: {}\n    hostnames:"));
    expect(await problemOf(response)).toBe("422 not_landed");
    expect((await problem(response)).detail).toContain("`environments.production.notify`");
  });

  it("says that both are wrong as manifest_invalid", async () => {
    const response = await api.apply("shop", `${manifest()}secrets: []\nnope: 1\n`);
    expect(await problemOf(response)).toBe("422 manifest_invalid");
  });

  it("refuses bytes that are no text", async () => {
    const request = api.request("PUT", "/api/v1/apps/shop");
    const body = new Uint8Array([0xff, 0xfe, 0x00]);
    expect(await problemOf(await api.send(new Request(request, { body })))).toBe("422 manifest_invalid");
  });

  it("refuses a manifest of another app", async () => {
    expect(await problemOf(await api.apply("shop", manifest("other")))).toBe("422 manifest_invalid");
  });

  it("refuses one hostname in two environments", async () => {
    const response = await api.apply(
      "shop",
      manifest("shop", "  staging:\n    hostnames: [shop.example.com]\n"),
    );
    expect(await problemOf(response)).toBe("422 manifest_invalid");
    expect((await problem(response)).errors?.[0]?.pointer).toBe("environments.staging.hostnames");
  });

  it("names the owner of a hostname that is taken, and takes nothing", async () => {
    await api.apply("shop", manifest());
    const response = await api.apply("thief", manifest("thief").replace("thief.example", "shop.example"));
    expect(await problemOf(response)).toBe("409 hostname_taken");
    expect((await problem(response)).detail).toContain("shop.example.com belongs to shop/production");
    expect((await api.get("/api/v1/apps/thief")).status).toBe(404);
  });

  it("gives a hostname to exactly one of two apps that ask at once", async () => {
    const same = (app: string) => manifest(app).replace(`${app}.example.com`, "same.example.com");
    const codes = await Promise.all(
      ["one", "two"].map(async (app) => (await api.apply(app, same(app))).status),
    );
    expect(codes.sort()).toEqual([200, 409]);
    expect(await db.select().from(hostnames).all()).toHaveLength(1);
  });

  it("moves a hostname between environments of one app", async () => {
    await api.apply("shop", manifest("shop", staging));
    const swapped = manifest("shop", "  staging:\n    hostnames: [shop.example.com]\n").replace(
      "[shop.example.com]",
      "[staging.example.com]",
    );
    expect((await api.apply("shop", swapped)).status).toBe(200);
    const view = await (await api.get("/api/v1/apps/shop/envs/staging")).json<{ hostnames: string[] }>();
    expect(view.hostnames).toEqual(["shop.example.com"]);
  });
});

describe("an environment that leaves the manifest", () => {
  it("is kept while it has instances, and the refusal names them", async () => {
    await api.apply("shop", manifest("shop", staging));
    const [row] = await db.select().from(environments).where(eq(environments.name, "staging")).all();
    const environmentId = row?.id ?? "";
    const host = await enrolled(api);
    const releaseId = await release(environmentId);
    await instance({ environmentId, releaseId, host, slot: 0 });
    const response = await api.apply("shop", manifest());
    expect(await problemOf(response)).toBe("409 conflict");
    const { detail } = await response.json<Problem>();
    expect(detail).toContain("`environments.staging`");
    expect(detail).toContain("1 instances on web-1");
  });

  it("goes, gives up its hostnames and keeps its slots until they have rested; applied again it is back", async () => {
    await api.apply("shop", manifest("shop", staging));
    const host = await enrolled(api);
    const [row] = await db.select().from(environments).where(eq(environments.name, "staging")).all();
    await db
      .update(slots)
      .set({ environmentId: row?.id ?? null })
      .where(eq(slots.id, `${host.host.id}/0`));

    expect((await api.apply("shop", manifest())).status).toBe(200);
    expect((await api.get("/api/v1/apps/shop/envs/staging")).status).toBe(404);
    expect((await api.apply("other", manifest("other").replace("other.ex", "staging.ex"))).status).toBe(200);
    const [slot] = await db
      .select()
      .from(slots)
      .where(eq(slots.id, `${host.host.id}/0`))
      .all();
    expect(slot).toMatchObject({ environmentId: row?.id });

    const back = staging.replace("staging.example", "again.example");
    expect((await api.apply("shop", manifest("shop", back))).status).toBe(200);
    const [again] = await db.select().from(environments).where(eq(environments.name, "staging")).all();
    expect(again).toMatchObject({ id: row?.id, deletedAt: null, rev: 3 });
  });
});

describe("an environment that was destroyed", () => {
  it("is made again by the manifest that names it still, unchanged", async () => {
    const environmentId = await applied(api);
    const gone = { name: `production~${environmentId}`, deletedAt: api.time };
    await db.delete(hostnames).where(eq(hostnames.environmentId, environmentId));
    await db.update(environments).set(gone).where(eq(environments.id, environmentId));
    const { changes } = await answer(await api.apply("shop", manifest()));
    expect(changes).toEqual([{ path: "environments.production", before: null, after: "made again" }]);
    expect((await api.get("/api/v1/apps/shop/envs/production")).status).toBe(200);
    expect((await answer(await api.apply("shop", manifest()))).changes).toEqual([]);
  });
});
