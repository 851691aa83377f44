import { describe, expect, it } from "vitest";
import { aSpec } from "../rollout/spec.ts";
import { World } from "../rollout/world.ts";

const MINUTE = 60_000;

/** v1 live; v2, v3, … each live after the one before, still within its warm time. */
function served(count: number, world = new World({ anna: 8, bert: 8 })): World {
  for (let n = 0; n < count; n++) {
    world.deploy();
    world.run(world.now + MINUTE);
  }
  return world;
}
const refusal = (made: { ok: boolean; error?: unknown }) => (made.ok ? "accepted" : made.error);

describe("deploying while busy", () => {
  /** v2 is pulling for as long as the agents do nothing. */
  function busy(): World {
    const world = served(1);
    world.agents = { ...world.agents, job: () => null };
    world.deploy();
    expect(world.state("v2")).toBe("preparing");
    return world;
  }
  const work = (world: World) => {
    world.agents = { ...world.agents, job: () => ({}) };
    world.run();
  };

  it("queues, and the newest queued one takes an older one's place", () => {
    const world = busy();
    world.deploy();
    world.deploy();
    expect(["v2", "v3", "v4"].map((v) => world.state(v))).toEqual(["preparing", "superseded", "queued"]);
    work(world);
    expect(["v2", "v3", "v4"].map((v) => world.state(v))).toEqual(["superseded", "superseded", "live"]);
    expect(world.instancesOf("v3")).toEqual([]);
  });

  it("replaces the one on its way when asked to, and nothing of it is left", () => {
    const world = busy();
    world.deploy({ whenBusy: "supersede" });
    expect(world.state("v2")).toBe("superseded");
    work(world);
    expect(world.state("v3")).toBe("live");
    expect(world.statesOf("v2")).toEqual(["stopped", "stopped"]);
    expect(world.tables).toEqual([{}, { v1: 10_000 }, { v3: 10_000 }]);
  });

  it("refuses when asked to, and says what is in the way and what to do", () => {
    expect(refusal(busy().create({ whenBusy: "reject" }))).toMatchObject({
      code: "release_in_progress",
      detail: expect.stringMatching(/v2 is preparing.*--when-busy queue.*abort/),
    });
  });

  it("lets the next one begin while the last one settles", () => {
    const world = served(1);
    world.deploy();
    expect(world.state("v2")).toBe("settling");
    expect(refusal(world.create({ whenBusy: "reject" }))).toBe("accepted");
    world.settleNow();
    expect([world.state("v2"), world.state("v3")]).toEqual(["superseded", "settling"]);
    world.run();
    expect(world.weights()).toEqual({ v3: 10_000 });
  });
});

describe("version labels", () => {
  it("count up, pass over a taken one, and refuse a repeated one", () => {
    const world = new World();
    expect(world.deploy({ version: "v2" }).version).toBe("v2");
    expect(world.deploy().version).toBe("v1");
    expect(world.deploy().version).toBe("v3");
    expect(refusal(world.create({ version: "v2" }))).toMatchObject({
      code: "conflict",
      detail: expect.stringContaining("a release named v2 is on its way, or has had traffic"),
      next: expect.arrayContaining([expect.objectContaining({ command: "sluice deploy --version v2-2" })]),
    });
  });

  it("give back the label of a release that no visitor ever met, and keep that of one that any did", () => {
    const world = served(1);
    world.create({ version: "1.4.2" });
    world.until("1.4.2", "verifying");
    expect(refusal(world.create({ version: "1.4.2" }))).toMatchObject({ code: "conflict" });
    world.abort("1.4.2");
    expect(refusal(world.create({ version: "1.4.2" }))).toBe("accepted");
    expect(world.facts().releases.filter(({ version }) => version === "1.4.2")).toHaveLength(2);
  });

  it.each([
    [null, "ghcr.io/acme/shop"],
    [":7", "ghcr.io/acme/shop:7"],
    ["@sha256:00", "ghcr.io/acme/shop@sha256:00"],
    ["docker.io/other/app:1", "docker.io/other/app:1"],
  ])("image %s becomes %s", (asked, whole) => {
    expect(new World().deploy({ image: asked }).image).toBe(whole);
  });

  it("keeps a registry's port when it adds a tag", () => {
    const world = new World();
    world.spec = aSpec({ image: "localhost:5000/shop:old" });
    expect(world.deploy({ image: ":new" }).image).toBe("localhost:5000/shop:new");
  });
});

