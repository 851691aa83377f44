import { expect, it } from "vitest";
import { compileTable } from "../../../src/domain/rollout/table/compile-table.ts";
import { aSpec } from "./spec.ts";
import { World } from "./world.ts";

const MINUTE = 60_000;

/** Whom a table names to be asked where nobody with weight answers. */
function heirOf(world: World): string | undefined {
  const loaded = { facts: world.facts(), salt: "s", previewKey: "00", mode: { kind: "open" } } as const;
  const { heir } = compileTable(loaded, { version: 1, now: world.now });
  return world.facts().releases.find(({ id }) => id === heir)?.version;
}

function withTwo(change: Parameters<typeof aSpec>[0] = {}): World {
  const world = new World({ anna: 9, bert: 9 });
  world.spec = aSpec({ replicas: 1, ...change });
  for (const version of ["v1", "v2"]) {
    world.deploy();
    world.run(world.now + 2 * MINUTE);
    expect(world.state(version)).toBe("live");
  }
  return world;
}

it("is the release before, for as long as it is warm", () => {
  const world = withTwo();
  expect(heirOf(world)).toBe("v1");
  world.run(world.now + 10 * MINUTE);
  expect(heirOf(world)).toBeUndefined();
});

it("is one that can carry: not the release before where that is dead", () => {
  const world = withTwo();
  for (const instance of world.instancesOf("v1")) Object.assign(instance, { reportState: "exited" });
  expect(heirOf(world)).toBeUndefined();
});

it("is not a release that was taken back", () => {
  const world = withTwo();
  world.rollback();
  world.run(world.now + 1_000);
  expect(world.weights()).toEqual({ v1: 10_000 });
  expect(heirOf(world)).toBeUndefined();
});

it("is nobody where nothing is to be asked of another", () => {
  expect(heirOf(withTwo({ rescue: "off" }))).toBeUndefined();
});
