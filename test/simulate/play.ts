import { Actors } from "./actors.ts";
import type { Desk } from "./control/desk.ts";
import type { ControlPort } from "./control/port.ts";
import type { Visitors } from "./edge/visitors.ts";
import type { Scenario } from "./scenario.ts";
import { BEGIN } from "./setting.ts";
import { Watch } from "./watch/watch.ts";
import { World } from "./world.ts";

const MINUTE = 60_000;
/** The longest that anything begun may take by its own deadlines. */
const LONGEST_END_MS = 50 * MINUTE;

/** Those who differ by mode: control in memory with its edges, or the real one. */
interface Cast {
  readonly control: ControlPort;
  readonly desk: Desk;
  readonly visitors: Visitors | null;
}

/** Everything of one run: the world, who acts in it, and who watches. */
export class Play {
  readonly world: World;
  readonly watch: Watch;
  readonly visitors: Visitors | null;
  readonly #desk: Desk;

  constructor(scenario: Scenario, cast: (world: World, watch: Watch) => Cast, isTold = false) {
    this.world = new World(scenario, isTold);
    this.watch = new Watch(this.world);
    const { control, desk, visitors } = cast(this.world, this.watch);
    this.visitors = visitors;
    this.#desk = desk;
    this.world.begin(control);
  }

  /** All of it, to the rest after the last act. */
  async toTheEnd(): Promise<void> {
    const { world, watch, visitors } = this;
    const { clock, scenario } = world;
    const actors = new Actors({ world, watch, visitors, desk: this.#desk });
    for (const act of scenario.acts) clock.after(act.at, () => actors.perform(act));
    visitors?.arrive();
    await clock.until(BEGIN + scenario.quietAt);
    const latest = clock.now + LONGEST_END_MS;
    while (clock.now < latest && !watch.isAllAtRest()) await clock.until(clock.now + MINUTE);
    watch.end();
  }
}