describe("aborting", () => {
  it.each(["queued", "preparing", "starting", "verifying", "shifting"] as const)(
    "while %s leaves the old one serving and nothing behind",
    (state) => {
      const world = served(1);
      if (state === "queued") {
        world.create();
      } else {
        world.create();
        world.until("v2", state);
      }
      expect(world.state("v2")).toBe(state);
      expect(refusal(world.abort("v2"))).toBe("accepted");
      world.run();
      expect(world.state("v2")).toBe(state === "shifting" ? "rolled_back" : "aborted");
      expect(world.release("v2").failure?.message).toBe("v2 aborted by ann");
      expect(new Set(world.statesOf("v2"))).toEqual(new Set(state === "queued" ? [] : ["stopped"]));
      expect(world.weights()).toEqual({ v1: 10_000 });
    },
  );

  it("cancels the jobs that nobody needs", () => {
    const world = served(1);
    world.create();
    world.until("v2", "starting");
    world.abort("v2");
    expect(world.jobsOf("start", "v2").map((job) => job.state)).toEqual(["cancelled", "cancelled"]);
  });

  it("of the first release ever ends without traffic", () => {
    const world = new World();
    world.create();
    world.until("v1", "shifting");
    world.abort("v1");
    world.run();
    expect([world.state("v1"), world.statesOf("v1")]).toEqual(["rolled_back", ["stopped", "stopped"]]);
  });

  it("is refused for what has ended or serves, with the way out", () => {
    const world = served(2);
    expect(refusal(world.abort("v2"))).toMatchObject({
      code: "stale_step",
      detail: expect.stringMatching(/v2 is live.*sluice rollback/),
    });
    expect(refusal(world.abort("v1"))).toMatchObject({ code: "stale_step" });
  });
});

describe("weights by hand", () => {
  it("decided on a state that has passed change nothing", () => {
    const world = served(2);
    const seen = world.facts().rev;
    expect(refusal(world.weigh({ v1: 2_500, v2: 7_500 }, seen))).toBe("accepted");
    expect(refusal(world.weigh({ v1: 10_000 }, seen))).toMatchObject({ code: "precondition_failed" });
    expect(world.weights()).toEqual({ v1: 2_500, v2: 7_500 });
  });

  it("split between a live release and a warm one, and back", () => {
    const world = served(2);
    expect(refusal(world.weigh({ v1: 2_500, v2: 7_500 }))).toBe("accepted");
    expect([world.state("v1"), world.state("v2")]).toEqual(["live", "live"]);
    expect(world.statesOf("v1")).toEqual(["serving", "serving"]);
    world.run(world.now + 30 * MINUTE);
    expect(world.weights()).toEqual({ v1: 2_500, v2: 7_500 });
    expect(world.stable).toBe("rel-2");
    world.weigh({ v2: 10_000 });
    expect([world.state("v1"), world.statesOf("v1")]).toEqual(["superseded", ["draining", "draining"]]);
    world.run(world.now + MINUTE);
    expect(world.statesOf("v1")).toEqual(["warm", "warm"]);
    world.run();
    expect(world.statesOf("v1")).toEqual(["stopped", "stopped"]);
  });

  it("ask to be looked at again while they are partial: the edge's lease on them ends", () => {
    const world = served(2);
    world.weigh({ v1: 5_000, v2: 5_000 });
    expect((world.settleNow() ?? 0) - world.now).toBeLessThanOrEqual(20_000);
  });

  it("make the heaviest stable when stable gets nothing", () => {
    const world = served(3);
    world.weigh({ v1: 6_000, v2: 4_000 });
    expect(world.stable).toBe("rel-1");
  });

  it("end when the next release takes over", () => {
    const world = served(2);
    world.weigh({ v1: 5_000, v2: 5_000 });
    world.deploy();
    world.run();
    expect(world.weights()).toEqual({ v3: 10_000 });
    expect([world.state("v1"), world.state("v2")]).toEqual(["superseded", "superseded"]);
  });

  it("give a release that rolls back its traffic again while it still runs", () => {
    const world = served(2);
    world.rollback();
    expect(world.state("v2")).toBe("rolling_back");
    expect(refusal(world.weigh({ v2: 10_000 }))).toBe("accepted");
    world.run();
    expect([world.state("v2"), world.statesOf("v2")]).toEqual(["live", ["serving", "serving"]]);
  });

  it.each([
    [{ v2: 9_999 }, "weights_invalid", /sum to 99.99 %, not to 100 %/],
    [{}, "weights_invalid", /sum to 0 %/],
    [{ v1: -5_000, v2: 15_000 }, "weights_invalid", /-50 %/],
    [{ v1: 0.5, v2: 9_999.5 }, "weights_invalid", /0.005 %/],
    [{ nope: 10_000 }, "release_not_serving", /nope has no ready instance.*that could: v2, v1/],
    [{ v3: 10_000 }, "release_not_serving", /v3 \(failed\) has no ready instance/],
  ])("refuse %j", (weights, code, detail) => {
    const world = served(2);
    const error = { code: "exited", message: "it ended", logs: [] };
    world.agents = { ...world.agents, job: (job) => (job.kind === "start" ? { error } : {}) };
    world.deploy();
    world.settleNow();
    expect(refusal(world.weigh(weights))).toMatchObject({ code, detail: expect.stringMatching(detail) });
    expect(world.weights()).toEqual({ v2: 10_000 });
  });
});

