import { abortAllDurableObjects, runDurableObjectAlarm } from "cloudflare:test";
import { afterAll, afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Coordinator } from "../../../src/control/environment/coordinator.ts";
import type { FaultPoint } from "../../../src/control/environment/loop.ts";
import type { EnvironmentSpec } from "../../../src/domain/spec.ts";
import { aCanary, weightStep } from "../../domain/rollout/spec.ts";
import { Stage } from "../support/stage.ts";

const STRATEGIES: Readonly<Record<string, EnvironmentSpec["strategy"]>> = {
  "blue-green": { kind: "blue-green" },
  rolling: { kind: "rolling", maxSurge: { count: 1 }, maxUnavailable: { count: 0 } },
  canary: aCanary({
    steps: [weightStep(1_000, 10_000), weightStep(10_000)],
    analysis: { enabled: false },
  }),
};
const SPEC = { keepMs: 0, drainMs: 1_000, hooks: { expand: ["up"] }, smoke: [{ path: "/", status: 200 }] };

let stage: Stage;
beforeEach(() => {
  vi.stubGlobal("fetch", async () => new Response("ok"));
  vi.spyOn(console, "error").mockImplementation(() => {});
});
afterEach(() => {
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
});

/** Every coordinator of this run dies at the n-th passing of its life: it hangs there, and is then taken away. */
class Death {
  readonly kills: string[] = [];
  #hit: (() => void) | undefined;
  readonly #point: FaultPoint;
  readonly #nth: number;

  constructor(point: FaultPoint, nth: number) {
    this.#point = point;
    this.#nth = nth;
  }

  /** Resolves when the one that lives now has died, never if it does not. */
  watch(coordinator: Coordinator): Promise<"dead"> {
    let passed = 0;
    const died = new Promise<"dead">((resolve) => {
      this.#hit = () => resolve("dead");
    });
    coordinator.fault = (at) => {
      if (at !== this.#point || ++passed < this.#nth) return;
      this.#hit?.();
      return new Promise<void>(() => {});
    };
    return died;
  }
}

/** v2 takes over from v1, by nothing but the alarm once it was asked for. */
async function takeOver(strategy: EnvironmentSpec["strategy"], death?: Death): Promise<void> {
  stage = await Stage.open({ ...SPEC, strategy });
  // Ahead of the runtime's own clock: no alarm rings but where the test rings it. One that is killed in its ring waits for another.
  stage.at = Date.now() + 3_600_000;
  await stage.deploy();
  await settle("v1");
  let seen = (await stage.routed()).version;
  let died = death && (await stage.inside((coordinator) => ({ death: death.watch(coordinator) }))).death;
  const bury = async () => {
    death?.kills.push((await stage.releases()).find(({ version }) => version === "v2")?.state ?? "none");
    await abortAllDurableObjects();
    died = (await stage.inside((coordinator) => ({ death: death?.watch(coordinator) }))).death;
  };
  // What runs beside the turn (probes, smoke checks) may die a little later.
  const isDead = async () => died && (await Promise.race([died, pause(BESIDE_MS)])) === "dead";
  const alone = async (work: () => Promise<unknown>) => {
    const done = work().catch(() => "refused");
    if ((await Promise.race([done, ...(died ? [died] : [])])) === "dead") await bury();
    else if (await isDead()) await bury();
  };
  await alone(() => stage.create({ requestKey: "k" }));
  // Whoever asked and got no answer asks again; all that follows is the alarm's.
  await alone(() => stage.create({ requestKey: "k" }));
  for (let turn = 0; turn < 100; turn++) {
    // A host that has done its job says so, once.
    const worked = (await stage.work()) > 0;
    stage.at += 2_000;
    await stage.inside(() => {});
    await alone(() => (worked ? stage.coordinator.poke() : runDurableObjectAlarm(stage.coordinator)));
    const { version } = await stage.routed();
    expect(version, "the table never steps back").toBeGreaterThanOrEqual(seen);
    seen = version;
    if (await isOver("v2", "v1")) return;
  }
  throw new Error(`v2 never came to rest: ${JSON.stringify(await outcome())}`);
}

const BESIDE_MS = 20;
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

async function settle(version: string): Promise<void> {
  for (let turn = 0; turn < 30 && !(await isOver(version)); turn++) {
    stage.at = (stage.at ?? 0) + 2_000;
    await stage.work();
    await stage.inside((coordinator) => coordinator.poke());
  }
}
async function isOver(version: string, before?: string): Promise<boolean> {
  const releases = await stage.releases();
  const id = releases.find((release) => release.version === before)?.id;
  const live = releases.some((release) => release.version === version && release.state === "live");
  return (
    live && (await stage.instances()).every(({ releaseId, state }) => releaseId !== id || state === "stopped")
  );
}

/** What is left behind, with versions for ids. */
async function outcome() {
  const releases = await stage.releases();
  const named = (text: string) =>
    releases.reduce((all, { id, version }) => all.replaceAll(id, version), text);
  return {
    releases: releases.map(({ version, state, weightBp }) => `${version} ${state} ${weightBp}`),
    instances: (await stage.instances()).map(({ id, state }) => `${named(id)} ${state}`).sort(),
    jobs: (await stage.jobs()).map(({ id, state }) => `${named(id)} ${state}`).sort(),
    weights: (await stage.routed()).weights,
  };
}

const table: Record<string, string> = {};
afterAll(() => console.info(JSON.stringify(table, null, 1)));

describe.each(Object.entries(STRATEGIES))(
  "a coordinator killed at every transition of a %s release",
  (kind, strategy) => {
    let undisturbed: Awaited<ReturnType<typeof outcome>>;
    // Beyond the first passing of its life where dying at each would let nothing ever pass.
    const points: readonly [FaultPoint, number][] = [
      ["armed", 2],
      ["committed", 1],
      ["published", 1],
      ["woken", 2],
    ];

    it("comes to rest undisturbed", async () => {
      await takeOver(strategy);
      undisturbed = await outcome();
      expect(undisturbed.releases).toEqual(["v1 superseded 0", "v2 live 10000"]);
      expect(undisturbed.jobs.filter((job) => job.startsWith("expand"))).toHaveLength(2);
    });

    it.each(points)("at `%s` leaves the same behind, by its alarm alone", async (point, nth) => {
      const death = new Death(point, nth);
      await takeOver(strategy, death);
      table[`${kind} ${point}`] = `${death.kills.length}: ${[...new Set(death.kills)].join(", ")}`;
      expect(death.kills.length).toBeGreaterThan(0);
      expect(await outcome()).toEqual(undisturbed);
    });
  },
);
