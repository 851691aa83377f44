import { Control } from "./control/control.ts";
import { DomainDesk } from "./control/desk.ts";
import { Visitors } from "./edge/visitors.ts";
import type { Fault } from "./faults.ts";
import { Play } from "./play.ts";
import { type Scenario, scenarioOf } from "./scenario.ts";
import type { Told } from "./setting.ts";
import type { ByAct, Watch } from "./watch/watch.ts";
import type { World } from "./world.ts";

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
function domainCast(world: World, watch: Watch) {
  const control = new Control(world, watch);
  const desk = new DomainDesk(world, watch, control);
  return { control, desk, visitors: new Visitors(world, watch, control) };
}

/** Plays a scenario, and tells its story if asked. */
export async function run(scenario: Scenario, isTold = false): Promise<Ran> {
  const play = new Play(scenario, domainCast, isTold);
  await play.toTheEnd();
  const { visitors, watch } = play;
  const { clock, ledger, faults, story } = play.world;
  const figures = {
    events: clock.ran,
    visits: visitors?.count ?? 0,
    answered: watch.answered,
    lost: watch.lost,
    acts: watch.acts,
    lostMessages: ledger.lostMessages,
    doubledMessages: ledger.doubledMessages,
    byAct: watch.byAct,
  };
  return { seed: scenario.seed, faults: [...faults.values()], figures, story: story ?? [] };
}

export const runSeed = (seed: number): Promise<Ran> => run(scenarioOf(seed));