describe("rolling back", () => {
  it("is instant while the old one is warm, and takes the bad one down after its drain", () => {
    const world = served(2);
    expect(world.rollback()).toEqual({ ok: true, value: "instant" });
    expect(world.weights()).toEqual({ v1: 10_000 });
    expect([world.state("v1"), world.state("v2")]).toEqual(["live", "rolling_back"]);
    const start = world.now;
    world.run();
    expect([world.state("v1"), world.state("v2")]).toEqual(["live", "rolled_back"]);
    expect(world.release("v2").failure?.message).toBe("v2 rolls back to v1: bad");
    expect(world.statesOf("v2")).toEqual(["stopped", "stopped"]);
    expect(world.now - start).toBe(33_000);
  });

  it("works in the middle of settling", () => {
    const world = served(1);
    world.deploy();
    expect(world.state("v2")).toBe("settling");
    expect(world.rollback()).toEqual({ ok: true, value: "instant" });
    world.run();
    expect([world.state("v1"), world.state("v2")]).toEqual(["live", "rolled_back"]);
  });

  it.each([
    ["nothing of it is warm any more", (world: World) => world.run()],
    [
      "a warm instance does not answer",
      (world: World) => {
        world.agents = { ...world.agents, probe: (i) => (i.releaseId === "rel-1" ? "answered 530" : null) };
      },
    ],
    [
      "more than half of it is unwell",
      (world: World) => {
        for (const instance of world.instancesOf("v1")) instance.reportState = "unready";
      },
    ],
  ])("starts the old image again when %s", (_, make) => {
    const world = served(2);
    make(world);
    expect(world.rollback()).toEqual({ ok: true, value: "restart" });
    world.run();
    expect(world.weights()).toEqual({ "v1-again": 10_000 });
    expect(world.release("v1-again")).toMatchObject({
      kind: "rollback",
      image: world.release("v1").pinnedImage,
    });
  });

  it("goes back to what served last, past what was rolled back or failed", () => {
    const world = served(3);
    world.rollback("v1");
    world.run(world.now + MINUTE);
    world.deploy();
    const error = { code: "exited", message: "it ended", logs: [] };
    world.agents = { ...world.agents, job: (job) => (job.kind === "start" ? { error } : {}) };
    world.deploy();
    world.agents = { ...world.agents, job: () => ({}) };
    expect(["v1", "v2", "v3", "v4", "v5"].map((v) => world.state(v))).toEqual([
      "superseded",
      "superseded",
      "rolled_back",
      "settling",
      "failed",
    ]);
    world.rollback();
    expect(world.weights()).toEqual({ v1: 10_000 });
  });

  it("can undo itself while the other still runs", () => {
    const world = served(2);
    world.rollback();
    expect(world.rollback("v2")).toEqual({ ok: true, value: "instant" });
    world.run();
    expect(world.weights()).toEqual({ v2: 10_000 });
    expect([world.state("v1"), world.state("v2")]).toEqual(["rolled_back", "live"]);
  });

  it("can return to a rolled-back release by name, started again under a free label", () => {
    const world = served(2);
    world.rollback();
    world.run();
    expect(world.rollback("v2")).toEqual({ ok: true, value: "restart" });
    world.run();
    world.rollback("v1");
    world.run();
    world.rollback("v2");
    world.run();
    expect(world.weights()).toEqual({ "v2-again-2": 10_000 });
  });

  it("names a rolled-back release among those to go back to, since that is taken by name", () => {
    const world = served(2);
    world.rollback();
    world.run();
    const detail = "what served here beside it was taken back; releases to go back to: v2";
    expect(refusal(world.rollback())).toMatchObject({
      code: "nothing_to_roll_back",
      detail,
      next: [{ command: "sluice rollback --to v2" }],
    });
    expect(world.rollback("v2")).toMatchObject({ ok: true });
  });

  it.each([
    [0, null, "nothing_to_roll_back", /no release has traffic/],
    [1, null, "nothing_to_roll_back", /no earlier release has served here; releases to go back to: none/],
    [2, "v9", "not_found", /no release v9; releases to go back to: v1/],
    [2, "v2", "rollback_impossible", /v2 serves already; releases to go back to: v1/],
    [2, "v3", "rollback_impossible", /v3 is queued and never held all traffic; .*: v1/],
  ] as const)("after %i releases to %s is refused: %s", (count, to, code, detail) => {
    const world = served(count);
    if (to === "v3") world.create();
    expect(refusal(world.rollback(to))).toMatchObject({ code, detail: expect.stringMatching(detail) });
  });
});
