import { eq } from "drizzle-orm";
import { beforeEach, describe, expect, it } from "vitest";
import { loadEnvironment } from "../../../src/control/store/environments.ts";
import { environments } from "../../../src/control/store/schema/environments.ts";
import { environmentSchema } from "../../../src/protocol/api/environments.ts";
import { movePlanSchema } from "../../../src/protocol/api/plans.ts";
import { Api } from "../support/api.ts";
import { applied, db, emptyWorld, enrolled, instance, manifest, release } from "../support/world.ts";

let api: Api;
beforeEach(async () => {
  await emptyWorld();
  api = new Api();
});

describe("status", () => {
  it("tells what serves, with which share, on which instances, and what a rollback would do", async () => {
    const environmentId = await applied(api);
    const host = await enrolled(api);
    const old = await release(environmentId, {
      version: "v1",
      state: "superseded",
      servingAt: api.time - 60_000,
      warmUntil: api.time + 60_000,
      createdAt: api.time - 90_000,
    });
    const live = await release(environmentId, {
      version: "v2",
      weightBp: 10_000,
      servingAt: api.time - 1_000,
    });
    await db.update(environments).set({ stableReleaseId: live }).where(eq(environments.id, environmentId));
    await instance({ environmentId, releaseId: old, host, slot: 0 }, { state: "warm" });
    await instance({ environmentId, releaseId: live, host, slot: 1 });
    const since = api.time - 5_000;
    api.coordinators.view = {
      table: { version: 3, publishedAt: since },
      traffic: {},
      verdict: null,
      windows: [],
    };
    const view = environmentSchema.parse(await (await api.get("/api/v1/apps/shop/envs/production")).json());
    expect(view.split).toEqual([{ release: live, version: "v2", weight: 100, ready: 1, instances: 1 }]);
    expect(view.live?.id).toBe(live);
    expect(view.active).toBeNull();
    expect(view.instances.map(({ host, slot, state, ready }) => [host, slot, state, ready])).toEqual([
      ["web-1", 0, "warm", true],
      ["web-1", 1, "serving", true],
    ]);
    expect(view.lock).toBeNull();
    expect(view.table.version).toBe(3);
    expect(view.rollback).toMatchObject({
      possible: true,
      how: "instant",
      to: { release: old, version: "v1" },
    });
  });

  it("tells of the newest release that it went back, and why, when nothing of it runs any more", async () => {
    const environmentId = await applied(api);
    const old = { version: "v1", weightBp: 10_000, servingAt: api.time, createdAt: api.time };
    const live = await release(environmentId, old);
    await db.update(environments).set({ stableReleaseId: live }).where(eq(environments.id, environmentId));
    const failure = { code: "instances_lost", message: "it ended 2 times", logs: [] };
    const path = "/api/v1/apps/shop/envs/production";
    const told = async () => environmentSchema.parse(await (await api.get(path)).json()).lastFailed;
    expect(await told()).toBeNull();
    const gone = { state: "rolled_back", failure, endedAt: api.time + 9, createdAt: api.time + 1 } as const;
    await release(environmentId, { version: "v2", ...gone });
    expect(await told()).toMatchObject({ version: "v2", failure: { message: "it ended 2 times" } });
    await release(environmentId, { version: "v3", state: "queued", createdAt: api.time + 2 });
    expect(await told()).toBeNull();
  });

  it("keeps the rollback's target in view past any number of releases that never served", async () => {
    const environmentId = await applied(api);
    const at = (n: number) => api.time - 90_000 + n * 1_000;
    const old = {
      version: "v1",
      state: "superseded",
      servingAt: at(0),
      endedAt: at(2),
      createdAt: at(0),
    } as const;
    await release(environmentId, old);
    const live = await release(environmentId, {
      version: "v2",
      weightBp: 10_000,
      servingAt: at(1),
      createdAt: at(1),
    });
    await db.update(environments).set({ stableReleaseId: live }).where(eq(environments.id, environmentId));
    for (let n = 3; n < 60; n++) {
      const more = { version: `v${n}`, state: "superseded", endedAt: at(n), createdAt: at(n) } as const;
      await release(environmentId, more);
    }
    const loaded = await loadEnvironment(db, environmentId);
    expect(loaded?.facts.releases.map(({ version }) => version)).toContain("v1");
    const path = "/api/v1/apps/shop/envs/production";
    const view = environmentSchema.parse(await (await api.get(path)).json());
    const plan = movePlanSchema.parse(await (await api.get(`${path}/plan/rollback`)).json());
    expect(view.rollback).toMatchObject({ possible: true, to: { version: "v1" }, from: { version: "v2" } });
    expect(plan).toMatchObject({
      possible: true,
      says: [expect.stringContaining("v1 is not warm any more")],
    });
    const named = await loadEnvironment(db, environmentId, { named: "v5" });
    expect(named?.facts.releases.map(({ version }) => version)).toContain("v5");
  });

  it("says restart when nothing of the old release is warm, and why not when there is none", async () => {
    const environmentId = await applied(api);
    const path = "/api/v1/apps/shop/envs/production";
    const view = async () => environmentSchema.parse(await (await api.get(path)).json());
    expect((await view()).rollback).toMatchObject({ possible: false, how: null, to: null });
    await release(environmentId, { version: "v1", state: "superseded", servingAt: 1, createdAt: 1 });
    const live = await release(environmentId, { version: "v2", weightBp: 10_000, servingAt: 2 });
    await db.update(environments).set({ stableReleaseId: live }).where(eq(environments.id, environmentId));
    expect((await view()).rollback).toMatchObject({ possible: true, how: "restart", to: { version: "v1" } });
  });

  it("says of a rollback what its plan says, also while the last one drains", async () => {
    const environmentId = await applied(api);
    const path = "/api/v1/apps/shop/envs/production";
    await release(environmentId, { version: "v1", state: "superseded", servingAt: 1, createdAt: 1 });
    const live = await release(environmentId, {
      version: "v2",
      weightBp: 10_000,
      servingAt: 2,
      createdAt: 2,
    });
    const since = Date.now() - 1_000;
    const gone = {
      version: "v3",
      state: "rolling_back",
      servingAt: 3,
      createdAt: 3,
      stateSince: since,
    } as const;
    await release(environmentId, gone);
    await db.update(environments).set({ stableReleaseId: live }).where(eq(environments.id, environmentId));
    const view = environmentSchema.parse(await (await api.get(path)).json());
    const plan = movePlanSchema.parse(await (await api.get(`${path}/plan/rollback`)).json());
    // What the command answers then: test/domain/commands/moves.test.ts.
    expect(view.rollback.reason).toMatch(/v3 is rolling back already, and v2 serves/);
    expect(view.rollback).toMatchObject({ possible: false, to: null });
    expect(plan).toMatchObject({ possible: false, refusal: { detail: view.rollback.reason } });
  });

  it("has an ETag that changes with a decision and not with an agent's report", async () => {
    const environmentId = await applied(api);
    const host = await enrolled(api);
    const id = await instance({ environmentId, releaseId: await release(environmentId), host, slot: 0 });
    const etag = async () => (await api.get("/api/v1/apps/shop/envs/production")).headers.get("etag");
    const first = await etag();
    expect(first).toBe(`"${environmentId}-1"`);
    const reports = [{ instance: id, seq: 1, state: "unready", at: api.time }];
    expect((await api.post("/agent/v1/health", { reports }, { token: host.token })).status).toBe(200);
    expect(await etag()).toBe(first);
    await api.apply("shop", manifest("shop", "    replicas: 2\n"));
    expect(await etag()).toBe(`"${environmentId}-2"`);
  });

  it("pages apps by name", async () => {
    for (const app of ["a", "b", "c"]) await applied(api, app);
    const page = async (query: string) =>
      (await api.get(`/api/v1/apps?limit=2${query}`)).json<{
        items: { app: string }[];
        nextCursor: string | null;
      }>();
    const first = await page("");
    expect(first.items.map(({ app }) => app)).toEqual(["a", "b"]);
    const second = await page(`&cursor=${first.nextCursor}`);
    expect(second.items.map(({ app }) => app)).toEqual(["c"]);
    expect(second.nextCursor).toBeNull();
  });
});
