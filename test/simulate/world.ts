import type { ControlPort } from "./control/port.ts";
import type { Release } from "./control/store.ts";
import type { Container } from "./hosts/container.ts";
import { Host } from "./hosts/host.ts";
import { BEGIN, Setting } from "./setting.ts";

/** The setting with what acts in it by itself: control, hosts, and the ways between them and the edges. */
export class World extends Setting {
  readonly hosts: Host[] = [];
  #control: ControlPort | undefined;
  /** How many cuts there are between the edge and control, and when that, or control, last changed. */
  edgeCuts = 0;
  edgeSince = 0;
  /** Epoch ms of the last commit that changed who has traffic. */
  movedAt = 0;
  /** Epoch ms of the last time control's clock was set on: it takes that for an absence of its own. */
  jumpedAt = 0;
  /** Who had what share, in order, each time that this was another at the end of a tick. `at`: epoch ms. */
  readonly #shares: { readonly at: number; readonly line: string }[] = [];

  /** Whose it is from now on; the scenario's hosts are added to it. */
  begin(control: ControlPort): void {
    this.#control = control;
    for (const slots of this.scenario.hosts) this.addHost(slots);
  }
  get control(): ControlPort {
    if (!this.#control) throw new Error("nobody plays control yet");
    return this.#control;
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

  addHost(slots: number): Host {
    const name = NAMES[this.hosts.length] ?? `host${this.hosts.length}`;
    this.control.addHost(name, slots);
    const host = new Host({ setting: this, control: this.control, hosts: this.hosts }, name);
    this.hosts.push(host);
    return host;
  }
  release(id: string): Release {
    const found = this.control.store.releases.find((release) => release.id === id);
    if (!found) throw new Error(`no release ${id}`);
    return found;
  }
  hostById(id: string): Host | undefined {
    return this.hosts.find((host) => host.id === id);
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
