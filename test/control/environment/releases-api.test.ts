import { beforeEach, describe, expect, it } from "vitest";
import { rollbackAnswerSchema } from "../../../src/protocol/api/moves.ts";
import { planSchema } from "../../../src/protocol/api/plans.ts";
import { releaseSchema } from "../../../src/protocol/api/releases.ts";
import type { Problem } from "../../../src/protocol/problem.ts";
import { Api, problemOf } from "../support/api.ts";
import * as world from "../support/world.ts";

let api: Api;
let environmentId: string;
const ENVIRONMENT = "/api/v1/apps/shop/envs/production";
beforeEach(async () => {
  await world.emptyWorld();
  api = new Api();
  environmentId = await world.applied(api);
});
const detailOf = async (response: Response) => (await response.json<Problem>()).detail;

describe("starting a release", () => {
  it("asks the coordinator with who wants what, and answers where to watch it", async () => {
    api.coordinators.release = (_, environment) => world.release(environment, { state: "queued" });
    const git = { sha: "abc123", branch: "main" };
    const response = await api.post(
      `${ENVIRONMENT}/releases`,
      { image: ":v2", version: "v2", git },
      { token: await api.token("deployer"), headers: { "idempotency-key": '"ci-7"' } },
    );
    expect(response.status).toBe(202);
    const release = releaseSchema.parse(await response.json());
    expect(response.headers.get("location")).toBe(`/api/v1/releases/${release.id}`);
    expect(api.coordinators.of("createRelease")).toMatchObject([
      {
        environment: environmentId,
        input: { image: ":v2", version: "v2", git, whenBusy: "queue", actor: "token:deployer-token" },
      },
    ]);
    expect(api.coordinators.of("createRelease")[0]?.input).toMatchObject({
      requestKey: expect.stringMatching(/^tok_\w+:ci-7$/),
    });
  });

  it("is part of the trace that the client sends along, and of none that it does not record", async () => {
    let n = 0;
    api.coordinators.release = (_, environment) =>
      world.release(environment, { state: "queued", version: `v${++n}` });
    const trace = (flags: string) => `00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-${flags}`;
    for (const traceparent of [trace("01"), trace("00"), "nonsense"])
      await api.post(`${ENVIRONMENT}/releases`, {}, { headers: { traceparent, tracestate: "ci=1" } });
    const traces = api.coordinators
      .of("createRelease")
      .map(({ input }) => (input as { trace?: object }).trace);
    expect(traces).toEqual([{ traceparent: trace("01"), tracestate: "ci=1" }, undefined, undefined]);
  });

  it("passes the coordinator's refusal on, with its code and words", async () => {
    api.coordinators.refusal = { code: "release_in_progress", detail: "v1 is starting: wait for it" };
    const response = await api.post(`${ENVIRONMENT}/releases`, { whenBusy: "reject" });
    expect(await problemOf(response)).toBe("409 release_in_progress");
    expect(await detailOf(response)).toBe("v1 is starting: wait for it");
  });

  it("says of every wrong field which it is", async () => {
    const response = await api.post(`${ENVIRONMENT}/releases`, {
      whenBusy: "never",
      version: "no spaces",
      extra: 1,
    });
    expect(await problemOf(response)).toBe("400 invalid_request");
    const { errors } = await response.json<Problem>();
    expect(errors?.map(({ pointer }) => pointer).sort()).toEqual(["/extra", "/version", "/whenBusy"]);
  });

  it("says so when the body isn't JSON or isn't called so", async () => {
    const path = `${ENVIRONMENT}/releases`;
    const headers = { "content-type": "application/json" };
    expect(await problemOf(await api.call("POST", path, { text: "{", headers }))).toBe("400 invalid_request");
    const plain = await api.call("POST", path, { text: "{}", headers: { "content-type": "text/plain" } });
    expect(await problemOf(plain)).toBe("400 invalid_request");
    expect(await detailOf(plain)).toContain("`Content-Type: application/json`");
  });

  it("takes no body as one without wishes", async () => {
    api.coordinators.release = (_, environment) => world.release(environment, { state: "queued" });
    expect((await api.call("POST", `${ENVIRONMENT}/releases`)).status).toBe(202);
    expect(api.coordinators.of("createRelease")).toMatchObject([
      { input: { image: null, whenBusy: "queue" } },
    ]);
  });

  it("answers in a dry run where it would go and what stands in its way, and asks nobody", async () => {
    const plan = async () =>
      planSchema.parse(await (await api.post(`${ENVIRONMENT}/releases?dryRun=1`, {})).json());
    expect((await plan()).problems).toMatchObject([{ code: "no_hosts" }]);
    const host = await world.enrolled(api);
    await api.post("/agent/v1/poll", world.pollBody(), { token: host.token });
    expect(await plan()).toMatchObject({
      instances: [{ host: "web-1", slot: 0 }],
      steps: [{ weight: 100 }],
      replaces: null,
      problems: [],
    });
    expect(api.coordinators.of("createRelease")).toEqual([]);
  });
});

