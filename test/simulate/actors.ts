import { isActive } from "../../src/domain/rollout/release.ts";
import { begunStep } from "../../src/domain/rollout/steps.ts";
import type { Desk } from "./control/desk.ts";
import type { Release } from "./control/store.ts";
import type { Visitors } from "./edge/visitors.ts";
import { type Container, isChosen } from "./hosts/container.ts";
import type { Host } from "./hosts/host.ts";
import type { Act } from "./scenario.ts";
import type { Watch } from "./watch/watch.ts";
import type { World } from "./world.ts";

/** Where they act, through whom, and who looks on. */
interface Place {
  readonly world: World;
  readonly watch: Watch;
  readonly desk: Desk;
  readonly visitors: Visitors | null;
}
type Of<K extends Act["do"]> = Extract<Act, { do: K }>;

/** People and misfortune: does what a scenario's acts say, to whatever there is at that moment. */
export class Actors {
  readonly #world: World;
  readonly #watch: Watch;
  readonly #desk: Desk;
  readonly #visitors: Visitors | null;
  readonly #began: number;

  constructor({ world, watch, desk, visitors }: Place) {
    this.#world = world;
    this.#watch = watch;
    this.#desk = desk;
    this.#visitors = visitors;
    this.#began = world.clock.now;
  }

  async perform(act: Act): Promise<void> {
    this.#watch.acts += 1;
    const who = act.do in PEOPLE ? "people" : "fate";
    this.#world.say(who, () => describe(act));
    if (!isPersons(act)) return this.#watch.count(act.do, await this.#fate(act));
    const wasDone = await this.#person(act);
    this.#watch.count(act.do, wasDone);
    if ("twice" in act && act.twice) this.#world.clock.after(this.#gap(act), () => this.#again(act, wasDone));
  }

  #gap = (act: Act): number => 100 + (act.at % 700);

  /** One whose first was refused does it once, and not again. */
  async #again(act: PersonsAct, wasDone: boolean): Promise<void> {
    this.#world.say("people", () => `${act.do}, a second time`);
    // Who steps on by one step twice has stepped over one.
    const traffic = () => (act.do === "promote" ? this.#split() : this.#serving());
    const before = traffic();
    const isDone = await this.#person(act);
    this.#watch.count(`${act.do}, again`, isDone);
    this.#watch.repeated(act.do, wasDone && isDone && before !== traffic());
  }

  // --- people -----------------------------------------------------------------------------------------------------------

  async #person(act: PersonsAct): Promise<boolean> {
    const { control } = this.#world;
    const desk = this.#desk;
    if (!control.isUp) return false;
    const open = this.#open();
    switch (act.do) {
      case "deploy":
        return desk.deploy(act);
      case "abort":
      case "pause":
      case "resume":
        return open ? desk[act.do](open.id) : false;
      case "promote":
        return open ? desk.promote(open.id, { step: this.#seen(act, open), full: act.full }) : false;
      case "rollback":
        return desk.rollback(act.older ? this.#oldest() : null, this.#sawServing(act));
      case "weigh":
        return this.#weigh(act);
      case "lock":
        return desk.lock(act.forMs);
      case "unlock":
        return desk.unlock();
      case "apply":
        return desk.apply(act.change);
      case "drain host":
        return this.#drain(act);
      case "destroy":
        return desk.destroy();
      case "restart":
        return desk.restart();
      case "scale":
        return desk.scale({
          ...(act.web !== null && { web: act.web }),
          ...(act.worker !== null && { worker: act.worker }),
        });
      case "run":
        return desk.run(act.deadlineMs);
    }
  }

  async #drain({ host: place, force, then }: Of<"drain host">): Promise<boolean> {
    const { hosts, clock } = this.#world;
    const desk = this.#desk;
    const host = hosts[place];
    if (!host || host.isRemoved || !(await desk.drain(host.id, force))) return false;
    if (then === "remove") this.#removeWhenEmpty(host);
    else if (then) clock.after(then.undoAfterMs, () => void desk.drain(host.id, null));
    return true;
  }

  /** As whoever takes a machine away does it: looks now and then, and has the time. */
  #removeWhenEmpty(host: Host): void {
    const { control, clock, scenario } = this.#world;
    const { instances, workers, runs } = control.store;
    const isBusy = [...instances, ...workers].some(
      ({ hostId, stoppedAt }) => hostId === host.id && stoppedAt === null,
    );
    const isRunning = runs.some(({ hostId, endedAt }) => hostId === host.id && endedAt === null);
    if (host.isRemoved || clock.now - this.#began > scenario.quietAt) return;
    if (isBusy || isRunning || !control.isUp) return clock.after(5_000, () => this.#removeWhenEmpty(host));
    this.#world.say("people", () => `remove ${host.name}, which is empty`);
    return void this.#remove(host);
  }

  async #remove(host: Host): Promise<void> {
    host.remove();
    await this.#world.control.removeHost(host.id);
  }

  /** The release on its way, or else the one that is to be next. */
  #open(): Release | undefined {
    const { releases } = this.#world.control.store;
    const newestFirst = releases.toReversed();
    return (
      newestFirst.find(({ state }) => isActive(state)) ?? newestFirst.find(({ state }) => state === "queued")
    );
  }

