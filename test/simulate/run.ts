import { Control } from "./control.ts";
import { DomainDesk } from "./desk.ts";
import { type Scenario, scenarioOf } from "./scenario.ts";
import { Visitors } from "./visitors.ts";
import type { ByAct, Fault } from "./watch.ts";
import { type Cast, type Told, World } from "./world.ts";

export interface Ran {
  readonly seed: number;
  readonly faults: readonly Fault[];
  readonly figures: {
    readonly events: number;
    readonly visits: number;
    readonly answered: number;
    readonly lost: number;
    readonly acts: number;
    /** Messages that were lost or came twice. */
    readonly lostMessages: number;
    readonly doubledMessages: number;
    readonly byAct: ByAct;
  };
  readonly story: readonly Told[];
}

/** Control in memory over the real domain, and the real edge before it. */
function domainCast(world: World): Cast {
  const control = new Control(world);
  return { control, desk: new DomainDesk(world, control), visitors: new Visitors(world, control) };
}

/** Plays a scenario, and tells its story if asked. */
export async function run(scenario: Scenario, isTold = false): Promise<Ran> {
  const world = new World(scenario, domainCast, isTold);
  await world.play();
  const { clock, visitors, watch } = world;
  const figures = {
    events: clock.ran,
    visits: visitors?.count ?? 0,
    answered: watch.answered,
    lost: watch.lost,
    acts: watch.acts,
    lostMessages: watch.lostMessages,
    doubledMessages: watch.doubledMessages,
    byAct: watch.byAct,
  };
  return { seed: scenario.seed, faults: [...watch.faults.values()], figures, story: world.story ?? [] };
}

export const runSeed = (seed: number): Promise<Ran> => run(scenarioOf(seed));
