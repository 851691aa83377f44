import fc from "fast-check";
import { describe, expect, it } from "vitest";
import * as modes from "../../../src/domain/commands/modes.ts";
import type { JobErrorFacts } from "../../../src/domain/rollout/facts.ts";
import { isAtRest } from "../../../src/domain/rollout/release.ts";
import type { EnvironmentSpec } from "../../../src/domain/spec.ts";
import type { JudgementName } from "../canary/judgements.ts";
import { aCanary, aSpec, weightStep } from "./spec.ts";
import { type Job, World } from "./world.ts";

const version = fc.integer({ min: 1, max: 6 }).map((n) => `v${n}`);
const step = fc.oneof(
  fc.record({
    do: fc.constant("deploy" as const),
    whenBusy: fc.constantFrom("queue", "reject", "supersede"),
    hold: fc.boolean(),
  }),
  fc.record({ do: fc.constant("abort" as const), version }),
  fc.record({ do: fc.constant("rollback" as const), to: fc.option(version) }),
  fc.record({ do: fc.constant("weigh" as const), a: version, b: version, share: fc.nat(10_000) }),
  fc.record({
    do: fc.constant("answer" as const),
    job: fc.nat(50),
    fails: fc.boolean(),
    twice: fc.boolean(),
  }),
  fc.record({ do: fc.constant("probe" as const), answers: fc.boolean() }),
  fc.record({ do: fc.constant("wait" as const), ms: fc.integer({ min: 1, max: 120_000 }) }),
  fc.record({ do: fc.constant("clock" as const), ms: fc.integer({ min: -600_000, max: 600_000 }) }),
  fc.record({ do: fc.constant("host" as const), alive: fc.boolean() }),
  fc.record({ do: fc.constant("agents" as const), lazy: fc.boolean() }),
  fc.record({ do: fc.constant("advance" as const) }),
  fc.record({ do: fc.constant("promote" as const), version, full: fc.boolean() }),
  fc.record({ do: fc.constant("pause" as const), version }),
  fc.record({ do: fc.constant("resume" as const), version }),
  fc.record({
    do: fc.constant("judge" as const),
    says: fc.constantFrom<JudgementName>("rollback", "pass", "continue", "nothing", "hold"),
  }),
  fc.record({ do: fc.constant("smoke" as const), fails: fc.boolean() }),
  fc.record({ do: fc.constant("lock" as const), on: fc.boolean() }),
);
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

const error: JobErrorFacts = { code: "exited", message: "it ended", exitCode: 1, logs: [] };
const work = () => ({});
/** Jobs of the second instance or host are left for `answer` steps, in any order. */
const lazy = (job: Job) => (job.kind !== "stop" && job.id.endsWith("2") ? null : {});

/** Two releases have served, the older is warm. */
function warmed(replicas: number, more: Partial<EnvironmentSpec> = {}): World {
  const world = new World({ anna: 9, bert: 9 });
  world.spec = aSpec({
    replicas,
    deadlines: { prepareMs: 60_000, hookMs: 60_000, pauseMs: 300_000, verifyMs: 20_000, releaseMs: 600_000 },
  });
  world.deploy();
  world.deploy();
  world.spec = { ...world.spec, ...more };
  return world;
}

const amount = fc.oneof(
  fc.record({ count: fc.integer({ min: 0, max: 3 }) }),
  fc.record({ percent: fc.constantFrom(0, 25, 50, 100) }),
);
const canary = fc
  .record({
    onInconclusive: fc.constantFrom<"ask" | "promote" | "abort">("ask", "promote", "abort"),
    onFailure: fc.constantFrom<"rollback" | "pause">("rollback", "pause"),
    enabled: fc.boolean(),
  })
  .map((analysis) =>
    aCanary({
      analysis: { ...analysis, maxWaitMs: 30_000 },
      steps: [
        weightStep(1_000, 20_000),
        { kind: "pause", forMs: 10_000 },
        { kind: "analysis", forMs: 20_000 },
        weightStep(5_000, 20_000),
        { kind: "pause", forMs: null },
        weightStep(10_000),
      ],
    }),
  );
const strategy = fc.oneof(
  fc.constant<EnvironmentSpec["strategy"]>({ kind: "blue-green" }),
  canary,
  fc.record({ kind: fc.constant("rolling" as const), maxSurge: amount, maxUnavailable: amount }),
);
const hooks = fc.constantFrom<EnvironmentSpec["hooks"]>({}, { expand: ["up"], contract: ["down"] });
const smoke = fc.constantFrom<EnvironmentSpec["smoke"]>([], [{ path: "/", status: 200 }]);
const more = fc.record({ strategy, hooks, smoke });

