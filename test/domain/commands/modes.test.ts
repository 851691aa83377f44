import { describe, expect, it } from "vitest";
import { lock, setMode, unlock } from "../../../src/domain/commands/modes.ts";
import { lockOf } from "../../../src/domain/rollout/lock.ts";
import { parseFreeze, parseWindow } from "../../../src/domain/windows.ts";
import { aCanary, aSpec } from "../rollout/spec.ts";
import { World } from "../rollout/world.ts";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

function live(): World {
  const world = new World();
  world.deploy();
  world.run();
  return world;
}
const locks = (world: World, actor = "ann", ms = HOUR) =>
  world.command((facts, now) => lock(facts, { actor, reason: "stocktaking", expiresAt: now + ms }, now));
const unlocks = (world: World, actor = "ann") => world.command((facts, now) => unlock(facts, { actor }, now));

describe("a person's lock", () => {
  it("makes releases wait until it is taken off", () => {
    const world = live();
    locks(world);
    world.deploy();
    world.run(world.now + 30 * MINUTE);
    expect(world.state("v2")).toBe("queued");
    unlocks(world);
    world.run();
    expect(world.state("v2")).toBe("live");
  });

  it("ends by itself", () => {
    const world = live();
    locks(world);
    world.deploy();
    world.run(world.now + HOUR);
    expect(world.state("v2")).not.toBe("queued");
  });

  it("outlasting a release's deadline ends that one, naming who holds it and why", () => {
    const world = live();
    locks(world, "ann", 24 * HOUR);
    world.deploy();
    world.run();
    expect(world.state("v2")).toBe("failed");
    expect(world.release("v2").failure?.message).toContain("locked by ann (stocktaking)");
  });

  it("is refused to another while it holds, and renewed by its holder", () => {
    const world = live();
    locks(world);
    expect(locks(world, "ben")).toMatchObject({ ok: false, error: { code: "locked" } });
    expect(locks(world, "ann", 2 * HOUR).ok).toBe(true);
    world.now += 3 * HOUR;
    expect(locks(world, "ben").ok).toBe(true);
  });

  it("refuses a release that would not wait", () => {
    const world = live();
    locks(world);
    expect(world.create({ whenBusy: "reject" })).toMatchObject({ ok: false, error: { code: "locked" } });
  });

  it("stops nothing that is on its way", () => {
    const world = live();
    world.spec = aSpec({ strategy: aCanary({ analysis: { enabled: false } }) });
    world.deploy();
    locks(world);
    world.run(world.now + 30 * MINUTE);
    expect(world.state("v2")).toBe("live");
  });

  it("stops no rollback, neither to warm instances nor by a new release", () => {
    const warm = live();
    warm.deploy();
    locks(warm);
    expect(warm.rollback()).toMatchObject({ ok: true, value: "instant" });
    expect(warm.weights()).toEqual({ v1: 10_000 });

    const cold = new World();
    cold.spec = aSpec({ keepMs: 0 });
    for (const _ of [1, 2]) {
      cold.deploy();
      cold.run();
    }
    locks(cold);
    expect(cold.rollback()).toMatchObject({ ok: true, value: "restart" });
    expect(cold.weights()).toEqual({ "v1-again": 10_000 });
  });

  it("is in the audit log with who, and why, and so is who took it off", () => {
    const world = live();
    locks(world);
    unlocks(world, "ben");
    const said = world.events.filter(({ type }) => type === "lock.changed").map(({ message }) => message);
    expect(said).toEqual([
      "production locked by ann: stocktaking",
      "production unlocked by ben (was ann: stocktaking)",
    ]);
    unlocks(world);
    expect(world.events.filter(({ type }) => type === "lock.changed")).toHaveLength(2);
  });
});

describe("who holds the lock", () => {
  it("is the release on its way, and while none is, whoever locked it", () => {
    const world = live();
    const lockNow = () => lockOf(world.facts(), world.now);
    expect(lockNow()).toBeNull();
    locks(world);
    expect(lockNow()).toMatchObject({ holder: "ann", reason: "stocktaking", fence: 1 });
    unlocks(world);
    world.create();
    world.until("v2", "starting");
    world.held = { holder: "ann", reason: "later", since: world.now, expiresAt: world.now + MINUTE };
    expect(lockNow()).toMatchObject({ holder: "rel-2", reason: "release v2", fence: 2 });
    world.run(world.now + HOUR);
    expect(lockNow()).toBeNull();
  });
});

describe("deploy windows", () => {
  const value = <T>(parsed: { ok: true; value: T } | { ok: false }): T => {
    if (!parsed.ok) throw new Error("not parsed");
    return parsed.value;
  };
  // The world's clock stands at Tuesday, 14 November 2023, 22:13:20 UTC.
  const night = { allow: [value(parseWindow("Mon-Fri 08:00-18:00"))], freeze: [] };

  it("refuse a release outside of them, saying when the next one opens", () => {
    const world = live();
    world.spec = aSpec({ rules: night });
    const made = world.create();
    expect(made).toMatchObject({ ok: false, error: { code: "window_closed" } });
    expect(made.ok ? "" : made.error.detail).toContain("2023-11-15 08:00:00 UTC");
  });

  it("and freezes too", () => {
    const world = live();
    world.spec = aSpec({ rules: { allow: [], freeze: [value(parseFreeze("2023-11-10..2023-11-20"))] } });
    expect(world.create()).toMatchObject({ ok: false, error: { code: "window_closed" } });
  });

  it("let an override through, and write it down with who did it", () => {
    const world = live();
    world.spec = aSpec({ rules: night });
    world.deploy({ override: true });
    world.run();
    expect(world.state("v2")).toBe("live");
    const noted = world.events.filter(({ data }) => data.override === true);
    expect(noted.map(({ message, actor }) => [message, actor])).toEqual([
      ["v2: ci overrides the deploy windows", "ci"],
    ]);
  });

  it("end a release that waited behind a lock until they had closed, unless it was let through", () => {
    for (const override of [false, true]) {
      const world = live();
      locks(world);
      world.deploy({ override });
      world.spec = aSpec({ rules: night });
      unlocks(world);
      world.run();
      expect(world.state("v2")).toBe(override ? "live" : "failed");
      const cause = world.release("v2").failure?.message ?? "";
      expect(cause.includes("closed while it waited its turn")).toBe(!override);
    }
  });

  it("write nothing down where an override was not needed", () => {
    const world = live();
    world.deploy({ override: true });
    expect(world.events.filter(({ data }) => data.override === true)).toEqual([]);
  });

  it("stop no rollback", () => {
    const world = live();
    world.deploy();
    world.spec = aSpec({ rules: night });
    expect(world.rollback()).toMatchObject({ ok: true });
  });
});

describe("a traffic mode", () => {
  it("is set and told", () => {
    const world = live();
    world.command((facts, now) => setMode(facts, { mode: { kind: "paused" } as never, actor: "ann" }, now));
    expect(world.events.at(-1)?.message).toBe("production: new requests are held, set by ann");
  });
});
