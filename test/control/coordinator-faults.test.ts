import { runDurableObjectAlarm } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { FaultPoint } from "../../src/control/coordinator.ts";
import { countQueries } from "./support/count-queries.ts";
import { Stage } from "./support/stage.ts";

let stage: Stage;
beforeEach(async () => {
  vi.stubGlobal("fetch", async () => new Response("ok"));
  vi.spyOn(console, "error").mockImplementation(() => {});
  stage = await Stage.open();
});
afterEach(() => {
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
});

/** v1 serves; v2 is taken over to, with the process ending on the way. */
async function release(end: ReturnType<typeof endAt>): Promise<void> {
  await stage.deploy();
  const before = (await stage.routed()).version;
  await end.hurt();
  // The caller may get an error, or an answer; then it asks again with the same key.
  await stage.create({ requestKey: "k" }).catch(() => null);
  let [seen, replaced] = [before, false];
  for (let turn = 0; turn < 40; turn++) {
    const { version } = await stage.routed();
    expect(version, "the table never steps back").toBeGreaterThanOrEqual(seen);
    seen = version;
    if ((await stage.releases()).some(({ state, version: v }) => v === "v2" && state === "settling")) break;
    await stage.work();
    if (end.times() > 0 && !replaced) {
      await stage.kill();
      replaced = true;
      await stage.create({ requestKey: "k" });
    }
    await stage.inside(() => {});
    if (!(await runDurableObjectAlarm(stage.coordinator))) await stage.create({ requestKey: "k" });
  }
  await stage.inside((coordinator) => coordinator.poke());
}

/** Exactly what an undisturbed run leaves behind. */
async function expectWhole(): Promise<void> {
  const releases = await stage.releases();
  expect(releases.map(({ version, state }) => `${version} ${state}`)).toEqual([
    "v1 superseded",
    "v2 settling",
  ]);
  expect((await stage.routed()).weights).toEqual({ v2: 10_000 });
  const kinds = (await stage.jobs()).map(({ kind, releaseId }) => `${kind} ${releaseId === releases[1]?.id}`);
  expect(kinds.sort()).toEqual(
    ["pull false", "pull false", "pull true", "pull true", "start false", "start false"].concat([
      "start true",
      "start true",
    ]),
  );
  expect((await stage.instances()).map(({ state }) => state)).toEqual([
    "draining",
    "draining",
    "serving",
    "serving",
  ]);
}

/** The process ends at the n-th passing, and the next call meets a fresh one. */
function endAt(point: FaultPoint, nth: number) {
  let [passed, times] = [0, 0];
  const fault = (at: FaultPoint) => {
    if (at === point) passed += 1;
    if (passed < nth) return;
    times += 1;
    // Dead from here on: nothing more of this process reaches the world.
    throw new Error(`ended: ${point}`);
  };
  const hurt = () => stage.inside((coordinator) => void Object.assign(coordinator, { fault }));
  return { hurt, times: () => times };
}

describe("a coordinator that ends", () => {
  // Each write of a release passes these points; the n-th time is another state of it.
  const times: Readonly<Record<FaultPoint, number[]>> = {
    armed: [1, 3, 5],
    committed: [1, 2, 3, 4, 5, 6],
    published: [1, 2],
    woken: [1, 2],
  };
  const ways = (Object.keys(times) as FaultPoint[]).flatMap((point) =>
    times[point].map((nth) => [point, nth] as const),
  );
  it.each(ways)(
    "at %s, time %i, is taken up by its alarm with nothing lost or done twice",
    async (point, nth) => {
      const ended = endAt(point, nth);
      await release(ended);
      expect(ended.times(), `${point} is passed ${nth} times`).toBeGreaterThan(0);
      await expectWhole();
    },
  );

  it("with its alarm armed is woken by it, under its own name, with nobody asking", async () => {
    await stage.create();
    await stage.until("v1", "preparing");
    await stage.work();
    await stage.inside((_, state) => state.storage.setAlarm(Date.now() + 300));
    await stage.kill();
    const state = async () => (await stage.release("v1")).state;
    await vi.waitFor(async () => expect(await state()).not.toBe("preparing"), {
      timeout: 5_000,
      interval: 100,
    });
  });
});

describe("a D1 that fails", () => {
  const failing = (broken: () => boolean) =>
    new Proxy(env.DB, {
      get(target, key) {
        const value = Reflect.get(target, key);
        if (key !== "batch") return typeof value === "function" ? value.bind(target) : value;
        return (statements: D1PreparedStatement[]) => {
          // A statement in the middle that D1 refuses: what came before it must not stay.
          const bad = target.prepare("INSERT INTO no_such_table VALUES (1)");
          const half = Math.ceil(statements.length / 2);
          return target.batch(broken() ? [...statements.slice(0, half), bad] : statements);
        };
      },
    });

  it("in the middle of a batch leaves nothing half-written, and the release goes on when it is back", async () => {
    await stage.deploy();
    let broken = false;
    await stage.inside((coordinator) => coordinator.useDatabase(failing(() => broken)));
    await stage.create();
    await stage.until("v2", "starting");
    await stage.work();
    const rows = async () => [await stage.releases(), await stage.instances(), await stage.jobs()];
    const before = await rows();
    broken = true;
    await stage.coordinator.poke();
    expect(await rows()).toEqual(before);
    expect((await stage.routed()).weights).toEqual({ v1: 10_000 });
    broken = false;
    await stage.until("v2", "settling");
    await expectWhole();
  });
});

describe("what a tick costs", () => {
  it("is two round trips to D1 when nothing is due", async () => {
    await stage.deploy();
    const { counted, DB } = countQueries(env.DB);
    await stage.inside((coordinator) => coordinator.useDatabase(DB));
    await stage.coordinator.poke();
    expect(counted.queries).toBe(2);
  });
});
