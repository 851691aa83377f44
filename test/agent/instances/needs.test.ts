import { setImmediate } from "node:timers/promises";
import { expect, test } from "vitest";
import { awaitNeeds } from "../../../agent/instances/needs.ts";
import type { Accessories, Runtime } from "../../../agent/runtime/runtime.ts";
import { ManualClock } from "../manual-clock.ts";
import { healthOf, specOf } from "../specs.ts";

const needing = (lackOf: Accessories["lackOf"]) => {
  const clock = new ManualClock();
  const said: string[] = [];
  const spec = {
    ...specOf({ instance: "i", hostPort: 1, image: "x", health: healthOf({ deadlineMs: 5_000 }) }),
    needs: [{ name: "db", accessory: "shop_production_db" }],
  };
  const runtime = { accessories: { lackOf } } as unknown as Runtime; // Nothing else of it is asked.
  const never = new AbortController().signal;
  return {
    clock,
    said,
    wait: awaitNeeds({ spec, runtime, clock, signal: never, progress: (m) => said.push(m) }),
  };
};

/** Half seconds, and what is waited for beside the clock between them. */
async function pass(clock: ManualClock, halves: number): Promise<void> {
  for (let i = 0; i < halves; i++) {
    await setImmediate();
    await clock.advance(500);
  }
}

test("an app that needs an accessory starts once that is healthy, and says what it waits for", async () => {
  let looks = 0;
  const { clock, said, wait } = needing(async () => (++looks < 3 ? "does not run" : undefined));
  await pass(clock, 4);
  expect(await wait).toEqual({ ok: true, value: undefined });
  expect(said[0]).toBe("waiting for db, which does not run");
});

test("an accessory that never gets healthy fails the start by its name, and with what to do", async () => {
  const { clock, wait } = needing(async () => "is not healthy: no space left");
  await pass(clock, 12);
  expect(await wait).toMatchObject({
    ok: false,
    error: {
      code: "needs_unhealthy",
      message: expect.stringContaining("needs db, which is not healthy: no space left"),
    },
  });
});
