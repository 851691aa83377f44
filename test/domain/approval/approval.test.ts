import { describe, expect, it } from "vitest";
import type { ApprovalRule } from "../../../src/domain/approval/approval.ts";
import { isLooser } from "../../../src/domain/approval/looser.ts";
import { type Approve, approve, reject } from "../../../src/domain/commands/approve.ts";
import { holdsLabel } from "../../../src/domain/rollout/release.ts";
import type { Step } from "../../../src/domain/spec.ts";
import { aCanary, aSpec, DIGEST, OTHER_DIGEST, weightStep } from "../rollout/spec.ts";
import { World } from "../rollout/world.ts";

const HOUR = 3_600_000;
const rule = (change: Partial<ApprovalRule> = {}): ApprovalRule => ({
  before: "traffic",
  by: 1,
  deadlineMs: HOUR,
  ...change,
});

/** v1 serves, v2 waits for approval; ann started both. */
function waiting(approval: ApprovalRule, spec: Parameters<typeof aSpec>[0] = {}): World {
  const world = new World({ anna: 8, bert: 8 });
  world.spec = aSpec(spec);
  world.deploy();
  world.run();
  world.spec = aSpec({ ...spec, approval });
  world.deploy({ actor: "token:ann", startedAs: ["token:ann", "person:ann@acme.test"] });
  return world;
}

const by = (world: World, version: string, who: string, more: Partial<Approve> = {}) =>
  world.command((facts, now) =>
    approve(
      facts,
      {
        ...{ release: world.release(version).id, actor: `token:${who}`, identities: [`token:${who}`] },
        ...{ madeBy: [], starter: [], subject: null },
        ...more,
      },
      now,
    ),
  );

describe("a release that needs an approval", () => {
  it.each(["release", "traffic"] as const)(
    "before its %s waits, and goes on when another says yes",
    (before) => {
      const world = waiting(rule({ before }), { hooks: { expand: ["migrate"] } });
      expect(world.weights()).toEqual({ v1: 10_000 });
      const v2 = world.release("v2");
      expect(v2).toMatchObject({ state: before === "release" ? "preparing" : "shifting", digest: DIGEST });
      expect(world.jobs.some(({ kind, releaseId }) => kind === "run" && releaseId === v2.id)).toBe(
        before === "traffic",
      );
      world.now += 30 * 60_000;
      expect(by(world, "v2", "bob", { subject: DIGEST })).toMatchObject({ ok: true });
      world.run();
      expect(world.weights()).toEqual({ v2: 10_000 });
    },
  );

  it("can't be approved by who started it, however they come", () => {
    const world = waiting(rule());
    const own = { ok: false, error: { code: "own_release" } };
    expect(by(world, "v2", "ann")).toMatchObject(own);
    expect(by(world, "v2", "x", { identities: ["token:x", "person:ann@acme.test"] })).toMatchObject(own);
    expect(by(world, "v2", "x", { madeBy: ["token:ann"] })).toMatchObject(own);
    expect(by(world, "v2", "x", { starter: ["token:x"] })).toMatchObject(own);
    world.run();
    expect(world.weights()).toEqual({ v1: 10_000 });
  });

  it("of two that are needed, one person is one, however often", () => {
    const world = waiting(rule({ by: 2 }));
    for (const who of ["bob", "bob"]) expect(by(world, "v2", who)).toMatchObject({ ok: true });
    expect(by(world, "v2", "c", { identities: ["token:c", "token:bob"] })).toMatchObject({ ok: true });
    world.settleNow();
    expect(world.weights()).toEqual({ v1: 10_000 });
    by(world, "v2", "cleo");
    world.settleNow();
    expect(world.weights()).toEqual({ v2: 10_000 });
    expect(by(world, "v2", "dora")).toMatchObject({ ok: false, error: { code: "stale_step" } });
  });

  it("is approved as the digest that was seen, or not at all", () => {
    const world = waiting(rule());
    const answer = by(world, "v2", "bob", { subject: OTHER_DIGEST });
    expect(answer).toMatchObject({ ok: false, error: { code: "precondition_failed" } });
  });

  it("nobody steers past it", () => {
    const world = waiting(rule());
    const needed = { ok: false, error: { code: "approval_needed" } };
    for (const full of [false, true]) expect(world.promote("v2", { full })).toMatchObject(needed);
    expect(world.resume("v2")).toMatchObject(needed);
    expect(world.weigh({ v2: 100_00 })).toMatchObject(needed);
  });

  it.each(["release", "traffic"] as const)("before its %s ends when its time is over", (before) => {
    const world = waiting(rule({ before }));
    world.now += HOUR + 1;
    world.run();
    expect(world.release("v2")).toMatchObject({
      state: before === "release" ? "failed" : "rolled_back",
      failure: { code: "not_approved", message: "nobody approved v2 within 1 h" },
    });
    expect(world.weights()).toEqual({ v1: 10_000 });
    expect(by(world, "v2", "bob")).toMatchObject({ ok: false, error: { code: "stale_step" } });
  });

  it.each(["release", "traffic"] as const)(
    "before its %s ends with the reason it is rejected for",
    (before) => {
      const world = waiting(rule({ before }));
      const input = { release: world.release("v2").id, actor: "token:bob", reason: "not today" };
      world.command((facts, now) => reject(facts, input, now));
      world.run();
      expect(world.release("v2")).toMatchObject({
        state: before === "release" ? "aborted" : "rolled_back",
        failure: { code: "rejected", message: "v2 rejected by token:bob: not today" },
      });
      expect(world.weights()).toEqual({ v1: 10_000 });
      // No visitor met it: the next may be called so.
      expect(holdsLabel(world.release("v2"))).toBe(false);
    },
  );

  it("and is let in keeps its label, whatever becomes of it", () => {
    const world = waiting(rule());
    world.now += 60_000;
    by(world, "v2", "bob");
    expect(world.weights()).toEqual({ v2: 10_000 });
    expect(world.release("v2").timings).toMatchObject({ shifting: 60_000 });
    world.run();
    expect(holdsLabel(world.release("v2"))).toBe(true);
  });

  it("asked for at 0 % is held there once it is approved", () => {
    const world = new World();
    world.spec = aSpec();
    world.deploy();
    world.run();
    world.spec = aSpec({ approval: rule() });
    world.deploy({ hold: true });
    by(world, "v2", "bob");
    expect(world.release("v2").paused).toMatchObject({ reason: "prepared and held at 0 %, as asked" });
    world.promote("v2");
    world.run();
    expect(world.weights()).toEqual({ v2: 10_000 });
  });

  it("keeps out of a lost stable's place: nobody has let it in", () => {
    const world = waiting(rule());
    for (const instance of world.instances)
      if (instance.releaseId === world.release("v1").id) instance.reportState = "gone";
    world.now += 60_000;
    world.run();
    expect(world.weights()).not.toHaveProperty("v2");
  });

  it("each pause that waits for a person needs its own", () => {
    const pause = { kind: "pause", forMs: null } as const;
    const steps = [weightStep(1_000), pause, weightStep(5_000), pause, weightStep(10_000)];
    const analysis = { enabled: false };
    const world = waiting(rule({ before: "step" }), { strategy: aCanary({ steps, analysis }) });
    expect(world.release("v2")).toMatchObject({ stepIndex: 1, approval: { gate: "step", step: 1 } });
    expect(world.promote("v2")).toMatchObject({ ok: false, error: { code: "approval_needed" } });
    by(world, "v2", "bob");
    world.settleNow();
    expect(world.weights()).toEqual({ v1: 5_000, v2: 5_000 });
    expect(world.release("v2")).toMatchObject({ stepIndex: 3, approval: { step: 3, given: [] } });
    by(world, "v2", "bob");
    world.run();
    expect(world.weights()).toEqual({ v2: 10_000 });
  });

  it("needs none to go back, by whoever asks", () => {
    const world = waiting(rule());
    by(world, "v2", "bob");
    world.run();
    expect(world.rollback()).toMatchObject({ ok: true });
    world.run();
    expect(world.weights()).toEqual({ "v1-again": 10_000 });
  });
});

