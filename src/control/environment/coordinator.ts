import { DurableObject } from "cloudflare:workers";
import * as approvals from "../../domain/commands/approve.ts";
import { destroy } from "../../domain/commands/destroy.ts";
import * as modes from "../../domain/commands/modes.ts";
import { labelTaken } from "../../domain/commands/obstacles.ts";
import * as commands from "../../domain/commands/releases.ts";
import * as rollbacks from "../../domain/commands/rollback.ts";
import * as runs from "../../domain/commands/runs.ts";
import { type Counts, restart, scale } from "../../domain/commands/scale.ts";
import * as steer from "../../domain/commands/steer.ts";
import type { Place } from "../../domain/doctor/places.ts";
import { err, ok, type Result } from "../../domain/result.ts";
import type { Decision } from "../../domain/rollout/decision.ts";
import type { EnvironmentFacts } from "../../domain/rollout/facts.ts";
import { WINDOW_MS } from "../../domain/routing/meter.ts";
import type { TableAnswer, TrafficMode } from "../../domain/routing/table.ts";
import { placeHere } from "../doctor/places.ts";
import type { ControlEnv } from "../env.ts";
import { newId } from "../ids.ts";
import type { Refusal } from "../refusal.ts";
import { openDb } from "../store/db.ts";
import { addUsed } from "../store/figures/days-of-use.ts";
import { findRequested } from "../store/status.ts";
import { Use } from "../use.ts";
import type {
  CoordinatorPort,
  CoordinatorView,
  CreateReleaseInput,
  RollbackOutcome,
} from "./coordinator-port.ts";
import { isEnding } from "./ending.ts";
import { type FaultPoint, gone, Loop } from "./loop.ts";

/** Of what the edge counted, the last hour is shown. */
const SHOWN_MS = 3_600_000;

/**
 * One per environment, named by its id: the only place that applies decisions. It holds the alarm and the
 * published table; D1 holds everything else, and every tick begins by reading it.
 * What people ask for comes in here; how it is decided and written is in `loop.ts`.
 */
export class Coordinator extends DurableObject<ControlEnv> implements CoordinatorPort {
  readonly #loop: Loop;
  readonly #use: Use;
  /** Own properties are out of reach of RPC. Tests set these. */
  clock: () => number = Date.now;
  fault: (point: FaultPoint) => void | Promise<void> = () => {};
  useDatabase = (d1: D1Database): void => {
    this.#loop.useDatabase(d1);
  };

