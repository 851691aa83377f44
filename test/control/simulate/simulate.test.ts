import { env } from "cloudflare:workers";
import { afterEach, describe, expect, it, vi } from "vitest";
import type { RoutingTable } from "../../../src/domain/routing/table.ts";
import { Control } from "../../simulate/control/control.ts";
import { DomainDesk } from "../../simulate/control/desk.ts";
import { Play } from "../../simulate/play.ts";
import { type Scenario, scenarioOf } from "../../simulate/scenario.ts";
import { storyOf } from "../../simulate/story.ts";
import type { World } from "../../simulate/world.ts";
import { HOSTNAME } from "../support/stage.ts";
import { RealControl } from "./real-control.ts";
import { RealDesk } from "./real-desk.ts";

/** More of them: `npm run simulate -- --real 300`, and others with `--from`. */
const SEEDS = Number(env.SIMULATE_SEEDS);
const FROM = Number(env.SIMULATE_FROM);
const STORY_MS = 600_000;

afterEach(() => vi.unstubAllGlobals());

/** No visitors: what is compared is control alone. */
function doubled(scenario: Scenario): Play {
  return new Play(
    scenario,
    (world, watch) => {
      const control = new Control(world, watch, { asksAtOnce: true });
      return { control, desk: new DomainDesk(world, watch, control), visitors: null };
    },
    true,
  );
}

async function real(scenario: Scenario): Promise<{ play: Play; control: RealControl }> {
  let control: RealControl | undefined;
  const play = new Play(
    scenario,
    (world) => {
      control = new RealControl(world);
      return { control, desk: new RealDesk(world, control), visitors: null };
    },
    true,
  );
  if (!control) throw new Error("nobody plays control");
  await RealControl.prepare(play.world);
  vi.stubGlobal("fetch", (input: RequestInfo | URL) => control?.answer(String(input)));
  return { play, control };
}

/** How it all ended, told without ids. */
function endOf({ control: { store } }: World) {
  const version = (id: string | null) => store.releases.find((release) => release.id === id)?.version ?? null;
  return {
    stable: version(store.stable),
    releases: store.releases
      .map(
        ({ version: name, state, weightBp, failure }) =>
          `${name} ${state} ${weightBp} ${failure?.code ?? ""}`,
      )
      .sort(),
    instances: store.instances
      .filter(({ stoppedAt }) => stoppedAt === null)
      .map((one) => `${version(one.releaseId)} in ${one.slotId} ${one.state}, ${one.reportState}`)
      .sort(),
  };
}

/** Who gets what share, from how many instances, told without ids. */
const routed = (table: RoutingTable | undefined) =>
  table?.releases.map(({ version, weightBp, instances }) => ({
    version,
    weightBp,
    instances: instances.map(({ ready }) => ready).sort(),
  }));

describe("the simulation's control", () => {
  const seeds = Array.from({ length: SEEDS }, (_, n) => n + FROM);
  it.each(seeds)(
    "shifts traffic in the plain story %d as the real one does, step by step, and ends so",
    async (seed) => {
      const scenario = scenarioOf(seed, true);
      const playedDouble = doubled(scenario);
      await playedDouble.toTheEnd();
      const { play, control } = await real(scenario);
      await play.toTheEnd();
      const [double, world] = [playedDouble.world, play.world];
      const told = `${storyOf(double.story ?? [])}\n---\n${storyOf(world.story ?? [])}`;
      expect(world.shares(), told).toEqual(double.shares());
      expect(endOf(world), told).toEqual(endOf(double));
      const answer = await control.coordinator.table(HOSTNAME, null);
      expect(routed(answer.kind === "table" ? answer.table : undefined)).toEqual(
        routed(double.control.table),
      );
    },
    STORY_MS,
  );
});
