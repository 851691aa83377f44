import { abortAllDurableObjects } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { FaultPoint } from "../../../src/control/environment/loop.ts";
import { tableKey } from "../../../src/control/environment/publisher.ts";
import { outbox } from "../../../src/control/store/schema/outbox.ts";
import type { RoutingTable } from "../../../src/domain/routing/table.ts";
import { waitFor } from "../../support/patience.ts";
import { HOSTNAME, Stage } from "../support/stage.ts";

let stage: Stage;
beforeEach(async () => {
  vi.stubGlobal("fetch", async () => new Response("ok"));
  vi.spyOn(console, "error").mockImplementation(() => {});
  stage = await Stage.open();
  await stage.create();
  await stage.until("v1", "preparing");
});
afterEach(() => {
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
});

/** Hangs at the point for ever, and is then taken away: nothing that it would still have done is done. */
async function dieAt(point: FaultPoint): Promise<void> {
  const died = await stage.inside((coordinator) => ({
    at: new Promise<void>((resolve) => {
      coordinator.fault = (at) => {
        if (at !== point) return;
        resolve();
        return new Promise<void>(() => {});
      };
    }),
  }));
  await stage.work();
  stage.coordinator.poke().catch(() => "it died");
  await died.at;
  await abortAllDurableObjects();
}
const state = async () => (await stage.release("v1")).state;
const owed = async () => (await stage.db.select().from(outbox)).length;
const copied = () => env.TABLES.get<RoutingTable>(tableKey(HOSTNAME), "json");

/** The real alarm, at its real time, with nobody calling. */
const untilDone = (done: () => Promise<boolean>) => waitFor(async () => expect(await done()).toBe(true));

describe("the alarm that is armed before a write", () => {
  it("writes what was decided and not written", async () => {
    await dieAt("armed");
    expect(await state()).toBe("preparing");
    await untilDone(async () => (await state()) === "starting");
  });

  it("hands over what was written and not handed over", async () => {
    await dieAt("committed");
    expect([await state(), await owed()]).toEqual(["starting", 2]);
    await untilDone(async () => (await owed()) === 0);
  });

  it("copies what was published and not copied", async () => {
    await stage.until("v1", "starting");
    await dieAt("published");
    expect((await copied())?.version).not.toBe((await stage.table()).version);
    await untilDone(async () => (await copied())?.version === (await stage.table()).version);
  });

  it("wakes hosts again where that was not noted", async () => {
    await dieAt("woken");
    expect(await owed()).toBe(2);
    await untilDone(async () => (await owed()) === 0);
  });
});
