import { env } from "cloudflare:workers";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { sweep } from "../../../src/control/sweep.ts";
import { LIMITS } from "../../support/limits.ts";
import { Stage } from "../support/stage.ts";
import { withinConnections, withinD1Limits } from "../support/within-limits.ts";

const SMOKE = Array.from({ length: 10 }, (_, n) => ({ path: `/check-${n}`, status: 200 }));
let stage: Stage;
let network: ReturnType<typeof withinConnections>;
beforeEach(async () => {
  network = withinConnections(async () => {
    // All that are asked at once have begun by then.
    for (let n = 0; n < 50; n++) await null;
    return new Response("ok");
  });
  vi.stubGlobal("fetch", network.fetch);
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
    expect(network.most()).toBeGreaterThan(1);
    expect(network.most()).toBeLessThanOrEqual(LIMITS.fetch.connections);
  });

  it("a sweep is one invocation", async () => {
    await stage.deploy();
    const limits = withinD1Limits(env.DB);
    expect(await sweep({ ...env, DB: limits.DB }, Date.now())).toMatchObject({ failed: 0 });
    expect(limits.most()).toBeLessThanOrEqual(30);
  });
});