  /** Whose traffic they meant to take when they first pressed: the same for a second press. */
  readonly #served = new Map<Act, string | null>();
  #sawServing(act: Act): string | null {
    const known = this.#served.get(act);
    if (known !== undefined) return known;
    const { store } = this.#world.control;
    const serving = store.releases.filter(({ weightBp }) => weightBp > 0);
    const onItsWay = store.releases.find(({ state }) => state === "shifting");
    const seen = onItsWay?.id ?? serving.sort((a, b) => b.weightBp - a.weightBp)[0]?.id ?? null;
    this.#served.set(act, seen);
    return seen;
  }

  /** What a person saw when they first pressed: the same step for a second press. */
  readonly #steps = new Map<Act, number>();
  #seen(act: Act, release: Release): number {
    const step = this.#steps.get(act) ?? begunStep(release);
    this.#steps.set(act, step);
    return step;
  }

  #oldest = (): string | null =>
    this.#world.control.store.releases.find(({ servingAt }) => servingAt !== null)?.id ?? null;

  async #weigh({ share, third }: Of<"weigh">): Promise<boolean> {
    const { releases, stable } = this.#world.control.store;
    const open = releases.find(({ state }) => state === "shifting");
    const others = releases.toReversed().filter(({ id, servingAt }) => servingAt !== null && id !== open?.id);
    const base = third ? others.find(({ id }) => id !== stable) : others[0];
    const a = open ?? others.find(({ id }) => id !== base?.id);
    if (!a || !base) return false;
    this.#world.say("people", () => `weigh ${a.version} ${share / 100} %, ${base.version} the rest`);
    return this.#desk.weigh({ [a.id]: share, [base.id]: 10_000 - share });
  }

  #serving(): string | undefined {
    const { releases } = this.#world.control.store;
    return releases.toSorted((a, b) => b.weightBp - a.weightBp)[0]?.id;
  }

  #split = (): string =>
    this.#world.control.store.releases.map(({ id, weightBp }) => `${id} ${weightBp}`).join(", ");

  // --- fate -------------------------------------------------------------------------------------------------------------

  /** False: there was nothing to be done to. */
  async #fate(act: Exclude<Act, PersonsAct>): Promise<boolean> {
    const { clock, control, hosts } = this.#world;
    if (act.do === "end" || act.do === "freeze" || act.do === "remove container") return this.#strike(act);
    if (act.do === "end in turn") return this.#endInTurn(act, 0);
    if (act.do === "take port") {
      const those = hosts.filter((host, n) => !host.isRemoved && (act.host === "all" || act.host === n));
      return those.map((host) => host.takePort(act.slot, act.forMs)).includes(true);
    }
    if (act.do === "clock jumps") {
      control.jump(act.byMs);
      if (act.byMs > 0) this.#world.jumpedAt = clock.now;
    }
    if (act.do === "enrol host") this.#world.addHost(act.slots);
    if (act.do === "control ends") {
      control.isUp = false;
      this.#world.edgeSince = clock.now;
      clock.after(act.forMs, () => {
        control.isUp = true;
        this.#world.edgeSince = clock.now;
        control.poke();
      });
    }
    if (act.do === "edge begins") this.#visitors?.begin();
    if (act.do === "edge cut") {
      this.#world.edgeCuts += 1;
      this.#world.edgeSince = clock.now;
      clock.after(act.forMs, () => {
        this.#world.edgeCuts -= 1;
        this.#world.edgeSince = clock.now;
      });
    }
    if (!("host" in act)) return true;
    const host = hosts[act.host];
    if (!host || host.isRemoved) return false;
    if (act.do === "agent ends") host.endAgent(act.forMs);
    if (act.do === "host ends") host.end(act.forMs);
    if (act.do === "cut") host.cut(act.from, act.forMs);
    if (act.do !== "remove host") return true;
    await this.#remove(host);
    this.#world.movedAt = clock.now;
    return true;
  }

  #strike(act: Of<"end" | "freeze" | "remove container">): boolean {
    const chosen = this.#chosen(act);
    for (const one of chosen) {
      if (act.do === "freeze") one.freeze(act.forMs);
      else if (act.do === "end") {
        one.isBroken ||= act.forGood;
        one.end("exited with code 1");
      } else for (const host of this.#world.hosts) if (host.containers.has(one.id)) host.lose(one.id);
    }
    return chosen.length > 0;
  }

  /** One after the other, each back before the next one ends. */
  #endInTurn(act: Of<"end in turn">, turn: number): boolean {
    const all = this.#chosen({ which: "all", of: act.of });
    all[turn % all.length]?.end("exited with code 1");
    if (turn + 1 < act.times) this.#world.clock.after(act.everyMs, () => void this.#endInTurn(act, turn + 1));
    return all.length > 0;
  }

  /** Ids of the releases that are meant; null: any. */
  #named(of: Of<"end">["of"]): (string | null | undefined)[] | null {
    const { releases, stable } = this.#world.control.store;
    if (of === "newest") return [releases.at(-1)?.id];
    if (of === "stable") return [stable];
    if (of === "any") return null;
    const served = releases.filter(({ servingAt }) => servingAt !== null);
    const newestFirst = served.sort((a, b) => (b.servingAt ?? 0) - (a.servingAt ?? 0));
    return newestFirst.slice(0, 2).map(({ id }) => id);
  }

  #chosen({ which, of }: Pick<Of<"end">, "which" | "of">): Container[] {
    const wanted = this.#named(of);
    return this.#world.hosts
      .filter(({ isRemoved }) => !isRemoved)
      .flatMap(({ containers }) => [...containers.values()])
      .filter((one) => one.state === "ready" && (wanted === null || wanted.includes(one.releaseId)))
      .filter((one) => isChosen(which, one.id));
  }
}

const PEOPLE = {
  deploy: 1,
  abort: 1,
  promote: 1,
  pause: 1,
  resume: 1,
  rollback: 1,
  weigh: 1,
  lock: 1,
  unlock: 1,
  apply: 1,
  "drain host": 1,
  destroy: 1,
  restart: 1,
  scale: 1,
  run: 1,
} as const;
type PersonsAct = Of<keyof typeof PEOPLE>;
const isPersons = (act: Act): act is PersonsAct => act.do in PEOPLE;

function describe({ at: _, do: what, ...rest }: Act): string {
  const details = Object.entries(rest).map(([name, value]) => `${name} ${JSON.stringify(value)}`);
  return [what, ...details].join(", ");
}
