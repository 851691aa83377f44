import { eq } from "drizzle-orm";
import { beforeEach, describe, expect, it } from "vitest";
import { environments } from "../../../src/control/store/schema/environments.ts";
import { verdicts } from "../../../src/control/store/schema/releases.ts";
import { compileRoute } from "../../../src/domain/routing/choose.ts";
import { parsePreviewToken } from "../../../src/domain/routing/preview.ts";
import { openPreview } from "../../../src/edge/preview.ts";
import { environmentSchema } from "../../../src/protocol/api/environments.ts";
import { previewSchema } from "../../../src/protocol/api/previews/pass.ts";
import { type ReleaseView, releaseSchema } from "../../../src/protocol/api/releases.ts";
import { pageOf } from "../../../src/protocol/api/scalars.ts";
import { replaySchema, verdictSchema } from "../../../src/protocol/api/verdicts.ts";
import { releaseOf, tableOf } from "../../support/tables.ts";
import { Api, problemOf } from "../support/api.ts";
import * as world from "../support/world.ts";

const ENVIRONMENT = "/api/v1/apps/shop/envs/production";
const CANARY =
  "    strategy: { canary: { steps: [{ weight: 10, bake: 15m }, { pause: {} }, { weight: 100 }] } }\n";
let api: Api;
let environmentId: string;

beforeEach(async () => {
  await world.emptyWorld();
  api = new Api();
  await api.apply("shop", world.manifest("shop", CANARY));
  environmentId = (await world.db.select().from(environments).get())?.id ?? expect.fail("nothing applied");
});

const shifting = (row: Parameters<typeof world.release>[1] = {}) =>
  world.release(environmentId, {
    version: "v2",
    state: "shifting",
    startedAt: api.time,
    weightBp: 1_000,
    stepIndex: 0,
    stepSince: api.time,
    ...row,
  });
const viewOf = async (id: string): Promise<ReleaseView> =>
  releaseSchema.parse(await (await api.get(`/api/v1/releases/${id}`)).json());
const commands = ({ next }: { next: readonly { command: string }[] }) => next.map(({ command }) => command);

describe("steering a release", () => {
  it.each([
    ["promote", { step: 0, full: true }, { step: 0, full: true }],
    ["promote", {}, { step: null, full: false }],
    ["pause", { step: 2 }, { step: 2 }],
    ["resume", {}, { step: null }],
  ])("%s asks the coordinator with the step that was seen", async (verb, body, input) => {
    const id = await shifting();
    const response = await api.post(`/api/v1/releases/${id}/${verb}`, body);
    expect(response.status).toBe(200);
    expect(releaseSchema.parse(await response.json()).id).toBe(id);
    expect(api.coordinators.of(verb)).toEqual([
      { environment: environmentId, what: verb, input: { release: id, actor: "admin", ...input } },
    ]);
  });

  it("names the step it meant when that is over, and what to do", async () => {
    const id = await shifting();
    api.coordinators.refusal = { code: "stale_step", detail: "v2 is in step 2 of 3, not in step 1 any more" };
    const response = await api.post(`/api/v1/releases/${id}/promote`, { step: 0 });
    expect(await problemOf(response)).toBe("409 stale_step");
    const problem = await response.json<{ detail: string; next: { command: string }[] }>();
    expect(problem.detail).toContain("not in step 1 any more");
    expect(commands(problem)).toEqual(["sluice status"]);
  });

  it("takes a deployer of that app, not a viewer and not a deployer of another", async () => {
    const id = await shifting();
    const promote = async (role: string, scope = {}) =>
      (await api.post(`/api/v1/releases/${id}/promote`, {}, { token: await api.token(role, scope) })).status;
    expect(await promote("viewer")).toBe(403);
    expect(await promote("deployer", { app: "blog" })).toBe(403);
    expect(await promote("deployer", { app: "shop", environment: "production" })).toBe(200);
    expect(api.coordinators.of("promote")).toHaveLength(1);
  });

  it("refuses a step that is no step, and a release that isn't there", async () => {
    const id = await shifting();
    expect(await problemOf(await api.post(`/api/v1/releases/${id}/promote`, { step: -2 }))).toBe(
      "400 invalid_request",
    );
    expect(await problemOf(await api.post(`/api/v1/releases/${id}/pause`, { setp: 1 }))).toBe(
      "400 invalid_request",
    );
    expect(await problemOf(await api.post("/api/v1/releases/rel_none/resume", {}))).toBe("404 not_found");
  });

  it("hands a hold and an override to the coordinator", async () => {
    api.coordinators.release = ({ version }, environment) =>
      world.release(environment, { state: "queued", version: version ?? "v1" });
    await api.post(`${ENVIRONMENT}/releases`, { hold: true, override: true });
    await api.post(`${ENVIRONMENT}/releases`, { version: "v2" });
    expect(api.coordinators.of("createRelease").map(({ input }) => input)).toMatchObject([
      { hold: true, override: true },
      { hold: false, override: false },
    ]);
  });
});

