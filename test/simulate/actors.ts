import { planRelease } from "../../src/control/views/plan.ts";
import * as modes from "../../src/domain/commands/modes.ts";
import type { Outcome } from "../../src/domain/commands/refusal.ts";
import * as commands from "../../src/domain/commands/releases.ts";
import * as rollbacks from "../../src/domain/commands/rollback.ts";
import * as steer from "../../src/domain/commands/steer.ts";
import type { EnvironmentFacts } from "../../src/domain/rollout/facts.ts";
import { isActive, type ReleaseFacts } from "../../src/domain/rollout/release.ts";
import { type Container, isChosen } from "./container.ts";
import type { Act } from "./scenario.ts";
import type { World } from "./world.ts";

type Of<K extends Act["do"]> = Extract<Act, { do: K }>;

/** People and misfortune: does what a scenario's acts say, to whatever there is at that moment. */
export class Actors {
  readonly #world: World;
  #made = 0;

  constructor(world: World) {
    this.#world = world;
  }

  async perform(act: Act): Promise<void> {
    this.#world.watch.acts += 1;
    const who = act.do in PEOPLE ? "people" : "fate";
    this.#world.say(who, () => describe(act));
    if (isPersons(act)) await this.#person(act);
    else this.#fate(act);
    if ("twice" in act && act.twice) this.#world.clock.after(this.#gap(act), () => this.#again(act));
  }

  #gap = (act: Act): number => 100 + (act.at % 700);

