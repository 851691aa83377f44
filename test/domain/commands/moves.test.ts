import { describe, expect, it } from "vitest";
import { type Move, planMove } from "../../../src/domain/commands/moves.ts";
import { aCanary, aSpec } from "../rollout/spec.ts";
import { World } from "../rollout/world.ts";

const MINUTE = 60_000;

function canary(): World {
  const world = new World({ anna: 8, bert: 8 });
  for (let n = 0; n < 2; n++) {
    world.deploy();
    world.run(world.now + MINUTE);
  }
  world.spec = aSpec({ strategy: aCanary() });
  world.deploy();
  return world;
}
const planned = (world: World, move: Move) => planMove(world.facts(), move, world.now);
const split = (world: World, move: Move) =>
  Object.fromEntries(planned(world, move).weights.map(({ version, weightBp }) => [version, weightBp]));

describe("a plan of a move", () => {
  it.each([
    ["promote", (world: World) => world.promote("v3")],
    ["abort", (world: World) => world.abort("v3")],
    ["rollback", (world: World) => world.rollback()],
  ] as const)("says what %s then does", (move, act) => {
    const world = canary();
    const plan = planned(world, move);
    const before = structuredClone(world.facts());
    expect(planned(world, move)).toEqual(plan);
    expect(world.facts()).toEqual(before);
    act(world);
    expect(world.weights()).toEqual(Object.fromEntries(plan.weights.map((w) => [w.version, w.weightBp])));
    expect(plan.says.length).toBeGreaterThan(0);
  });

  it("after weights by hand, too", () => {
    const world = canary();
    world.weigh({ v3: 2_500, v2: 7_500 });
    const plan = split(world, "promote");
    world.promote("v3");
    expect(world.weights()).toEqual(plan);
  });

  it("says why a move would be refused", () => {
    const world = new World();
    world.deploy();
    world.run();
    expect(planned(world, "promote").refusal).toMatchObject({ code: "stale_step" });
    expect(planned(world, "rollback").refusal).toMatchObject({ code: "nothing_to_roll_back" });
    expect(split(world, "abort")).toEqual({ v1: 10_000 });
  });

  it("names no older release to roll back to while the last one's rollback drains: the command would not either", () => {
    const world = new World({ anna: 8, bert: 8 });
    for (let n = 0; n < 3; n++) {
      world.deploy();
      world.run(world.now + MINUTE);
    }
    world.rollback();
    expect(world.state("v3")).toBe("rolling_back");
    const plan = planned(world, "rollback");
    const done = world.rollback();
    expect(plan.refusal).toMatchObject({ code: "rollback_impossible" });
    expect(done).toEqual({ ok: false, error: plan.refusal });
    world.run(world.now + 5 * MINUTE);
    expect(split(world, "rollback")).toEqual({ v1: 10_000 });
    world.rollback();
    expect(world.weights()).toEqual({ v1: 10_000 });
  });

  it("says that a rollback has to start the old image again", () => {
    const world = new World();
    world.spec = aSpec({ keepMs: 0 });
    for (const _ of [1, 2]) {
      world.deploy();
      world.run();
    }
    const plan = planned(world, "rollback");
    expect(plan.says.join()).toMatch(/v1 is not warm any more: its image is started again/);
    expect(plan.weights).toMatchObject([{ version: "v2", weightBp: 10_000 }]);
  });

  it("says of a target that is warm and ended again and again that this is why", () => {
    const world = new World();
    for (const _ of [1, 2]) {
      world.deploy();
      world.run(world.now + 40_000);
    }
    for (const instance of world.instances.filter(({ state }) => state === "warm"))
      Object.assign(instance, { exits: [world.now - 2_000, world.now - 1_000] });
    expect(planned(world, "rollback").says.join()).toMatch(
      /2 of 2 warm instances of v1 ended again and again in the last five minutes: its image is started again/,
    );
  });
});
