import { env } from "cloudflare:workers";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Api } from "../support/api.ts";
import { countQueries } from "../support/count-queries.ts";
import { Stage } from "../support/stage.ts";

let stage: Stage;
/** What control asks D1, a batch once: as many trips, one after another, as they are counted here. */
let { counted, DB } = countQueries(env.DB);
beforeEach(async () => {
  vi.stubGlobal("fetch", async () => new Response("ok"));
  stage = await Stage.open();
  ({ counted, DB } = countQueries(env.DB));
});
afterEach(() => void vi.unstubAllGlobals());

/** From now on, until the next table is published: how many of them. */
async function untilPublished(): Promise<() => number | undefined> {
  let published: number | undefined;
  counted.queries = 0;
  await stage.inside((coordinator) => {
    coordinator.useDatabase(DB);
    coordinator.fault = (point) => {
      if (point === "published") published ??= counted.queries;
    };
  });
  return () => published;
}

describe("trips to D1, one after another", () => {
  it("a rollback's table is out after three: whose it is, what is so, what is decided", async () => {
    await stage.deploy();
    await stage.deploy();
    const api = new Api({}, { DB, COORDINATOR: env.COORDINATOR });
    const published = await untilPublished();
    const answer = await api.post("/api/v1/apps/shop/envs/production/rollback", {});
    expect(await answer.json()).toMatchObject({ how: "instant" });
    expect((await stage.routed()).weights).toEqual({ v1: 10_000 });
    expect(published()).toBe(3);
  });

  it("a blue-green release's coordinator makes at most fourteen, from its creation to all traffic", async () => {
    await stage.deploy();
    await stage.inside((coordinator) => coordinator.useDatabase(DB));
    counted.queries = 0;
    await stage.create();
    await stage.until("v2", "settling");
    // The stage's own commands, by which it waits for the coordinator's turns, are loads too.
    expect(counted.queries - stage.waits).toBeLessThanOrEqual(14);
  });

  it("news that comes while others are read is read with them, and no news is lost", async () => {
    await stage.deploy();
    await stage.inside((coordinator) => coordinator.useDatabase(DB));
    counted.queries = 0;
    await Promise.all(Array.from({ length: 10 }, () => stage.coordinator.poke()));
    expect(counted.queries).toBeLessThanOrEqual(2);
    await stage.coordinator.poke();
    expect(counted.queries).toBeLessThanOrEqual(3);
  });
});