const forPerson = { kind: "pause", forMs: null } as const;
const stepwise = (...steps: readonly Step[]) => ({
  strategy: aCanary({ steps, analysis: { enabled: false } }),
});

describe("an approval at each pause for a person", () => {
  const twice = stepwise(weightStep(1_000), forPerson, weightStep(5_000), forPerson, weightStep(10_000));

  it("is for the pause that was seen: pressed once more it lets nothing else pass", () => {
    const world = waiting(rule({ before: "step" }), twice);
    const seen = { subject: DIGEST, step: 1 };
    expect(by(world, "v2", "bob", seen).ok).toBe(true);
    world.settleNow();
    expect(world.weights()).toEqual({ v1: 5_000, v2: 5_000 });
    expect(by(world, "v2", "bob", seen)).toMatchObject({ ok: false, error: { code: "stale_step" } });
    expect(by(world, "v2", "bob", { subject: DIGEST, step: 3 }).ok).toBe(true);
    world.settleNow();
    expect(world.weights()).toEqual({ v2: 10_000 });
  });

  it("holds, once given, also where the steps are gone through again", () => {
    const timed = { kind: "pause", forMs: 600_000 } as const;
    const world = waiting(
      rule({ before: "step" }),
      stepwise(weightStep(1_000), forPerson, timed, weightStep(10_000)),
    );
    by(world, "v2", "bob");
    world.settleNow();
    world.pause("v2");
    world.weigh({ v1: 8_000, v2: 2_000 });
    world.settleNow();
    world.resume("v2");
    world.settleNow();
    expect(world.release("v2").paused?.reason ?? "").not.toContain("approval");
    world.run();
    expect(world.weights()).toEqual({ v2: 10_000 });
  });
});

it("counts a person once, also by a token of their making", () => {
  const world = waiting(rule({ by: 2 }));
  const eve = ["access:eve", "person:eve@acme.test"];
  by(world, "v2", "eve", { identities: eve });
  by(world, "v2", "eves", { madeBy: eve });
  world.settleNow();
  expect(world.weights()).toEqual({ v1: 10_000 });
  by(world, "v2", "bob");
  world.settleNow();
  expect(world.weights()).toEqual({ v2: 10_000 });
});

describe("a rule that lets pass more than another", () => {
  const asks = (change: Partial<ApprovalRule> = {}, spec: object = {}) =>
    aSpec({ ...spec, approval: rule(change) });

  it("asks for less, or elsewhere, or nobody", () => {
    expect(isLooser(aSpec(), asks())).toBe(true);
    expect(isLooser(asks({ by: 1 }), asks({ by: 2 }))).toBe(true);
    expect(isLooser(asks({ before: "step" }), asks())).toBe(true);
    expect(isLooser(asks({ by: 2 }), asks())).toBe(false);
    expect(isLooser(asks(), aSpec())).toBe(false);
  });

  it("where it asks at pauses: has fewer of them, or gives more before", () => {
    const step = { before: "step" } as const;
    const before = asks(step, stepwise(weightStep(1_000), forPerson, weightStep(10_000)));
    expect(isLooser(asks(step), before)).toBe(true);
    expect(isLooser(asks(step, stepwise(weightStep(5_000), forPerson)), before)).toBe(true);
    expect(isLooser(asks(step, stepwise(weightStep(500), forPerson, weightStep(10_000))), before)).toBe(
      false,
    );
  });
});
