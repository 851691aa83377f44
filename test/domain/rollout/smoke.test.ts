import { describe, expect, it } from "vitest";
import type { StrategySpec } from "../../../src/domain/spec.ts";
import { aCanary, aSpec } from "./spec.ts";
import { World } from "./world.ts";

const ROLLING = { kind: "rolling", maxSurge: { count: 1 }, maxUnavailable: { count: 0 } } as const;
const smoke = [{ path: "/", status: 200, contains: "Shop" }];
const failure = { code: "smoke_failed", message: "anna: GET /: answered 500, wanted 200", logs: [] };

function checked(strategy: StrategySpec, fails: "before" | "after"): World {
  const world = new World();
  world.spec = aSpec({ strategy });
  world.deploy();
  world.run();
  world.spec = aSpec({ strategy, smoke });
  world.agents = { ...world.agents, smoke: (_, when) => (when === fails ? failure : null) };
  return world;
}
const strategies = [{ kind: "blue-green" }, aCanary(), ROLLING] as const;

describe("a smoke check", () => {
  it.each(strategies)(
    "that fails before the switch ends the release without a visitor ($kind)",
    (strategy) => {
      const world = checked(strategy, "before");
      world.deploy();
      world.run();
      expect(["failed", "rolled_back"]).toContain(world.state("v2"));
      expect(world.release("v2").failure).toMatchObject({ code: "smoke_failed" });
      expect(world.tables.every(({ v2 = 0 }) => v2 === 0)).toBe(true);
      expect(world.statesOf("v1")).toEqual(["serving", "serving"]);
    },
  );

  it("that fails after the switch rolls back at once to what is warm", () => {
    const world = checked({ kind: "blue-green" }, "after");
    world.deploy();
    expect(world.weights()).toEqual({ v1: 10_000 });
    world.run();
    expect([world.state("v1"), world.state("v2")]).toEqual(["live", "rolled_back"]);
    expect(world.release("v2").failure).toMatchObject({ code: "smoke_failed" });
  });

  it("that fails after a rolling release brings the old instances back to their number", () => {
    const world = checked(ROLLING, "after");
    world.deploy();
    world.run();
    expect([world.state("v1"), world.state("v2")]).toEqual(["live", "rolled_back"]);
    expect(world.statesOf("v1").filter((state) => state === "serving")).toHaveLength(2);
  });

  it("that fails with nothing warm to go back to leaves the release, and says so", () => {
    const world = new World();
    world.spec = aSpec({ smoke });
    world.agents = { ...world.agents, smoke: (_, when) => (when === "after" ? failure : null) };
    world.deploy();
    world.run();
    expect([world.state("v1"), world.weights()]).toEqual(["live", { v1: 10_000 }]);
    expect(world.release("v1").failure).toMatchObject({ code: "smoke_failed" });
    expect(world.events.some(({ message }) => message.includes("nothing to roll back to"))).toBe(true);
  });

  it.each(["before", "after"] as const)(
    "that nobody answers (%s) is asked again, with a wake-up of its own",
    (when) => {
      const world = checked({ kind: "blue-green" }, "before");
      world.agents = { ...world.agents, smoke: (_, at) => (at === when ? undefined : null) };
      world.deploy();
      const wakeAt = world.settleNow();
      expect((wakeAt ?? Number.POSITIVE_INFINITY) - world.now).toBeLessThanOrEqual(15_000);
      world.agents = { ...world.agents, smoke: () => null };
      world.run();
      expect(world.state("v2")).toBe("live");
    },
  );

  it("that never answers before the switch ends with the deadline", () => {
    const world = checked({ kind: "blue-green" }, "before");
    world.agents = { ...world.agents, smoke: () => undefined };
    world.deploy();
    world.run(world.now + 61_000);
    expect(world.release("v2").failure).toMatchObject({ code: "deadline" });
  });

  it("is asked of a rollback by a new release too", () => {
    const world = checked({ kind: "blue-green" }, "after");
    world.agents = { ...world.agents, smoke: () => null };
    world.spec = { ...world.spec, keepMs: 0 };
    for (const _ of [1, 2]) {
      world.deploy();
      world.run();
    }
    const asked: string[] = [];
    const smoke = (_: unknown, when: string) => {
      asked.push(when);
      return null;
    };
    world.agents = { ...world.agents, smoke };
    world.rollback();
    world.run();
    expect(asked).toEqual(["before", "after"]);
  });
});

describe("a release that loses all its instances while it settles", () => {
  it("goes back to what is warm", () => {
    const world = new World();
    world.deploy();
    world.run();
    world.deploy();
    world.agents = { ...world.agents, probe: ({ releaseId }) => (releaseId === "rel-2" ? "530" : null) };
    world.run(world.now + 25_000);
    expect(world.weights()).toEqual({ v1: 10_000 });
    expect(world.release("v2").failure).toMatchObject({ code: "instances_lost" });
  });
});
