import { beforeEach, describe, expect, it } from "vitest";
import { environments } from "../../../src/control/store/schema/environments.ts";
import { tokens } from "../../../src/control/store/schema/tokens.ts";
import { Api } from "../support/api.ts";
import { applied, db, emptyWorld, enrolled, instance, job, manifest, release } from "../support/world.ts";

let api: Api;
beforeEach(async () => {
  await emptyWorld();
  api = new Api();
});
const destroy = (path: string, confirm?: string) =>
  api.delete(`${path}${confirm === undefined ? "" : `?confirm=${encodeURIComponent(confirm)}`}`);
const problem = async (response: Response) => {
  const { code, detail } = await response.json<{ code: string; detail: string }>();
  return { status: response.status, code, detail };
};

describe("destroying by the API", () => {
  it("wants the name of what goes, and tells the coordinator once it has it", async () => {
    const id = await applied(api);
    const path = "/api/v1/apps/shop/envs/production";
    expect(await problem(await destroy(path))).toMatchObject({ status: 400, code: "invalid_request" });
    expect((await problem(await destroy(path, "shop"))).detail).toContain("confirm=shop/production");
    api.coordinators.asked.length = 0;
    const answer = await destroy(path, "shop/production");
    expect(answer.status).toBe(202);
    expect(await answer.json()).toMatchObject({ app: "shop", environment: "production", waitsFor: [] });
    expect(api.coordinators.asked).toMatchObject([{ environment: id, what: "destroy" }]);
  });

  it("says what it waits for: instances, workers, and what runs to its end", async () => {
    const host = await enrolled(api);
    const environmentId = await applied(api);
    const at = { environmentId, releaseId: await release(environmentId), host };
    await instance({ ...at, slot: 0 });
    await instance({ ...at, slot: 0 }, { slotId: null, process: "mailer", state: "ready" });
    await job(at, { kind: "run", state: "leased", payload: { hook: "expand" } });
    const answer = await destroy("/api/v1/apps/shop/envs/production", "shop/production");
    expect((await answer.json<{ waitsFor: string[] }>()).waitsFor).toEqual([
      "production: 1 instance on web-1",
      "production: mailer on web-1",
      "production: expand, which runs on web-1",
    ]);
  });

  it("is an administrator's alone", async () => {
    await applied(api);
    const made = await api.post("/api/v1/tokens", { name: "ci", role: "deployer", app: "shop" });
    const { token } = await made.json<{ token: string }>();
    const path = "/api/v1/apps/shop/envs/production?confirm=shop/production";
    expect((await api.delete(path, { token })).status).toBe(403);
    expect((await db.select().from(tokens)).length).toBeGreaterThan(0);
  });

  it("ends an app with all of its environments, and lets nothing be applied to it meanwhile", async () => {
    const id = await applied(api);
    expect((await destroy("/api/v1/apps/shop", "shop")).status).toBe(202);
    expect(api.coordinators.asked.filter(({ what }) => what === "destroy")).toMatchObject([
      { environment: id },
    ]);
    expect(await problem(await api.apply("shop", manifest("shop")))).toMatchObject({
      status: 409,
      code: "conflict",
    });
    // Said again it is the same end.
    expect((await destroy("/api/v1/apps/shop", "shop")).status).toBe(202);
  });

  it("says that there is nothing where there is nothing", async () => {
    expect(await problem(await destroy("/api/v1/apps/shop", "shop"))).toMatchObject({ status: 404 });
    await applied(api);
    expect(await problem(await destroy("/api/v1/apps/shop/envs/x", "shop/x"))).toMatchObject({ status: 404 });
  });

  it("keeps an environment that is on its way out from being applied, and the others not", async () => {
    const staging = "  staging:\n    hostnames: [staging.example.com]\n";
    await api.apply("shop", manifest("shop", staging));
    const [, row] = await db.select().from(environments);
    await db.update(environments).set({ ending: { at: 1, by: "admin" } });
    expect(row?.name).toBe("staging");
    expect(await problem(await api.apply("shop", manifest("shop", staging)))).toMatchObject({
      code: "conflict",
    });
  });
});
