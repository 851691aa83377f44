import { planRelease } from "../../../src/control/views/plan.ts";
import { destroy } from "../../../src/domain/commands/destroy.ts";
import * as modes from "../../../src/domain/commands/modes.ts";
import type { Outcome } from "../../../src/domain/commands/refusal.ts";
import * as commands from "../../../src/domain/commands/releases.ts";
import * as rollbacks from "../../../src/domain/commands/rollback.ts";
import { createRun } from "../../../src/domain/commands/runs.ts";
import { restart, scale } from "../../../src/domain/commands/scale.ts";
import * as steer from "../../../src/domain/commands/steer.ts";
import type { EnvironmentFacts } from "../../../src/domain/rollout/facts.ts";
import { movingFrom } from "../../../src/domain/rollout/upkeep/stranded.ts";
import type { EnvironmentSpec } from "../../../src/domain/spec.ts";
import type { Act } from "../scenario.ts";
import type { Watch } from "../watch/watch.ts";
import type { World } from "../world.ts";
import type { Control } from "./control.ts";

export type Deploy = Pick<Extract<Act, { do: "deploy" }>, "app" | "whenBusy" | "hold">;

/** What people ask control for. True: it was done; false: refused. */
export interface Desk {
  deploy(input: Deploy): Promise<boolean>;
  abort(release: string): Promise<boolean>;
  promote(release: string, input: { readonly step: number; readonly full: boolean }): Promise<boolean>;
  pause(release: string): Promise<boolean>;
  resume(release: string): Promise<boolean>;
  rollback(to: string | null, seen: string | null): Promise<boolean>;
  weigh(weights: Readonly<Record<string, number>>): Promise<boolean>;
  lock(forMs: number): Promise<boolean>;
  unlock(): Promise<boolean>;
  apply(change: Partial<EnvironmentSpec>): Promise<boolean>;
  /** Null: not to be emptied any more. */
  drain(host: string, force: boolean | null): Promise<boolean>;
  destroy(): Promise<boolean>;
  restart(): Promise<boolean>;
  scale(counts: Readonly<Record<string, number>>): Promise<boolean>;
  run(deadlineMs: number): Promise<boolean>;
}

const ACTOR = "ann";
const CI = { image: null, version: null, git: null, actor: "ci", requestKey: null, override: false } as const;

/** The domain's commands, decided on and written as the coordinator does. */
export class DomainDesk implements Desk {
  readonly #world: World;
  readonly #watch: Watch;
  readonly #control: Control;
  #made = 0;

  constructor(world: World, watch: Watch, control: Control) {
    this.#world = world;
    this.#watch = watch;
    this.#control = control;
  }