  constructor(state: DurableObjectState, env: ControlEnv) {
    super(state, env);
    this.#use = new Use({ tell: (used, now) => addUsed(openDb(this.env.DB), used, now) });
    this.#loop = new Loop({
      state,
      env: () => this.env,
      clock: () => this.clock(),
      fault: (point) => this.fault(point),
      use: this.#use,
    });
  }

  async createRelease(
    input: CreateReleaseInput,
  ): Promise<Result<{ release: string; created: boolean }, Refusal>> {
    this.#use.call(this.clock());
    return this.#loop.turn.take(async () => {
      const { requestKey } = input;
      const id = newId("rel", this.clock());
      const make = (facts: EnvironmentFacts, now: number, takenLabels: number) => {
        if (takenLabels > 0 && input.version !== null) return err(labelTaken(input.version));
        // A label out of view (of a release that failed long ago) is passed over.
        const nextVersion = facts.nextVersion + takenLabels;
        return commands.createRelease({ ...facts, nextVersion }, { ...input, id }, now);
      };
      const made = await this.#loop.decide(unlessEnding(make));
      if (!made.ok) {
        // Asked for again it is refused, if only because it is there.
        const known = requestKey && (await findRequested(this.#loop.db, this.#loop.id, requestKey));
        return known ? ok({ release: known, created: false }) : made;
      }
      this.#loop.advanceSoon();
      return ok({ release: id, created: true });
    });
  }

  abort(input: { release: string; actor: string; reason: string | null }): Promise<Result<null, Refusal>> {
    return this.#command((facts, now) => commands.abort(facts, input, now));
  }

  async rollback(
    input: rollbacks.RollbackRequest & { actor: string },
  ): Promise<Result<RollbackOutcome, Refusal>> {
    this.#use.call(this.clock());
    return this.#loop.turn.take(async () => {
      const loaded = await this.#loop.load({ named: input.to });
      if (!loaded) return err(gone());
      if (loaded.facts.ending) return err(isEnding(loaded.facts));
      const plan = rollbacks.planRollback(loaded.facts, input, this.clock());
      if (!plan.ok) return plan;
      const { from, to, prove, ongoing } = plan.value;
      if (ongoing) return ok({ how: "restart", from: from.id, to: to.id, release: ongoing.id });
      const answers = await this.#loop.asking.ask(to, prove);
      const silent = answers.filter(({ cause }) => cause !== null).map(({ instance }) => instance);
      const instant = rollbacks.isProven(plan.value, silent);
      const id = newId("rel", this.clock());
      const reason = `asked by ${input.actor}`;
      const decide = (facts: EnvironmentFacts, now: number) =>
        instant
          ? rollbacks.rollbackInstantly(facts, plan.value, { actor: input.actor, reason, silent }, now)
          : rollbacks.rollbackByRelease(facts, plan.value, { id, actor: input.actor }, now);
      // What was read before they were asked: what any decision has changed since is refused, and read again.
      const done = await this.#loop.decide(unlessEnding(decide), { named: input.to, from: loaded });
      if (!done.ok) return done;
      await this.#loop.advanceNow({ goesOn: true });
      const how = instant ? "instant" : "restart";
      return ok({ how, from: from.id, to: to.id, release: instant ? from.id : id });
    });
  }

  setWeights(input: steer.SetWeights): Promise<Result<null, Refusal>> {
    return this.#command((facts, now) => steer.setWeights(facts, input, now));
  }

  promote(input: steer.Steer & { full: boolean }): Promise<Result<null, Refusal>> {
    return this.#command((facts, now) => steer.promote(facts, input, now));
  }

  approve(input: approvals.Approve): Promise<Result<null, Refusal>> {
    return this.#command((facts, now) => approvals.approve(facts, input, now));
  }

  reject(input: { release: string; actor: string; reason: string | null }): Promise<Result<null, Refusal>> {
    return this.#command((facts, now) => approvals.reject(facts, input, now));
  }

  pause(input: steer.Steer): Promise<Result<null, Refusal>> {
    return this.#command((facts, now) => steer.pause(facts, input, now));
  }

  resume(input: steer.Steer): Promise<Result<null, Refusal>> {
    return this.#command((facts, now) => steer.resume(facts, input, now));
  }

  lock(input: { actor: string; reason: string; expiresAt: number }): Promise<Result<null, Refusal>> {
    return this.#command((facts, now) => modes.lock(facts, input, now));
  }

  unlock(input: { actor: string }): Promise<Result<null, Refusal>> {
    return this.#command((facts, now) => modes.unlock(facts, input, now));
  }

  setMode(input: { mode: TrafficMode; actor: string }): Promise<Result<null, Refusal>> {
    return this.#command((facts, now) => modes.setMode(facts, input, now));
  }

  destroy(input: { actor: string }): Promise<Result<null, Refusal>> {
    return this.#command((facts, now) => destroy(facts, input, now), { whileEnding: true, withHosts: true });
  }

  async createRun(input: Omit<runs.CreateRun, "id">): Promise<Result<{ run: string }, Refusal>> {
    const run = newId("run", this.clock());
    const done = await this.#command((facts, now) => runs.createRun(facts, { ...input, id: run }, now));
    return done.ok ? ok({ run }) : done;
  }

  stopRun(input: { run: string; actor: string }): Promise<Result<null, Refusal>> {
    return this.#command((facts, now) => runs.stopRun(facts, input, now));
  }

  async restart(input: { actor: string }): Promise<Result<{ release: string }, Refusal>> {
    const id = newId("rel", this.clock());
    const done = await this.#command((facts, now) => restart(facts, { ...input, id }, now));
    return done.ok ? ok({ release: id }) : done;
  }

  async scale(input: {
    actor: string;
    counts: Counts;
  }): Promise<Result<{ release: string | null }, Refusal>> {
    const id = newId("rel", this.clock());
    let version: string | null = null;
    const done = await this.#command((facts, now) => {
      const made = scale(facts, { ...input, id }, now);
      version = made.ok ? made.value.version : null;
      return made;
    });
    return done.ok ? ok({ release: version === null ? null : id }) : done;
  }

  poke(): Promise<void> {
    this.#use.call(this.clock());
    this.#loop.asking.renew();
    return this.#loop.poke();
  }

  judgeNow(): Promise<void> {
    this.#loop.judge.hurry();
    return this.poke();
  }

  async table(hostname: string, known: number | null): Promise<TableAnswer> {
    this.#use.call(this.clock());
    let table = await this.#loop.publisher.table();
    if (!table?.hostnames.includes(hostname)) {
      table = await this.#loop.turn.take(async () => {
        const loaded = await this.#loop.load();
        return loaded && this.#loop.publish(loaded);
      });
    }
    if (!table?.hostnames.includes(hostname)) return { kind: "unknown" };
    return table.version === known ? { kind: "unchanged", version: table.version } : { kind: "table", table };
  }

  place(): Promise<Place> {
    return placeHere(this.env);
  }

  async inspect(): Promise<CoordinatorView> {
    this.#use.call(this.clock());
    const table = await this.#loop.publisher.table();
    const verdict = await this.#loop.judge.last();
    const now = this.clock();
    const traffic = await this.#loop.traffic({ from: now - SHOWN_MS, to: now + WINDOW_MS });
    return {
      table: { version: table?.version ?? 0, publishedAt: table?.publishedAt ?? null },
      verdict: verdict && {
        release: verdict.release,
        verdict: verdict.decision.verdict,
        reason: verdict.decision.reason,
        words: verdict.words,
        at: verdict.at,
      },
      traffic: traffic.byRelease(),
      windows: traffic.byWindow(),
    };
  }

  override async alarm(): Promise<void> {
    this.#use.call(this.clock());
    this.#loop.asking.renew();
    await this.#loop.turn.take(() => this.#loop.advanceNow());
  }

  /** Decides, writes and carries it out before it answers. */
  #command(
    make: (facts: EnvironmentFacts, now: number) => Result<{ decision: Decision }, Refusal>,
    { whileEnding = false, withHosts = false } = {},
  ): Promise<Result<null, Refusal>> {
    this.#use.call(this.clock());
    return this.#loop.turn.take(async () => {
      const done = await this.#loop.decide(whileEnding ? make : unlessEnding(make), { withHosts });
      if (!done.ok) return done;
      await this.#loop.advanceNow({ goesOn: true });
      return ok(null);
    });
  }
}

const unlessEnding =
  <T>(make: (facts: EnvironmentFacts, now: number, takenLabels: number) => Result<T, Refusal>) =>
  (facts: EnvironmentFacts, now: number, takenLabels: number): Result<T, Refusal> =>
    facts.ending ? err(isEnding(facts)) : make(facts, now, takenLabels);