describe("a release on its way tells", () => {
  it("its step in words, and since when", async () => {
    const view = await viewOf(await shifting());
    const since = new Date(api.time).toISOString();
    expect(view.step).toEqual({ index: 0, of: 3, label: "10 % for 15 m", since });
    expect(view.paused).toBeNull();
    expect(commands(view)).toEqual([`sluice watch ${view.id}`, `sluice abort ${view.id}`]);
  });

  it("that it waits for a person, why, and the words to say; with the step, so that a late word does no harm", async () => {
    const paused = { at: api.time, by: "sluice", reason: "waits to be promoted", until: null };
    const id = await shifting({ stepIndex: 1, paused });
    const view = await viewOf(id);
    expect(view.paused).toEqual({ ...paused, at: new Date(api.time).toISOString() });
    expect(commands(view)).toEqual([`sluice promote ${id} --step 2`, `sluice abort ${id}`]);
    const environment = environmentSchema.parse(await (await api.get(ENVIRONMENT)).json());
    expect(commands(environment)).toEqual(commands(view));
  });

  it("that a person's own pause can be resumed", async () => {
    const id = await shifting({ paused: { at: 1, by: "token:anna", reason: "lunch", until: null } });
    expect(commands(await viewOf(id))).toContain(`sluice resume ${id}`);
  });

  it("the judge's last word: the coordinator's while it runs, the stored one when it is over", async () => {
    const id = await shifting();
    const said = { verdict: "continue", reason: "low-traffic", words: "not enough data yet" };
    await judged(id, { window: 10_000, words: "an older word" });
    expect((await viewOf(id)).verdict).toMatchObject({ words: "an older word" });
    api.coordinators.view = { ...api.coordinators.view, verdict: { release: id, ...said, at: api.time } };
    expect((await viewOf(id)).verdict).toEqual({ ...said, at: new Date(api.time).toISOString() });
  });

  it("that a rollback takes the canary's traffic at once", async () => {
    const stable = await world.release(environmentId, {
      version: "v1",
      weightBp: 9_000,
      servingAt: 1,
      createdAt: 1,
    });
    await world.db.update(environments).set({ stableReleaseId: stable });
    await shifting();
    const view = environmentSchema.parse(await (await api.get(ENVIRONMENT)).json());
    expect(view.rollback).toMatchObject({ possible: true, how: "instant", to: { version: "v1" } });
    expect(view.rollback.reason).toBe("v1 still serves, and takes back what v2 has");
  });

  it("that nothing older can serve once the contract migration is done", async () => {
    await world.release(environmentId, { version: "v1", state: "superseded", servingAt: 1, createdAt: 1 });
    const live = { version: "v2", weightBp: 10_000, servingAt: 2, contractedAt: 3 };
    const id = await world.release(environmentId, live);
    await world.db
      .update(environments)
      .set({ stableReleaseId: id })
      .where(eq(environments.id, environmentId));
    const environment = environmentSchema.parse(await (await api.get(ENVIRONMENT)).json());
    expect(environment.rollback).toMatchObject({
      possible: false,
      reason: expect.stringContaining("contract"),
    });
    expect(commands(environment)).toEqual(["sluice deploy -a shop -e production"]);
    expect(commands(await viewOf(id))).toEqual(["sluice deploy -a shop -e production"]);
  });
});

async function judged(releaseId: string, row: Partial<typeof verdicts.$inferInsert> = {}) {
  const usual = {
    window: 1_790_000_000_000,
    at: 1_790_000_012_000,
    verdict: "continue",
    reason: "low-traffic",
  };
  const numbers = { limits: { minRequests: 30 }, rollout: { canary: { requests: 7 } } };
  await world.db
    .insert(verdicts)
    .values({ releaseId, ...usual, words: "not enough data yet", numbers, ...row });
}

