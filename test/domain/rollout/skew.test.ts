import { expect, it } from "vitest";
import { compileTable } from "../../../src/domain/rollout/table/compile-table.ts";
import { aCanary, aSpec } from "./spec.ts";
import { World } from "./world.ts";

const tableOf = (world: World) => {
  const loaded = { facts: world.facts(), salt: "s", previewKey: "00", mode: { kind: "open" } } as const;
  return compileTable(loaded, { version: 1, now: world.now });
};
function withTwo(change: Parameters<typeof aSpec>[0] = {}): World {
  const world = new World();
  world.spec = aSpec({ replicas: 1, ...change });
  for (const version of ["v1", "v2"]) {
    world.deploy();
    world.run(world.now + 120_000);
    expect(world.state(version)).toBe("live");
  }
  return world;
}
const idsOf = (world: World, ...versions: string[]) => versions.map((version) => world.release(version).id);

it("looks for assets in what visitors had pages of and is still there, the newest first", () => {
  const world = withTwo();
  expect(tableOf(world).assets).toEqual({ also: [], from: idsOf(world, "v2", "v1") });
  world.run(world.now + 3_600_000);
  expect(tableOf(world).assets?.from).toEqual(idsOf(world, "v2"));
});

it("asks no release that nobody has a page of yet, and a canary from its first visitors on", () => {
  const world = withTwo();
  world.spec = aSpec({ replicas: 1, strategy: aCanary({}) });
  world.deploy({ hold: true });
  expect(world.state("v3")).toBe("shifting");
  expect(tableOf(world).assets?.from).toEqual(idsOf(world, "v2", "v1"));
  world.promote("v3");
  world.run(world.now + 1_000);
  expect(tableOf(world).assets?.from[0]).toBe(world.release("v3").id);
});

it("looks nowhere else where assets are off", () => {
  expect(tableOf(withTwo({ assets: "off" })).assets).toBeUndefined();
});

it("knows releases by what their pages were built as; one that is taken back by nothing", () => {
  const world = withTwo();
  const names = () => tableOf(world).releases.map(({ version, deployments }) => [version, deployments?.[1]]);
  expect(names()).toEqual([
    ["v1", "v1"],
    ["v2", "v2"],
  ]);
  world.rollback();
  world.run(world.now + 1_000);
  expect(names()).toEqual([
    ["v2", undefined],
    ["v1", "v1"],
  ]);
});

it("says what an environment asks of the edge beyond that, and nothing where it asks for nothing", () => {
  const { hedge, sockets } = tableOf(withTwo({ hedge: true, sockets: "spread" }));
  expect([hedge, sockets]).toEqual([true, { drainMs: 30_000 }]);
  const plain = tableOf(withTwo());
  expect([plain.hedge, plain.sockets]).toEqual([undefined, undefined]);
});
