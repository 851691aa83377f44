import { describe, expect, it } from "vitest";
import { destroy } from "../../../src/domain/commands/destroy.ts";
import { canMove, RELEASE_STATES, type ReleaseState } from "../../../src/domain/rollout/release.ts";
import { aSpec } from "./spec.ts";
import { World } from "./world.ts";

const dead = { code: "exited", message: "it ended", exitCode: 1, logs: [] };
const never = (world: World) => {
  world.agents = { job: () => null, probe: () => "answered 530" };
};
/** v1 serves and v2 is on its way, just come into the state. */
function at(state: ReleaseState): World {
  const world = new World({ anna: 8, bert: 8 });
  world.deploy();
  world.run();
  world.create();
  world.until("v2", state);
  return world;
}
function live(): World {
  const world = at("settling");
  world.run(world.now + 60_000);
  return world;
}
const failing = (state: ReleaseState) => {
  const world = at(state);
  world.agents = { ...world.agents, job: ({ kind }) => (kind === "stop" ? {} : { error: dead }) };
  world.run();
  return world;
};
const late = (state: ReleaseState) => {
  const world = at(state);
  never(world);
  world.run(world.now + 3 * 3_600_000);
  return world;
};
const aborted = (state: ReleaseState) => {
  const world = at(state);
  world.abort("v2");
  return world;
};
const replaced = (state: ReleaseState) => {
  const world = at(state);
  world.create({ whenBusy: "supersede" });
  return world;
};
const done = (world: World, act: (world: World) => unknown) => {
  act(world);
  world.run();
  return world;
};

const destroyed = (world: World) => {
  world.command((facts, now) => destroy(facts, { actor: "ann" }, now));
  return world;
};

const WAYS: Readonly<Record<string, () => World>> = {
  "queued → preparing": live,
  "queued → failed": () => {
    const world = at("queued");
    for (const host of world.hosts) host.lastSeenAt = null;
    for (const host of world.hosts) host.alive = false;
    return done(world, () => {});
  },
  "preparing → shifting": () => {
    const world = new World();
    world.spec = aSpec({
      strategy: { kind: "rolling", maxSurge: { count: 1 }, maxUnavailable: { count: 0 } },
    });
    world.deploy();
    return world;
  },
  "queued → aborted": () => aborted("queued"),
  "queued → superseded": () => replaced("queued"),
  "preparing → starting": live,
  "preparing → failed": () => failing("preparing"),
  "preparing → aborted": () => aborted("preparing"),
  "preparing → superseded": () => replaced("preparing"),
  "starting → verifying": live,
  "starting → failed": () => failing("starting"),
  "starting → aborted": () => aborted("starting"),
  "starting → superseded": () => replaced("starting"),
  "verifying → shifting": live,
  "verifying → failed": () => late("verifying"),
  "verifying → aborted": () => aborted("verifying"),
  "verifying → superseded": () => replaced("verifying"),
  "shifting → settling": live,
  "shifting → rolling_back": () => aborted("shifting"),
  "shifting → aborted": () => destroyed(at("shifting")),
  "settling → live": live,
  "settling → superseded": () => done(at("settling"), (world) => world.deploy()),
  "settling → rolling_back": () => done(at("settling"), (world) => world.rollback()),
  "live → superseded": () => done(live(), (world) => world.deploy()),
  "live → rolling_back": () => done(live(), (world) => world.rollback()),
  "rolling_back → rolled_back": () => done(live(), (world) => world.rollback()),
  "rolling_back → live": () => {
    const world = live();
    world.rollback();
    return done(world, () => world.weigh({ v2: 10_000 }));
  },
  "rolling_back → aborted": () => {
    const world = live();
    world.rollback();
    return destroyed(world);
  },
  "superseded → live": () => done(live(), (world) => world.rollback()),
};

describe("the table of a release's moves", () => {
  const allowed = RELEASE_STATES.flatMap((from) =>
    RELEASE_STATES.filter((to) => canMove(from, to)).map((to) => `${from} → ${to}`),
  );

  it("holds no move without a way to it", () => {
    expect(Object.keys(WAYS).sort()).toEqual(allowed.sort());
  });

  it.each(allowed)("%s happens", (move) => {
    expect([...(WAYS[move]?.().moves ?? [])]).toContain(move);
  });

  it("lets nothing out of an end, and nothing jump over a state", () => {
    for (const end of ["failed", "aborted", "rolled_back"] as const)
      expect(RELEASE_STATES.filter((to) => canMove(end, to))).toEqual([]);
    expect(canMove("queued", "shifting")).toBe(false);
    expect(canMove("starting", "live")).toBe(false);
  });
});
