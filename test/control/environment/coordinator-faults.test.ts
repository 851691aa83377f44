import { env } from "cloudflare:workers";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { countQueries } from "../support/count-queries.ts";
import { Stage } from "../support/stage.ts";

let stage: Stage;
beforeEach(async () => {
  vi.stubGlobal("fetch", async () => new Response("ok"));
  vi.spyOn(console, "error").mockImplementation(() => {});
  stage = await Stage.open({ look: "warn" });
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
      timeout: 20_000,
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

describe("trips to D1", () => {
  const counting = async () => {
    const { counted, DB } = countQueries(env.DB);
    await stage.inside((coordinator) => coordinator.useDatabase(DB));
    return counted;
  };

  it("are one in a tick when nothing is due", async () => {
    await stage.deploy();
    const counted = await counting();
    await stage.coordinator.poke();
    expect(counted.queries).toBe(1);
  });

  it("are one for each step of a release, and one to begin with", async () => {
    await stage.deploy();
    const counted = await counting();
    const seen: [string, number][] = [];
    await stage.create();
    for (let turn = 0; (await stage.release("v2")).state !== "settling"; turn++) {
      expect(turn, "it comes to serve").toBeLessThan(20);
      await stage.work();
      const before = counted.queries;
      await stage.coordinator.poke();
      seen.push([(await stage.release("v2")).state, counted.queries - before]);
    }
    expect(counted.queries, JSON.stringify(seen)).toBeLessThanOrEqual(20);
  });

  it("are three of a rollback before its table is published", async () => {
    await stage.deploy();
    await stage.deploy();
    const counted = await counting();
    let atPublication = Number.NaN;
    await stage.inside((coordinator) => {
      coordinator.fault = (point) => {
        if (point === "published") atPublication = counted.queries;
      };
    });
    const done = await stage.coordinator.rollback({ to: null, actor: "ann" });
    expect(done).toMatchObject({ ok: true, value: { how: "instant" } });
    expect(atPublication).toBeLessThanOrEqual(3);
  });
});