describe("releases", () => {
  it("are listed newest first, in pages that overlap nowhere", async () => {
    const ids: string[] = [];
    for (let i = 0; i < 5; i += 1)
      ids.unshift(
        await world.release(environmentId, { version: `v${i}`, createdAt: api.time + Math.floor(i / 2) }),
      );
    const seen: string[] = [];
    let cursor = "";
    do {
      const response = await api.get(`${ENVIRONMENT}/releases?limit=2${cursor}`);
      const page = await response.json<{ items: { id: string }[]; nextCursor: string | null }>();
      seen.push(...page.items.map(({ id }) => id));
      cursor = page.nextCursor === null ? "" : `&cursor=${page.nextCursor}`;
    } while (cursor !== "");
    expect([...seen].sort()).toEqual([...ids].sort());
    expect(seen.slice(0, 1)).toEqual(ids.slice(0, 1));
  });

  it("tell what failed, with which value, and how many requests there were meanwhile", async () => {
    const failure = {
      code: "health_status",
      message: "GET /ready answered 503",
      check: { name: "readiness", value: "503", limit: "2xx" },
      logs: ["boom"],
    };
    const id = await world.release(environmentId, {
      state: "failed",
      failure,
      startedAt: api.time - 60_000,
      endedAt: api.time - 30_000,
      timings: { preparing: 500 },
    });
    const window = (ms: number, requests: number) => ({ window: api.time - ms, requests, failed: 1 });
    const windows = [window(90_000, 100), window(60_000, 10), window(50_000, 5), window(20_000, 100)];
    api.coordinators.view = { ...api.coordinators.view, windows };
    const view = releaseSchema.parse(await (await api.get(`/api/v1/releases/${id}`)).json());
    expect(view).toMatchObject({ state: "failed", failure, timings: { preparing: 500 } });
    expect(view.traffic).toEqual({ requests: 15, failed: 2 });
    expect(view.next.map(({ command }) => command)).toContain("sluice deploy -a shop -e production");
  });

  it("that don't exist are not found", async () => {
    expect(await problemOf(await api.get("/api/v1/releases/rel_none"))).toBe("404 not_found");
    expect(await problemOf(await api.post("/api/v1/releases/rel_none/abort", {}))).toBe("404 not_found");
    expect(await problemOf(await api.get("/api/v1/apps/none/envs/production"))).toBe("404 not_found");
    expect(await problemOf(await api.get("/api/v1/apps/shop/envs/none"))).toBe("404 not_found");
  });

  it("are aborted by their coordinator, with the reason", async () => {
    const id = await world.release(environmentId, { state: "starting" });
    const response = await api.post(`/api/v1/releases/${id}/abort`, { reason: "wrong branch" });
    expect(response.status).toBe(202);
    expect(releaseSchema.parse(await response.json()).id).toBe(id);
    expect(api.coordinators.of("abort")).toMatchObject([
      { environment: environmentId, input: { release: id, actor: "admin", reason: "wrong branch" } },
    ]);
  });
});

