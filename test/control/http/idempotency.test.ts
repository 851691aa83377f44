import { env } from "cloudflare:workers";
import { beforeEach, describe, expect, it } from "vitest";
import { parseKey } from "../../../src/control/http/idempotency.ts";
import { newSecret, sha256 } from "../../../src/control/ids.ts";
import { sweep } from "../../../src/control/sweep.ts";
import { Api, problemOf } from "../support/api.ts";
import * as world from "../support/world.ts";

let api: Api;
const PATH = "/api/v1/apps/shop/envs/production/releases";
beforeEach(async () => {
  await world.emptyWorld();
  api = new Api();
  await world.applied(api);
  let n = 0;
  api.coordinators.release = (input, environment) =>
    world.release(environment, { version: `v${++n}`, state: "queued", requestKey: input.requestKey });
});

const send = (key: string, body: unknown = {}, token?: string) =>
  api.post(PATH, body, { headers: { "idempotency-key": key }, ...(token ? { token } : {}) });
const idOf = async (response: Response) => (await response.json<{ id: string }>()).id;

describe("a POST with an Idempotency-Key", () => {
  it("does its thing once and answers all repetitions as the first", async () => {
    const first = await send('"key-1"');
    expect(first.status).toBe(202);
    expect(first.headers.has("idempotency-replayed")).toBe(false);
    const again = await send('"key-1"');
    expect(again.status).toBe(202);
    expect(again.headers.get("idempotency-replayed")).toBe("true");
    expect(again.headers.get("location")).toBe(first.headers.get("location"));
    expect(await again.json()).toEqual(await first.json());
    expect(api.coordinators.of("createRelease")).toHaveLength(1);
  });

  it("is the same with and without quotes", async () => {
    const first = await idOf(await send('"key-1"'));
    expect(await idOf(await send("key-1"))).toBe(first);
  });

  it("lets one of many at once through; the others hear that it runs, or its answer", async () => {
    const responses = await Promise.all(Array.from({ length: 8 }, () => send("race")));
    expect(api.coordinators.of("createRelease")).toHaveLength(1);
    for (const response of responses)
      expect(["202", "409 idempotency_in_flight"]).toContain(await kind(response));
    expect(responses.filter(({ status }) => status === 202).length).toBeGreaterThan(0);
  });
  const kind = async (response: Response) => (response.ok ? String(response.status) : problemOf(response));

  it("is refused with another body", async () => {
    await send("key-1", { version: "a" });
    expect(await problemOf(await send("key-1", { version: "b" }))).toBe("422 idempotency_conflict");
  });

  it("is another request with another principal or on another route", async () => {
    await send("key-1");
    await send("key-1", {}, await api.token("deployer"));
    expect(api.coordinators.of("createRelease")).toHaveLength(2);
    await api.post(
      "/api/v1/tokens",
      { name: "x", role: "viewer" },
      { headers: { "idempotency-key": "key-1" } },
    );
    expect(
      api.coordinators.of("createRelease").map(({ input }) => (input as { requestKey: string }).requestKey),
    ).toEqual(["admin:key-1", expect.stringMatching(/^tok_.*:key-1$/)]);
  });

  it("that was refused can be tried again with the same key", async () => {
    api.coordinators.refusal = { code: "release_in_progress", detail: "v1 is on its way" };
    expect(await problemOf(await send("key-1", { whenBusy: "reject" }))).toBe("409 release_in_progress");
    api.coordinators.refusal = undefined;
    expect((await send("key-1", { whenBusy: "reject" })).status).toBe(202);
  });

  it("whose first request died is in flight for a minute, then taken over by exactly one", async () => {
    await send("key-1");
    await env.DB.prepare("UPDATE idempotency SET status = NULL, body = NULL, headers = NULL").run();
    expect(await problemOf(await send("key-1"))).toBe("409 idempotency_in_flight");
    api.time += 60_001;
    const before = api.coordinators.of("createRelease").length;
    api.coordinators.release = async () =>
      (await idOf(await api.get(`${PATH}?limit=1`).then(firstItem))) ?? "";
    const responses = await Promise.all([send("key-1"), send("key-1"), send("key-1")]);
    expect(api.coordinators.of("createRelease")).toHaveLength(before + 1);
    expect(responses.some(({ status }) => status === 202)).toBe(true);
  });
  const firstItem = async (response: Response) =>
    Response.json((await response.json<{ items: unknown[] }>()).items[0]);

  it("keeps no shown-once secret readable, and still answers it again to its owner", async () => {
    const create = () =>
      api.post("/api/v1/tokens", { name: "ci", role: "viewer" }, { headers: { "idempotency-key": "t" } });
    const { token } = await (await create()).json<{ token: string }>();
    const rows = JSON.stringify((await env.DB.prepare("SELECT * FROM idempotency").all()).results);
    expect(rows).not.toContain(token);
    expect(await (await create()).json()).toMatchObject({ token });
  });

  it("is unknown once the token that it was answered to was changed: nobody can read that answer any more", async () => {
    const first = await idOf(await send("key-1"));
    const token = newSecret("slu");
    const rotated = new Api({}, { ADMIN_TOKEN_SHA256: await sha256(token) });
    // As the coordinator does: the same key is the same release.
    Object.assign(rotated.coordinators, { release: async () => first, isNew: false });
    const again = () =>
      Promise.all(
        [1, 2, 3].map(() => rotated.post(PATH, {}, { token, headers: { "idempotency-key": "key-1" } })),
      );
    const answers = await again();
    expect(answers.map(({ status }) => status).filter((status) => status !== 409)).toContain(202);
    expect(rotated.coordinators.of("createRelease")).toHaveLength(1);
    for (const { headers } of answers.filter(({ ok }) => ok))
      expect(headers.get("idempotency-replayed")).toBe("true");
    const [replayed] = await again();
    expect(replayed?.headers.get("idempotency-replayed")).toBe("true");
    expect(replayed && (await idOf(replayed))).toBe(first);
  });

  it("is forgotten after 24 hours", async () => {
    await send("key-1");
    await sweep(api.env, api.time + 24 * 3_600_000 + 1);
    expect((await env.DB.prepare("SELECT count(*) AS n FROM idempotency").first<{ n: number }>())?.n).toBe(0);
  });

  it.each(["", '""', "x".repeat(256), "ü"])("is refused when it is no key: %j", (key) => {
    expect(() => parseKey(key)).toThrow("Idempotency-Key must be");
  });
});
