import { Actors } from "./actors.ts";
import { Clock } from "./clock.ts";
import type { Container } from "./container.ts";
import { Control } from "./control.ts";
import { Dice } from "./dice.ts";
import { Host } from "./host.ts";
import type { App, Scenario } from "./scenario.ts";
import { Visitors } from "./visitors.ts";
import { Watch } from "./watch.ts";

const BEGIN = 1_700_000_000_000;
const MINUTE = 60_000;
/** The longest that anything begun may take by its own deadlines. */
const LONGEST_END_MS = 50 * MINUTE;

export interface Told {
  /** ms since the beginning. */
  readonly at: number;
  readonly who: string;
  readonly what: string;
}

/** Everything of one run: control over the domain, hosts, edges, visitors, people, and one clock. */
export class World {
  readonly scenario: Scenario;
  readonly clock = new Clock(BEGIN);
  readonly watch: Watch;
  readonly control: Control;
  readonly visitors: Visitors;
  readonly hosts: Host[] = [];
  /** Null: nobody listens. */
  readonly story: Told[] | null;
  /** How many cuts there are between the edge and control. */
  edgeCuts = 0;
  readonly #apps = new Map<string, App>();

  constructor(scenario: Scenario, isTold: boolean) {
    this.scenario = scenario;
    this.story = isTold ? [] : null;
    this.watch = new Watch(this);
    this.control = new Control(this);
    this.control.store.spec = scenario.spec;
    this.control.store.now = this.clock.now;
    for (const slots of scenario.hosts) this.addHost(slots);
    this.visitors = new Visitors(this);
  }

  /** Plays it all, to the rest after the last act. */
  async play(): Promise<void> {
    const actors = new Actors(this);
    for (const act of this.scenario.acts) this.clock.after(act.at, () => actors.perform(act));
    this.visitors.arrive();
    await this.clock.until(BEGIN + this.scenario.quietAt);
    const latest = this.clock.now + LONGEST_END_MS;
    while (this.clock.now < latest && !this.watch.isAllAtRest())
      await this.clock.until(this.clock.now + MINUTE);
    this.watch.end();
  }

  say(who: string, what: () => string): void {
    this.story?.push({ at: this.clock.now - BEGIN, who, what: what() });
  }

  dice(purpose: string): Dice {
    return new Dice(this.scenario.seed, purpose);
  }

  addHost(slots: number): Host {
    const name = NAMES[this.hosts.length] ?? `host${this.hosts.length}`;
    this.control.store.now = this.control.now;
    this.control.store.addHost(name, slots);
    const host = new Host(this, name);
    this.hosts.push(host);
    return host;
  }
  hostById(id: string): Host | undefined {
    return this.hosts.find((host) => host.id === id);
  }

  setApp(release: string, app: App): void {
    this.#apps.set(release, app);
  }
  appOf(release: string): App {
    const app = this.#apps.get(release);
    if (!app) throw new Error(`nobody deployed ${release}`);
    return app;
  }

  container(instance: string): Container | undefined {
    for (const { containers } of this.hosts) {
      const found = containers.get(instance);
      if (found) return found;
    }
    return undefined;
  }
  /** Whether a visitor's request would be answered by it now. */
  isReachable(instance: string): boolean {
    return this.container(instance)?.isReachable === true;
  }
}

const NAMES = ["anna", "bert", "carl", "dora", "emil", "fred"];