describe("verdicts", () => {
  it("are listed newest first with every number, in pages that overlap nowhere", async () => {
    const id = await shifting();
    const other = await world.release(environmentId, { version: "v0" });
    await judged(other, { window: 999 });
    for (const window of [10_000, 30_000, 20_000]) await judged(id, { window });
    const page = async (query: string) =>
      pageOf(verdictSchema).parse(
        await (await api.get(`/api/v1/releases/${id}/verdicts?limit=2${query}`)).json(),
      );
    const first = await page("");
    expect(first.items.map(({ window }) => Date.parse(window))).toEqual([30_000, 20_000]);
    expect(first.items[0]?.numbers).toEqual({
      limits: { minRequests: 30 },
      rollout: { canary: { requests: 7 } },
    });
    const second = await page(`&cursor=${first.nextCursor}`);
    expect(second.items.map(({ window }) => Date.parse(window))).toEqual([10_000]);
    expect(second.nextCursor).toBeNull();
  });

  it("are none for a release that was never judged, and a foreign cursor is refused", async () => {
    const id = await shifting();
    expect(await (await api.get(`/api/v1/releases/${id}/verdicts`)).json()).toEqual({
      items: [],
      nextCursor: null,
    });
    const odd = await api.get(`/api/v1/releases/${id}/verdicts?cursor=${btoa("rel_1 x")}`);
    expect(await problemOf(odd)).toBe("400 invalid_request");
  });
});

describe("a release judged again", () => {
  const kept = (n: number, errors: number, bucket: number) => ({
    ...{ n, errors, distinctErrors: errors },
    hist: [[bucket, n - errors] as const],
  });
  const replayed = async (id: string, query = "") =>
    replaySchema.parse(await (await api.get(`/api/v1/releases/${id}/replay${query}`)).json());

  it("comes out by today's limits, or by others, from the counts that were kept", async () => {
    const id = await shifting();
    for (let k = 1; k <= 30; k++)
      await judged(id, {
        window: k * 10_000,
        counted: { canary: kept(200, 1, 51), baseline: kept(1_800, 9, 50) },
      });
    const today = await replayed(id);
    expect(today).toMatchObject({
      kept: 30,
      windows: 30,
      was: { verdict: "continue" },
      now: { verdict: "pass" },
    });
    expect(today.provenAfter).toBeGreaterThan(0);
    const strict = await replayed(id, "?p95MaxMs=80");
    expect(strict.now).toMatchObject({
      verdict: "rollback",
      words: expect.stringContaining("limit of 80 ms"),
    });
    expect(strict.windows).toBeLessThan(30);
  });

  it("says again what answers differed in, as far as it was known then, and calls the release by its name", async () => {
    const id = await shifting();
    const differing = (canary: number) => {
      const field = { route: "GET /cart", field: "$.total", answers: 40, canary, stable: 0 };
      return { numbers: { differing: { named: [field], more: 0 } } };
    };
    for (let k = 1; k <= 4; k++)
      await judged(id, {
        window: k * 10_000,
        words: "…; v2 answers otherwise than stable: GET /cart $.total in 40 of 40 (stable with itself 0)",
        counted: { canary: kept(200, 1, 51), baseline: kept(1_800, 9, 50) },
        ...differing(10 * k),
      });
    expect((await replayed(id)).now?.words).toMatch(
      /; v2 answers otherwise than stable: GET \/cart \$\.total in 40 of 40 \(stable with itself 0\);/,
    );
    const strict = await replayed(id, "?p95MaxMs=80");
    expect(strict).toMatchObject({ windows: 1, now: { verdict: "rollback" } });
    expect(strict.now?.words).toContain("$.total in 10 of 40 (stable with itself 0)");
  });

  it("is nothing where no counts were kept, and refuses limits that are none", async () => {
    const id = await shifting();
    await judged(id);
    expect(await replayed(id)).toMatchObject({ kept: 0, now: null });
    expect(await problemOf(await api.get(`/api/v1/releases/${id}/replay?errorRateMax=7`))).toBe(
      "400 invalid_request",
    );
  });
});