/** Only what is there can be steered. */
function steer(world: World, at: Extract<Step, { do: "abort" | "promote" | "pause" | "resume" }>): void {
  if (!world.releases.some(({ version }) => version === at.version)) return;
  if (at.do === "promote") return void world.promote(at.version, { full: at.full });
  world[at.do](at.version);
}

function take(world: World, at: Step): void {
  switch (at.do) {
    case "deploy":
      world.create({ whenBusy: at.whenBusy as "queue", hold: at.hold });
      return;
    case "abort":
    case "promote":
    case "pause":
    case "resume":
      return steer(world, at);
    case "rollback":
      world.rollback(at.to);
      return;
    case "weigh":
      world.weigh(at.a === at.b ? { [at.a]: 10_000 } : { [at.a]: at.share, [at.b]: 10_000 - at.share });
      return;
    case "answer": {
      const job = world.jobs[at.job % Math.max(1, world.jobs.length)];
      if (!job) return;
      world.report(job, at.fails ? { error } : {});
      if (at.twice) world.report(job, at.fails ? {} : { error });
      return;
    }
    case "probe":
      world.agents = { ...world.agents, probe: () => (at.answers ? null : "answered 530") };
      return;
    case "wait":
      world.run(world.now + at.ms);
      return;
    case "clock":
      world.now += at.ms;
      return;
    case "host":
      for (const host of world.hosts) if (host.name === "bert") host.alive = at.alive;
      return;
    case "agents":
      world.agents = { ...world.agents, job: at.lazy ? lazy : work };
      return;
    case "judge": {
      const judged = world.releases.find(({ state, weightBp }) => state === "shifting" && weightBp > 0);
      if (judged) world.judge(judged.version, at.says);
      return;
    }
    case "smoke":
      world.agents = { ...world.agents, smoke: () => (at.fails ? error : null) };
      return;
    case "lock":
      world.command(
        at.on
          ? (facts, now) =>
              modes.lock(facts, { actor: "ann", reason: "stocktaking", expiresAt: now + 60_000 }, now)
          : (facts, now) => modes.unlock(facts, { actor: "ann" }, now),
      );
      return;
    case "advance":
      world.settleNow();
  }
}

describe("whatever happens in whatever order", () => {
  // The World itself checks after each write: weights, slots, one active release, only serving instances with traffic,
  // the same decision from the same facts.
  it("every run comes to rest, with all hosts back and all agents at work", () => {
    fc.assert(
      fc.property(
        fc.array(step, { maxLength: 40 }),
        fc.constantFrom(1, 2, 3),
        more,
        (steps, replicas, spec) => {
          const world = warmed(replicas, spec);
          for (const at of steps) {
            take(world, at);
            const wakeAt = world.settleNow();
            const moving = world.releases.filter((release) => !isAtRest(release.state));
            if (moving.length > 0) expect(wakeAt, "what moves wakes by itself").not.toBeNull();
          }
          for (const host of world.hosts) host.alive = true;
          world.agents = { job: work, probe: () => null };
          world.analysis = null;
          const hooked = world.jobs
            .filter(({ kind }) => kind === "run")
            .map(({ releaseId, payload }) => `${releaseId} ${payload.hook}`);
          expect(new Set(hooked).size, "no hook twice").toBe(hooked.length);
          const partial = Object.keys(world.weights()).length > 1;
          world.run(world.now + 3_600_000);
          for (const release of world.releases) expect(isAtRest(release.state), release.state).toBe(true);
          const idle = world.settleNow();
          if (!partial) expect(idle, "nothing is left to do").toBeNull();
          const kept = world.instances.filter((instance) => instance.stoppedAt === null);
          expect(new Set(kept.map((i) => i.state))).toEqual(new Set(kept.length > 0 ? ["serving"] : []));
        },
      ),
      { numRuns: 100, endOnFailure: true },
    );
  });

  it("traffic never leaves a release for nothing: once one serves, one always serves", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), more, (steps, spec) => {
        const world = warmed(2, spec);
        for (const at of steps) take(world, at);
        world.run(world.now + 3_600_000);
        const first = world.tables.findIndex((weights) => Object.keys(weights).length > 0);
        for (const weights of world.tables.slice(first)) expect(weights).not.toEqual({});
      }),
      { numRuns: 50, endOnFailure: true },
    );
  });
});
