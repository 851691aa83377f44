import { env } from "cloudflare:workers";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { countQueries } from "../support/count-queries.ts";
import { Stage } from "../support/stage.ts";

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

describe("a coordinator that ends", () => {
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