  async #command(
    name: string,
    make: (facts: EnvironmentFacts, now: number) => Outcome<object>,
  ): Promise<boolean> {
    const control = this.#control;
    if (!control.isUp) return false;
    const facts = control.facts();
    // As the coordinator's own refusal (ending.ts of control).
    if (facts.ending && name !== "destroy") return this.#refused(name, "it is being destroyed");
    try {
      const made = make(facts, control.now);
      if (!made.ok) return this.#refused(name, made.error.detail);
      control.commit(facts, made.value.decision, { who: "people", what: name });
    } catch (error) {
      this.#world.fault("engine throws", `${name}: ${error instanceof Error ? error.message : error}`);
      return false;
    }
    await control.advance();
    return true;
  }

  #refused(name: string, detail: string): boolean {
    this.#world.say("control", () => `refuses ${name}: ${detail}`);
    return false;
  }

  async deploy({ app, whenBusy, hold }: Deploy): Promise<boolean> {
    const control = this.#control;
    const id = `rel-${++this.#made}`;
    this.#world.setApp(id, app);
    const before = control.facts();
    const asked = { version: null, whenBusy, hold, override: false };
    const plan = planRelease({ facts: before, asked, accessories: [], now: control.now });
    const made = await this.#command("deploy", (facts, now) =>
      commands.createRelease(facts, { ...CI, id, whenBusy, hold }, now),
    );
    if (made) this.#watch.planned(id, plan, before);
    return made;
  }

  abort(release: string): Promise<boolean> {
    return this.#command("abort", (facts, now) =>
      commands.abort(facts, { release, actor: ACTOR, reason: null }, now),
    );
  }

  promote(release: string, input: { step: number; full: boolean }): Promise<boolean> {
    return this.#command("promote", (facts, now) =>
      steer.promote(facts, { release, actor: ACTOR, ...input }, now),
    );
  }

  pause(release: string): Promise<boolean> {
    return this.#command("pause", (facts, now) =>
      steer.pause(facts, { release, actor: ACTOR, step: null }, now),
    );
  }

  resume(release: string): Promise<boolean> {
    return this.#command("resume", (facts, now) =>
      steer.resume(facts, { release, actor: ACTOR, step: null }, now),
    );
  }

  async rollback(to: string | null, seen: string | null): Promise<boolean> {
    const control = this.#control;
    if (!control.isUp) return false;
    const plan = rollbacks.planRollback(control.facts(), { to, seen }, control.now);
    if (!plan.ok) return this.#refused("rollback", plan.error.detail);
    const { prove, ongoing } = plan.value;
    if (ongoing) return this.#refused("rollback", `${ongoing.version} is on its way`);
    const silent = prove.map(({ id }) => id).filter((id) => !this.#world.isReachable(id));
    if (rollbacks.isProven(plan.value, silent))
      return this.#command("rollback", (facts, now) =>
        rollbacks.rollbackInstantly(facts, plan.value, { actor: ACTOR, reason: "asked", silent }, now),
      );
    const id = `rel-${++this.#made}`;
    this.#world.setApp(id, this.#world.appOf(plan.value.to.id));
    return this.#command("rollback by release", (facts, now) =>
      rollbacks.rollbackByRelease(facts, plan.value, { id, actor: ACTOR }, now),
    );
  }

  weigh(weights: Readonly<Record<string, number>>): Promise<boolean> {
    return this.#command("weights by hand", (facts, now) =>
      steer.setWeights(facts, { weights, actor: ACTOR, seenRev: null }, now),
    );
  }

  lock(forMs: number): Promise<boolean> {
    return this.#command("lock", (facts, now) =>
      modes.lock(facts, { actor: ACTOR, reason: "stocktaking", expiresAt: now + forMs }, now),
    );
  }

  unlock(): Promise<boolean> {
    return this.#command("unlock", (facts, now) => modes.unlock(facts, { actor: ACTOR }, now));
  }

  /** As control's routes/host-drain.ts. */
  async drain(id: string, force: boolean | null): Promise<boolean> {
    const control = this.#control;
    const host = control.store.hosts.find((one) => one.id === id);
    if (!control.isUp || !host) return false;
    const { stranded } = movingFrom(control.facts(), id, control.now);
    if (force === false && !host.draining && stranded.length > 0)
      return this.#refused("drain", stranded.join("; "));
    host.draining = force !== null;
    control.store.rev += 1;
    control.poke();
    return true;
  }

  destroy(): Promise<boolean> {
    return this.#command("destroy", (facts, now) => destroy(facts, { actor: ACTOR }, now));
  }

  restart(): Promise<boolean> {
    return this.#again("restart", (facts, now, id) => restart(facts, { id, actor: ACTOR }, now));
  }

  scale(counts: Readonly<Record<string, number>>): Promise<boolean> {
    return this.#again("scale", (facts, now, id) => scale(facts, { id, actor: ACTOR, counts }, now));
  }

  /** A release of what is live, by the same app. */
  #again(
    name: string,
    make: (facts: EnvironmentFacts, now: number, id: string) => Outcome<object>,
  ): Promise<boolean> {
    const id = `rel-${++this.#made}`;
    const { stable } = this.#control.store;
    if (stable) this.#world.setApp(id, this.#world.appOf(stable));
    return this.#command(name, (facts, now) => make(facts, now, id));
  }

  run(deadlineMs: number): Promise<boolean> {
    const id = `run-${++this.#made}`;
    return this.#command("run", (facts, now) =>
      createRun(facts, { id, command: ["work"], deadlineMs, actor: ACTOR }, now),
    );
  }

  async apply(change: Partial<EnvironmentSpec>): Promise<boolean> {
    const control = this.#control;
    if (control.store.ending) return false;
    control.store.spec = { ...control.store.spec, ...change };
    control.store.rev += 1;
    control.poke();
    return true;
  }
}
