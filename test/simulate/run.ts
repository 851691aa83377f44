import { type Scenario, scenarioOf } from "./scenario.ts";
import type { Fault } from "./watch.ts";
import { type Told, World } from "./world.ts";

export interface Ran {
  readonly seed: number;
  readonly faults: readonly Fault[];
  readonly figures: {
    readonly events: number;
    readonly visits: number;
    readonly lost: number;
    readonly acts: number;
  };
  readonly story: readonly Told[];
}

/** Plays a scenario, and tells its story if asked. */
export async function run(scenario: Scenario, isTold = false): Promise<Ran> {
  const world = new World(scenario, isTold);
  await world.play();
  const { clock, visitors, watch } = world;
  const figures = { events: clock.ran, visits: visitors.count, lost: watch.lost, acts: watch.acts };
  return { seed: scenario.seed, faults: [...watch.faults.values()], figures, story: world.story ?? [] };
}

export const runSeed = (seed: number): Promise<Ran> => run(scenarioOf(seed));
