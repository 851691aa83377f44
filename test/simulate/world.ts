import { Actors } from "./actors.ts";
import { Clock } from "./clock.ts";
import type { Container } from "./container.ts";
import type { Desk } from "./desk.ts";
import { Dice } from "./dice.ts";
import { Host } from "./host.ts";
import type { ControlPort } from "./port.ts";
import type { App, Scenario } from "./scenario.ts";
import type { Release } from "./store.ts";
import type { Visitors } from "./visitors.ts";
import { Watch } from "./watch.ts";

/** To come: so that no alarm of a real coordinator fires by itself. */
const BEGIN = 4_000_000_000_000;
const MINUTE = 60_000;
/** The longest that anything begun may take by its own deadlines. */
const LONGEST_END_MS = 50 * MINUTE;

export interface Told {
  /** ms since the beginning. */
  readonly at: number;
  readonly who: string;
  readonly what: string;
}

/** Those who differ by mode: control in memory with its edges, or the real one. */
export interface Cast {
  readonly control: ControlPort;
  readonly desk: Desk;
  readonly visitors: Visitors | null;
}

/** Everything of one run: control, hosts, edges, visitors, people, and one clock. */
export class World {
  readonly scenario: Scenario;
  readonly clock = new Clock(BEGIN);
  readonly watch: Watch;
  readonly control: ControlPort;
  readonly desk: Desk;
  readonly visitors: Visitors | null;
  readonly hosts: Host[] = [];
  /** Null: nobody listens. */
  readonly story: Told[] | null;
  /** Who had what share, in order, each time that this was another at the end of a tick. `at`: epoch ms. */
  readonly #shares: { readonly at: number; readonly line: string }[] = [];
  /** How many cuts there are between the edge and control, and when that, or control, last changed. */
  edgeCuts = 0;
  edgeSince = 0;
  readonly #apps = new Map<string, App>();

  constructor(scenario: Scenario, cast: (world: World) => Cast, isTold = false) {
    this.scenario = scenario;
    this.story = isTold ? [] : null;
    this.watch = new Watch(this);
    const { control, desk, visitors } = cast(this);
    this.control = control;
    this.desk = desk;
    this.visitors = visitors;
    for (const slots of scenario.hosts) this.addHost(slots);
  }

  /** Plays it all, to the rest after the last act. */
  async play(): Promise<void> {
    const actors = new Actors(this);
    for (const act of this.scenario.acts) this.clock.after(act.at, () => actors.perform(act));
    this.visitors?.arrive();
    await this.clock.until(BEGIN + this.scenario.quietAt);
    const latest = this.clock.now + LONGEST_END_MS;
    while (this.clock.now < latest && !this.watch.isAllAtRest())
      await this.clock.until(this.clock.now + MINUTE);
    this.watch.end();
  }

  say(who: string, what: () => string): void {
    this.story?.push({ at: this.clock.now - BEGIN, who, what: what() });
  }

  noteShares(): void {
    const { releases } = this.control.store;
    const weighed = releases.filter(({ weightBp }) => weightBp > 0);
    const line = weighed.map(({ version, weightBp }) => `${version} ${weightBp}`).sort();
    const said = line.join(", ");
    if (said !== this.#shares.at(-1)?.line) this.#shares.push({ at: this.clock.now, line: said });
  }

  /** Who had what share and since when, in order; what lasted no ms is left out. */
  shares(): { readonly at: number; readonly line: string }[] {
    const lasting = this.#shares.filter(({ at }, n) => this.#shares[n + 1]?.at !== at);
    const changes = lasting.filter(({ line }, n) => line !== lasting[n - 1]?.line);
    return changes.map(({ at, line }) => ({ at: at - BEGIN, line }));
  }

  dice(purpose: string): Dice {
    return new Dice(this.scenario.seed, purpose);
  }

  addHost(slots: number): Host {
    const name = NAMES[this.hosts.length] ?? `host${this.hosts.length}`;
    this.control.addHost(name, slots);
    const host = new Host(this, name);
    this.hosts.push(host);
    return host;
  }
  release(id: string): Release {
    const found = this.control.store.releases.find((release) => release.id === id);
    if (!found) throw new Error(`no release ${id}`);
    return found;
  }
  /** The same with its release's version in place of its id, which the real control draws by chance. */
  nameOf(what: string): string {
    const told = this.control.store.releases.find(({ id }) => what.endsWith(id) || what.includes(`${id}-`));
    return told ? what.replace(told.id, told.version) : what;
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