describe("a preview pass", () => {
  async function reachable(): Promise<string> {
    const host = await world.enrolled(api);
    const releaseId = await shifting({ weightBp: 0 });
    await world.instance({ environmentId, releaseId, host, slot: 0 });
    return releaseId;
  }

  it("comes as a header and as a cookie, for an hour", async () => {
    const id = await reachable();
    const response = await api.post(`/api/v1/releases/${id}/preview`, {});
    expect(response.status).toBe(201);
    const pass = previewSchema.parse(await response.json());
    const token = parsePreviewToken(pass.header.value) ?? expect.fail("no token");
    expect(pass).toMatchObject({
      release: id,
      url: "https://shop.example.com/",
      header: { name: "X-Sluice-Preview" },
      cookie: `__Host-sluice_preview=${pass.header.value}`,
    });
    expect(token).toMatchObject({ target: id, expiresAtS: api.time / 1_000 + 3_600 });
  });

  it("opens at the edge what it names, on its own hostname, until it expires", async () => {
    const id = await reachable();
    api.time = Date.now();
    const response = await api.post(`/api/v1/releases/${id}/preview`, { expiresInMinutes: 5 });
    const { value } = previewSchema.parse(await response.json()).header;
    const { previewKey = "" } = (await world.db.select().from(environments).get()) ?? {};
    const route = compileRoute(
      tableOf([], { previewKey, releases: [releaseOf(id, 0, ["http://a.test"])], stable: null }),
      null,
    );
    expect(await openPreview(route, "shop.example.com", value)).toMatchObject({
      ok: true,
      value: { release: { id } },
    });
    expect((await openPreview(route, "blog.example.com", value)).ok).toBe(false);
    expect((await openPreview(route, "shop.example.com", value.replace(id, "rel_other"))).ok).toBe(false);
    api.time -= 3_600_000;
    const old = await api.post(`/api/v1/releases/${id}/preview`, { expiresInMinutes: 5 });
    const past = previewSchema.parse(await old.json()).header.value;
    expect(await openPreview(route, "shop.example.com", past)).toMatchObject({
      ok: false,
      error: expect.stringContaining("expired"),
    });
  });

  it("lives as long as asked, for the hostname that was asked", async () => {
    const id = await reachable();
    const short = await api.post(`/api/v1/releases/${id}/preview`, { expiresInMinutes: 5 });
    expect(previewSchema.parse(await short.json()).expiresAt).toBe(
      new Date(api.time + 300_000).toISOString(),
    );
    const foreign = await api.post(`/api/v1/releases/${id}/preview`, { hostname: "evil.example.com" });
    expect(await problemOf(foreign)).toBe("400 invalid_request");
  });

  it("is refused for a release of which nothing runs, and to a viewer", async () => {
    const id = await shifting();
    expect(await problemOf(await api.post(`/api/v1/releases/${id}/preview`, {}))).toBe(
      "409 release_not_serving",
    );
    const token = await api.token("viewer");
    expect(await problemOf(await api.post(`/api/v1/releases/${id}/preview`, {}, { token }))).toBe(
      "403 forbidden",
    );
  });
});

describe("a lock", () => {
  it("is set with its reason and end, and ended, by whoever may release", async () => {
    const token = await api.token("deployer", { app: "shop" });
    const set = await api.put(
      `${ENVIRONMENT}/lock`,
      { reason: "audit week", expiresInMinutes: 120 },
      { token },
    );
    expect(set.status).toBe(200);
    expect(environmentSchema.parse(await set.json()).environment).toBe("production");
    expect((await api.delete(`${ENVIRONMENT}/lock`, { token })).status).toBe(200);
    expect(api.coordinators.of("lock")).toMatchObject([
      { input: { actor: "token:deployer-token", reason: "audit week", expiresAt: api.time + 7_200_000 } },
    ]);
    expect(api.coordinators.of("unlock")).toMatchObject([{ input: { actor: "token:deployer-token" } }]);
  });

  it("needs a reason, a role, and that nobody else holds one", async () => {
    expect(await problemOf(await api.put(`${ENVIRONMENT}/lock`, {}))).toBe("400 invalid_request");
    const token = await api.token("viewer");
    expect(await problemOf(await api.put(`${ENVIRONMENT}/lock`, { reason: "x" }, { token }))).toBe(
      "403 forbidden",
    );
    api.coordinators.refusal = { code: "locked", detail: "locked by token:anna" };
    const refused = await api.put(`${ENVIRONMENT}/lock`, { reason: "x" });
    expect(await problemOf(refused)).toBe("423 locked");
    expect(commands(await refused.json<{ next: { command: string }[] }>())).toEqual(["sluice unlock"]);
  });
});

describe("maintenance", () => {
  it.each([
    [{}, { kind: "maintenance", retryAfterS: 120, message: null }],
    [
      { message: "back at nine", retryAfterS: 600 },
      { kind: "maintenance", retryAfterS: 600, message: "back at nine" },
    ],
    [{ mode: "pause" }, { kind: "paused", until: 1_790_000_030_000 }],
  ])("%j sets what the edge does", async (body, mode) => {
    expect((await api.put(`${ENVIRONMENT}/maintenance`, body)).status).toBe(200);
    expect(api.coordinators.of("setMode")).toMatchObject([{ input: { actor: "admin", mode } }]);
  });

  it("ends, and until then status says so with the way out", async () => {
    const mode = { kind: "maintenance", retryAfterS: 60, message: null } as const;
    await world.db.update(environments).set({ mode });
    const view = environmentSchema.parse(await (await api.get(ENVIRONMENT)).json());
    expect(view.mode).toBe("maintenance");
    expect(commands(view)[0]).toBe("sluice maintenance off -a shop -e production");
    expect((await api.delete(`${ENVIRONMENT}/maintenance`)).status).toBe(200);
    expect(api.coordinators.of("setMode")).toMatchObject([{ input: { mode: { kind: "open" } } }]);
  });
});