describe("rolling back", () => {
  it("answers how, from what to what, and which release to follow", async () => {
    const from = await world.release(environmentId, { version: "v2", state: "rolling_back" });
    const to = await world.release(environmentId, { version: "v1", state: "superseded" });
    api.coordinators.rollbackOutcome = { how: "instant", from, to, release: from };
    const response = await api.post(`${ENVIRONMENT}/rollback`, { to: "v1" });
    expect(response.status).toBe(202);
    expect(response.headers.get("location")).toBe(`/api/v1/releases/${from}`);
    expect(rollbackAnswerSchema.parse(await response.json())).toMatchObject({
      how: "instant",
      from: { release: from, version: "v2" },
      to: { release: to, version: "v1" },
      release: { id: from },
    });
    expect(api.coordinators.of("rollback")).toMatchObject([{ input: { to: "v1", actor: "admin" } }]);
  });

  it("sends on what its sender saw serving", async () => {
    api.coordinators.refusal = { code: "precondition_failed", detail: "v2 serves now" };
    const response = await api.post(`${ENVIRONMENT}/rollback`, { from: "v3" });
    expect(response.status).toBe(412);
    expect(api.coordinators.of("rollback")).toMatchObject([{ input: { to: null, seen: "v3" } }]);
  });

  it.each(["nothing_to_roll_back", "rollback_impossible", "locked"] as const)(
    "refuses with %s",
    async (code) => {
      api.coordinators.refusal = { code, detail: "because" };
      expect(await problemOf(await api.post(`${ENVIRONMENT}/rollback`, {}))).toMatch(new RegExp(`${code}$`));
    },
  );
});

describe("setting weights", () => {
  let v1: string;
  let v2: string;
  beforeEach(async () => {
    const host = await world.enrolled(api);
    v1 = await world.release(environmentId, { version: "v1", weightBp: 10_000, servingAt: 1 });
    v2 = await world.release(environmentId, { version: "v2", servingAt: 2 });
    await world.release(environmentId, { version: "v0", state: "superseded", servingAt: 0 });
    await world.instance({ environmentId, releaseId: v1, host, slot: 0 });
    await world.instance({ environmentId, releaseId: v2, host, slot: 1 }, { state: "warm" });
  });
  const put = (weights: unknown, headers = {}) => api.put(`${ENVIRONMENT}/weights`, weights, { headers });

  it("takes labels and ids, and hands basis points to the coordinator", async () => {
    const response = await put({ v2: 25.5, [v1]: 74.5 });
    expect(response.status).toBe(200);
    expect(api.coordinators.of("setWeights")).toMatchObject([
      { input: { weights: { [v1]: 7_450, [v2]: 2_550 } } },
    ]);
  });

  it("adds up shares that floating point can't", async () => {
    expect((await put({ v2: 0.07, v1: 99.93 })).status).toBe(200);
    expect((await put({ v2: 33.33, v1: 66.67 })).status).toBe(200);
  });

  it.each([
    [{ v1: 50, v2: 49 }, "sum to 99 %"],
    [{ v1: 50, v2: 50.01 }, "sum to 100.01 %"],
    [{}, "sum to 0 %"],
    [{ v1: 99.999, v2: 0.001 }, "more than two decimals"],
    [{ v9: 100 }, "no release `v9` here; releases that could serve: v"],
  ])("refuses %j", async (weights, words) => {
    const response = await put(weights);
    expect(await problemOf(response)).toBe("422 weights_invalid");
    expect(await detailOf(response)).toContain(words);
    expect(api.coordinators.of("setWeights")).toEqual([]);
  });

  it("refuses a release named twice", async () => {
    expect(await detailOf(await put({ v1: 50, [v1]: 50 }))).toContain("named twice");
  });

  it("refuses more than all and less than nothing as invalid input", async () => {
    expect(await problemOf(await put({ v1: 101, v2: -1 }))).toBe("400 invalid_request");
  });

  it("passes on that a release is dead", async () => {
    api.coordinators.refusal = { code: "release_not_serving", detail: "v0 has no ready instance" };
    expect(await problemOf(await put({ v0: 100 }))).toBe("409 release_not_serving");
  });

  it("honours If-Match: a decision on an old state changes nothing", async () => {
    const etag = (await api.get(ENVIRONMENT)).headers.get("etag") ?? "";
    expect((await put({ v1: 100 }, { "if-match": etag })).status).toBe(200);
    await api.apply("shop", world.manifest("shop", "    replicas: 2\n"));
    const stale = await put({ v2: 100 }, { "if-match": etag });
    expect(await problemOf(stale)).toBe("412 precondition_failed");
    expect(api.coordinators.of("setWeights")).toHaveLength(1);
    expect((await put({ v2: 100 }, { "if-match": "*" })).status).toBe(200);
    const asked = api.coordinators
      .of("setWeights")
      .map(({ input }) => (input as { seenRev: unknown }).seenRev);
    expect(asked).toEqual([expect.any(Number), null]);
  });
});
