import { env } from "cloudflare:workers";
import { sql } from "drizzle-orm";
import { openDb } from "../../../src/control/store/db.ts";
import { environments } from "../../../src/control/store/schema/environments.ts";
import type { Result } from "../../../src/domain/result.ts";
import type { EnvironmentSpec } from "../../../src/domain/spec.ts";
import type { Deploy, Desk } from "../../simulate/control/desk.ts";
import type { World } from "../../simulate/world.ts";
import type { RealControl } from "./real-control.ts";

const ACTOR = "ann";

const impossible = (): Promise<boolean> => Promise.reject(new Error("no plain story asks for this"));

/** People's wishes, asked of the real coordinator as the API's routes do. */
export class RealDesk implements Desk {
  readonly #world: World;
  readonly #control: RealControl;

  constructor(world: World, control: RealControl) {
    this.#world = world;
    this.#control = control;
  }

  async #ask<T>(ask: () => Promise<Result<T, unknown>>): Promise<T | undefined> {
    await this.#control.settle();
    const answer = await ask();
    if (!answer.ok) this.#world.say("control", () => `refuses: ${JSON.stringify(answer.error)}`);
    return answer.ok ? answer.value : undefined;
  }

  async #done(ask: () => Promise<Result<unknown, unknown>>): Promise<boolean> {
    const answer = await this.#ask(ask);
    await this.#control.advance();
    return answer !== undefined;
  }

  async deploy({ app, whenBusy, hold }: Deploy): Promise<boolean> {
    const about = { image: null, version: null, git: null, actor: "ci", requestKey: null, override: false };
    const made = await this.#ask(() => this.#control.coordinator.createRelease({ ...about, whenBusy, hold }));
    if (made) this.#world.setApp(made.release, app);
    await this.#control.advance();
    return made !== undefined;
  }

  abort(release: string): Promise<boolean> {
    return this.#done(() => this.#control.coordinator.abort({ release, actor: ACTOR, reason: null }));
  }
  promote(release: string, input: { step: number; full: boolean }): Promise<boolean> {
    return this.#done(() => this.#control.coordinator.promote({ release, actor: ACTOR, ...input }));
  }
  pause(release: string): Promise<boolean> {
    return this.#done(() => this.#control.coordinator.pause({ release, actor: ACTOR, step: null }));
  }
  resume(release: string): Promise<boolean> {
    return this.#done(() => this.#control.coordinator.resume({ release, actor: ACTOR, step: null }));
  }

  async rollback(to: string | null, seen: string | null): Promise<boolean> {
    const done = await this.#ask(() => this.#control.coordinator.rollback({ to, seen, actor: ACTOR }));
    if (done?.how === "restart") this.#world.setApp(done.release, this.#world.appOf(done.to));
    await this.#control.advance();
    return done !== undefined;
  }

  weigh(weights: Readonly<Record<string, number>>): Promise<boolean> {
    return this.#done(() => this.#control.coordinator.setWeights({ weights, actor: ACTOR, seenRev: null }));
  }
  lock(forMs: number): Promise<boolean> {
    const expiresAt = this.#control.now + forMs;
    return this.#done(() =>
      this.#control.coordinator.lock({ actor: ACTOR, reason: "stocktaking", expiresAt }),
    );
  }
  unlock(): Promise<boolean> {
    return this.#done(() => this.#control.coordinator.unlock({ actor: ACTOR }));
  }

  /** Not of a plain story. */
  drain = impossible;
  destroy = impossible;
  restart = impossible;
  scale = impossible;
  run = impossible;

  async apply(change: Partial<EnvironmentSpec>): Promise<boolean> {
    const db = openDb(env.DB);
    const row = await db.select().from(environments).get();
    if (!row) return false;
    const spec = { ...row.spec, ...change };
    await db.update(environments).set({ spec, rev: sql`${environments.rev} + 1` });
    this.#control.poke();
    return true;
  }
}
