import { env } from "cloudflare:workers";
import { beforeEach, describe, expect, it } from "vitest";
import { outbox } from "../../../src/control/store/schema/outbox.ts";
import { sweep } from "../../../src/control/sweep.ts";
import { Api } from "../support/api.ts";
import { countQueries } from "../support/count-queries.ts";
import * as world from "../support/world.ts";

let api: Api;
let ids: string[];
let host: Awaited<ReturnType<typeof world.enrolled>>;
beforeEach(async () => {
  await world.emptyWorld();
  api = new Api();
  host = await world.enrolled(api, "web-1", 20);
  ids = [];
  for (const app of ["a", "b", "c", "d", "e", "f", "g", "h"]) ids.push(await world.applied(api, app));
  api.coordinators.asked.length = 0;
});
const at = (i: number) => ids[i] ?? "";

describe("the sweep of each minute", () => {
  it("pokes exactly the environments that have something due", async () => {
    const now = api.time;
    await world.release(at(0), { state: "starting" });
    const served = { state: "superseded", endedAt: 1 } as const;
    const drained = await world.release(at(1), served);
    await world.instance(
      { environmentId: at(1), releaseId: drained, host, slot: 0 },
      { drainUntil: now - 1 },
    );
    const kept = await world.release(at(2), { ...served, warmUntil: now });
    await world.instance({ environmentId: at(2), releaseId: kept, host, slot: 1 }, { state: "warm" });
    const row = { kind: "wake", payload: {}, attempts: 0, createdAt: now, nextAttemptAt: now } as const;
    await world.db.insert(outbox).values({ ...row, environmentId: at(3) });
    const done = await world.release(at(4), served);
    await world.job({ environmentId: at(4), releaseId: done, host }, { deadlineAt: now });
    // A release that was live once ended then: rolling back, it is on its way again.
    const bad = await world.release(at(5), { state: "rolling_back", endedAt: 1 });
    await world.instance({ environmentId: at(5), releaseId: bad, host, slot: 3 });
    // Nothing is due in these two: one serves in peace, one is empty.
    const live = await world.release(at(6), { weightBp: 10_000 });
    await world.instance({ environmentId: at(6), releaseId: live, host, slot: 2 }, { drainUntil: null });

    expect(await sweep(api.env, now)).toEqual({ poked: 6, failed: 0 });
    const poked = api.coordinators.of("poke").map(({ environment }) => environment);
    expect(poked.sort()).toEqual(ids.slice(0, 6).sort());
  });

  it("pokes those whose live release is watched, or is to have an instance replaced: an alarm may be lost", async () => {
    const now = api.time;
    const serve = (i: number, row = {}) => world.release(at(i), { weightBp: 10_000, ...row });
    await serve(0);
    const kept = { state: "superseded", endedAt: 1, warmUntil: now + 600_000, version: "v0" } as const;
    const warm = await world.release(at(0), kept);
    await world.instance({ environmentId: at(0), releaseId: warm, host, slot: 0 }, { state: "warm" });
    await serve(1, { replacing: { tries: 2, at: now } });
    await serve(2, { failure: { code: "instances_lost", message: "all are lost", logs: [] } });
    await serve(3);
    expect(await sweep(api.env, now)).toEqual({ poked: 3, failed: 0 });
  });

  it("goes on to the others when one coordinator fails", async () => {
    await world.release(at(0), { state: "starting" });
    await world.release(at(1), { state: "shifting" });
    const poked: string[] = [];
    const getByName = (id: string) => ({
      poke: async () => {
        poked.push(id);
        if (id === at(0)) throw new Error("broken");
      },
    });
    const COORDINATOR = { getByName } as unknown as typeof env.COORDINATOR;
    expect(await sweep({ ...api.env, COORDINATOR }, api.time)).toEqual({ poked: 2, failed: 1 });
    expect(poked.sort()).toEqual([at(0), at(1)].sort());
  });

  it("finds out in a few queries that nothing is due", async () => {
    const { counted, DB } = countQueries(env.DB);
    await sweep({ ...api.env, DB }, api.time);
    // What is due; what is to end, and what has; one for each thing that expires; and what two environments no longer keep.
    // An invocation has 50 on the Free plan.
    expect(counted.queries).toBeLessThanOrEqual(20);
    expect(api.coordinators.asked).toEqual([]);
  });
});