  async #again(act: PersonsAct): Promise<void> {
    this.#world.say("people", () => `${act.do}, a second time`);
    const before = this.#serving();
    const isDone = await this.#person(act);
    this.#world.watch.repeated(act.do, isDone && before !== this.#serving());
  }

  // --- people -----------------------------------------------------------------------------------------------------------

  /** True: it was done; false: refused, or there was nobody to do it to. */
  #person(act: PersonsAct): Promise<boolean> {
    switch (act.do) {
      case "deploy":
        return this.#deploy(act);
      case "abort":
        return this.#steer(act.do, (facts, { id }, now) =>
          commands.abort(facts, { release: id, actor: "ann", reason: null }, now),
        );
      case "promote":
        return this.#steer(act.do, (facts, release, now) =>
          steer.promote(facts, { ...this.#seen(act, release), full: act.full }, now),
        );
      case "pause":
        return this.#steer(act.do, (facts, { id }, now) =>
          steer.pause(facts, { release: id, actor: "ann", step: null }, now),
        );
      case "resume":
        return this.#steer(act.do, (facts, { id }, now) =>
          steer.resume(facts, { release: id, actor: "ann", step: null }, now),
        );
      case "rollback":
        return this.#rollback(act);
      case "weigh":
        return this.#weigh(act);
      case "lock":
        return this.#command("lock", (facts, now) =>
          modes.lock(facts, { actor: "ann", reason: "stocktaking", expiresAt: now + act.forMs }, now),
        );
      case "unlock":
        return this.#command("unlock", (facts, now) => modes.unlock(facts, { actor: "ann" }, now));
      case "apply":
        return this.#apply(act);
    }
  }

  async #command(
    name: string,
    make: (facts: EnvironmentFacts, now: number) => Outcome<object>,
  ): Promise<boolean> {
    const { control } = this.#world;
    if (!control.isUp) return false;
    const facts = control.facts();
    try {
      const made = make(facts, control.now);
      if (!made.ok) {
        this.#world.say("control", () => `refuses ${name}: ${made.error.detail}`);
        return false;
      }
      control.commit(facts, made.value.decision, { who: "people", what: name });
    } catch (error) {
      this.#world.watch.fault("engine throws", `${name}: ${error instanceof Error ? error.message : error}`);
      return false;
    }
    await control.advance();
    return true;
  }

  /** What a person saw when they first pressed: the same step for a second press. */
  readonly #steps = new Map<Act, number>();
  #seen(act: Act, release: ReleaseFacts) {
    const step = this.#steps.get(act) ?? release.stepIndex ?? 0;
    this.#steps.set(act, step);
    return { release: release.id, actor: "ann", step };
  }

  async #steer(
    name: string,
    make: (facts: EnvironmentFacts, release: ReleaseFacts, now: number) => Outcome<object>,
  ): Promise<boolean> {
    const { releases } = this.#world.control.facts();
    const open =
      releases.find(({ state }) => isActive(state)) ?? releases.find(({ state }) => state === "queued");
    if (!open) return false;
    return this.#command(name, (facts, now) => make(facts, open, now));
  }

  async #deploy({ app, whenBusy, hold }: Of<"deploy">): Promise<boolean> {
    const { control, watch } = this.#world;
    const id = `rel-${++this.#made}`;
    this.#world.setApp(id, app);
    const input = {
      id,
      image: null,
      version: null,
      git: null,
      whenBusy,
      actor: "ci",
      requestKey: null,
    } as const;
    const before = control.facts();
    const asked = { version: null, whenBusy, hold, override: false };
    const plan = planRelease({ facts: before, asked, accessories: [], now: control.now });
    const made = await this.#command("deploy", (facts, now) =>
      commands.createRelease(facts, { ...input, hold, override: false }, now),
    );
    if (made) watch.planned(id, plan, before);
    return made;
  }

  async #rollback({ older }: Of<"rollback">): Promise<boolean> {
    const { control } = this.#world;
    if (!control.isUp) return false;
    const facts = control.facts();
    const served = facts.releases.filter(({ servingAt }) => servingAt !== null);
    const to = older ? (served.at(-1)?.id ?? null) : null;
    const plan = rollbacks.planRollback(facts, to);
    if (!plan.ok) return this.#refused("rollback", plan.error.detail);
    const { how, prove } = plan.value;
    const isSilent = prove.some(({ id }) => !this.#world.isReachable(id));
    if (how === "instant" && !isSilent)
      return this.#command("rollback", (now_facts, now) =>
        rollbacks.rollbackInstantly(now_facts, plan.value, { actor: "ann", reason: "asked" }, now),
      );
    const id = `rel-${++this.#made}`;
    this.#world.setApp(id, this.#world.appOf(plan.value.to.id));
    return this.#command("rollback by release", (now_facts, now) =>
      rollbacks.rollbackByRelease(now_facts, plan.value, { id, actor: "ann" }, now),
    );
  }

  #refused(name: string, detail: string): boolean {
    this.#world.say("control", () => `refuses ${name}: ${detail}`);
    return false;
  }

  #weigh({ share, third }: Of<"weigh">): Promise<boolean> {
    const { releases, stableReleaseId } = this.#world.control.facts();
    const open = releases.find(({ state }) => state === "shifting");
    const others = releases.filter(({ id, servingAt }) => servingAt !== null && id !== open?.id);
    const base = third ? others.find(({ id }) => id !== stableReleaseId) : others[0];
    const a = open ?? others.find(({ id }) => id !== base?.id);
    if (!a || !base) return Promise.resolve(false);
    const weights = { [a.id]: share, [base.id]: 10_000 - share };
    return this.#command(
      `weights ${a.version}=${share / 100} ${base.version}=${100 - share / 100}`,
      (facts, now) => steer.setWeights(facts, { weights, actor: "ann", seenRev: null }, now),
    );
  }

  async #apply({ change }: Of<"apply">): Promise<boolean> {
    const { store } = this.#world.control;
    store.spec = { ...store.spec, ...change };
    store.rev += 1;
    this.#world.control.poke();
    return true;
  }

  #serving(): string | undefined {
    const { releases } = this.#world.control.store;
    return releases.toSorted((a, b) => b.weightBp - a.weightBp)[0]?.id;
  }

  // --- fate -------------------------------------------------------------------------------------------------------------

  #fate(act: Exclude<Act, PersonsAct>): void {
    const { clock, control, hosts } = this.#world;
    if (act.do === "end")
      for (const one of this.#chosen(act)) {
        one.isBroken ||= act.forGood;
        one.end("exited with code 1");
      }
    if (act.do === "freeze") for (const one of this.#chosen(act)) one.freeze(act.forMs);
    if (act.do === "remove container")
      for (const { id } of this.#chosen(act))
        for (const host of hosts) if (host.containers.has(id)) host.lose(id);
    if (act.do === "clock jumps") control.jump(act.byMs);
    if (act.do === "enrol host") this.#world.addHost(act.slots);
    if (act.do === "control ends") {
      control.isUp = false;
      clock.after(act.forMs, () => {
        control.isUp = true;
        control.poke();
      });
    }
    if (act.do === "edge begins") this.#world.visitors.begin();
    if (act.do === "edge cut") {
      this.#world.edgeCuts += 1;
      clock.after(act.forMs, () => {
        this.#world.edgeCuts -= 1;
      });
    }
    if (!("host" in act)) return;
    const host = hosts[act.host];
    if (!host || host.isRemoved) return;
    if (act.do === "agent ends") host.endAgent(act.forMs);
    if (act.do === "host ends") host.end(act.forMs);
    if (act.do === "cut") host.cut(act.from, act.forMs);
    if (act.do === "remove host") this.#remove(host.id);
  }

  #remove(id: string): void {
    const host = this.#world.hostById(id);
    if (!host) return;
    host.isRemoved = true;
    this.#world.control.removeHost(id);
  }

  #chosen({ which, of }: Of<"end" | "freeze" | "remove container">): Container[] {
    const { releases, stable } = this.#world.control.store;
    const newest = releases.at(-1)?.id;
    const wanted = of === "newest" ? newest : of === "stable" ? stable : null;
    return this.#world.hosts
      .flatMap(({ containers }) => [...containers.values()])
      .filter((one) => one.state === "ready" && (wanted === null || one.releaseId === wanted))
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
} as const;
type PersonsAct = Of<keyof typeof PEOPLE>;
const isPersons = (act: Act): act is PersonsAct => act.do in PEOPLE;

function describe({ at: _, do: what, ...rest }: Act): string {
  const details = Object.entries(rest).map(([name, value]) => `${name} ${JSON.stringify(value)}`);
  return [what, ...details].join(", ");
}
