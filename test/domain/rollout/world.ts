import { expect } from "vitest";
import type { Outcome, Refusal } from "../../../src/domain/commands/refusal.ts";
import * as commands from "../../../src/domain/commands/releases.ts";
import * as rollbacks from "../../../src/domain/commands/rollback.ts";
import * as steer from "../../../src/domain/commands/steer.ts";
import type { Result } from "../../../src/domain/result.ts";
import { advance } from "../../../src/domain/rollout/advance.ts";
import { type Decision, hasChanges } from "../../../src/domain/rollout/decision.ts";
import type {
  EnvironmentFacts,
  InstanceFacts,
  InstanceState,
  JobErrorFacts,
} from "../../../src/domain/rollout/facts.ts";
import { probed } from "../../../src/domain/rollout/probed.ts";
import {
  isActive,
  type ReleaseFacts,
  type ReleaseFailure,
  type ReleaseState,
} from "../../../src/domain/rollout/release.ts";
import { compileTable } from "../../../src/domain/rollout/table/compile-table.ts";
import { type Instance, type Job, type Mutable, Store } from "../../simulate/control/store.ts";
import { JUDGEMENTS, type JudgementName } from "../canary/judgements.ts";
import { DIGEST } from "./spec.ts";

export type { Job };

/** What an agent does with a job. Null: nothing at all. */
export type Answer = { readonly digest?: string; readonly error?: JobErrorFacts } | null;
export interface Agents {
  job(job: Job): Answer;
  /** What an instance answers over its real path. Null: 2xx. */
  probe(instance: InstanceFacts): string | null;
  /** What a smoke check finds wrong. Null: nothing; undefined: it has not answered yet. */
  smoke?(release: ReleaseFacts, when: "before" | "after"): ReleaseFailure | null | undefined;
}

const MAX_PASSES = 100;
/** Nobody may be sent to these. */
const UNREACHED = new Set<InstanceState | undefined>(["pending", "starting", "stopping", "stopped"]);

/** Asked after each commit, so without the price of `expect`. */
function must(holds: boolean, otherwise: string): void {
  if (!holds) expect.fail(otherwise);
}

/** An environment in memory: applies decisions as control does, plays the agents by script, moves its own clock. */
export class World extends Store {
  /** Every `from → to` a release went. */
  readonly moves = new Set<string>();
  /** What each release weighed after each commit that changed a weight. */
  readonly tables: Record<string, number>[] = [];
  agents: Agents = { job: () => ({ digest: DIGEST }), probe: () => null };
  #made = 0;

  constructor(hosts: Readonly<Record<string, number>> = { anna: 4, bert: 4 }) {
    super();
    for (const [name, slots] of Object.entries(hosts)) this.addHost(name, slots);
  }

  override facts(): EnvironmentFacts {
    for (const host of this.hosts) if (host.alive) host.lastSeenAt = this.now;
    return super.facts();
  }

  // --- what people do ---------------------------------------------------------------------------------------------------

  create(input: Partial<commands.CreateRelease> = {}): Result<{ version: string; id: string }, Refusal> {
    const id = `rel-${++this.#made}`;
    const defaults = { id, image: null, version: null, git: null, whenBusy: "queue", actor: "ci" } as const;
    const more = { requestKey: null, hold: false, override: false };
    const made = commands.createRelease(this.facts(), { ...defaults, ...more, ...input }, this.now);
    if (!made.ok) return made;
    this.apply(made.value.decision);
    return { ok: true, value: { version: made.value.version, id } };
  }

  /** Queues a release and lets everything happen that can happen at this moment. */
  deploy(input: Partial<commands.CreateRelease> = {}): Mutable<ReleaseFacts> {
    const made = this.create(input);
    if (!made.ok) throw new Error(`refused: ${made.error.detail}`);
    this.settleNow();
    return this.release(made.value.version);
  }

  abort(version: string): Result<unknown, Refusal> {
    const input = { release: this.release(version).id, actor: "ann", reason: null };
    return this.#take(commands.abort(this.facts(), input, this.now));
  }

  weigh(weights: Readonly<Record<string, number>>, seenRev: number | null = null): Result<unknown, Refusal> {
    const named = this.releases.map((release) => [release.version, release.id] as const);
    const ids = Object.fromEntries(named);
    const byId = Object.fromEntries(Object.entries(weights).map(([name, w]) => [ids[name] ?? name, w]));
    return this.#take(steer.setWeights(this.facts(), { weights: byId, actor: "ann", seenRev }, this.now));
  }

  promote(version: string, input: { step?: number; full?: boolean } = {}): Result<unknown, Refusal> {
    const { step = null, full = false } = input;
    return this.#take(steer.promote(this.facts(), { ...this.#steered(version), step, full }, this.now));
  }
  pause(version: string): Result<unknown, Refusal> {
    return this.#take(steer.pause(this.facts(), this.#steered(version), this.now));
  }
  resume(version: string): Result<unknown, Refusal> {
    return this.#take(steer.resume(this.facts(), this.#steered(version), this.now));
  }
  #steered(version: string) {
    return { release: this.release(version).id, actor: "ann", step: null };
  }
  /** What the judge says from now on of the release. */
  judge(version: string, judgement: JudgementName, how: "beside" | "before" = "beside"): void {
    this.analysis = { release: this.release(version).id, how, decision: JUDGEMENTS[judgement] };
  }
  /** Any other command. */
  command(make: (facts: EnvironmentFacts, now: number) => Outcome<object>): Result<unknown, Refusal> {
    return this.#take(make(this.facts(), this.now));
  }

  /** `seen`: the label that serves, as its sender saw it. */
  rollback(
    to: string | null = null,
    seen: string | null = null,
  ): Result<"instant" | "restart" | "ongoing", Refusal> {
    const plan = rollbacks.planRollback(this.facts(), { to, seen }, this.now);
    if (!plan.ok) return plan;
    if (plan.value.ongoing) return { ok: true, value: "ongoing" };
    const silent = plan.value.prove.filter((i) => this.agents.probe(i) !== null).map(({ id }) => id);
    const how = rollbacks.isProven(plan.value, silent) ? "instant" : "restart";
    const done =
      how === "instant"
        ? rollbacks.rollbackInstantly(
            this.facts(),
            plan.value,
            { actor: "ann", reason: "bad", silent },
            this.now,
          )
        : rollbacks.rollbackByRelease(
            this.facts(),
            plan.value,
            { id: `rel-${++this.#made}`, actor: "ann" },
            this.now,
          );
    const taken = this.#take(done);
    return taken.ok ? { ok: true, value: how } : taken;
  }

  #take<T extends { decision: Decision }>(made: Result<T, Refusal>): Result<T, Refusal> {
    if (!made.ok) return made;
    this.apply(made.value.decision);
    this.settleNow();
    return made;
  }

  // --- what control does ------------------------------------------------------------------------------------------------

  /** Ticks until nothing is due at this moment, with the agents at work. Answers when to look again. */
  settleNow(): number | null {
    for (let pass = 0; pass < MAX_PASSES; pass++) {
      const facts = this.facts();
      const decision = advance(facts, this.now);
      expect(advance(facts, this.now), "the same facts, the same decision").toEqual(decision);
      if (hasChanges(decision)) {
        this.apply(decision);
        continue;
      }
      const asked = this.#probe(decision.probes) || this.#smoke(decision);
      if (asked || this.workJobs()) continue;
      return decision.wakeAt;
    }
    throw new Error(`not at rest after ${MAX_PASSES} passes`);
  }

  /** One decision, and one round of the agents. */
  step(): void {
    const decision = advance(this.facts(), this.now);
    if (hasChanges(decision)) return this.apply(decision);
    this.#probe(decision.probes);
    this.#smoke(decision);
    this.workJobs();
  }

  /** Goes on decision by decision until the release is in a state that most moments pass over. */
  until(version: string, state: ReleaseState): void {
    for (let pass = 0; this.state(version) !== state; pass++) {
      if (pass > MAX_PASSES) throw new Error(`${version} never got ${state}, it is ${this.state(version)}`);
      this.step();
    }
  }

  /** Follows the wake-ups, moving the clock, until nothing is left to do or `until` is reached. */
  run(until = Number.POSITIVE_INFINITY): void {
    for (let steps = 0; steps < 20_000; steps++) {
      const wakeAt = this.settleNow();
      if (wakeAt === null || wakeAt > until) {
        if (until !== Number.POSITIVE_INFINITY) this.now = Math.max(this.now, until);
        return;
      }
      must(wakeAt > this.now, "a wake-up in the past would spin");
      this.now = wakeAt;
    }
    throw new Error("never quiet");
  }

  #probe(instances: readonly InstanceFacts[]): boolean {
    let verified = false;
    for (const { id } of instances) {
      const row = this.instances.find((candidate) => candidate.id === id);
      if (!row) continue;
      const change = probed(row, this.agents.probe(row), this.now);
      Object.assign(row, change);
      verified ||= change?.verifiedAt !== undefined;
    }
    return verified;
  }

  #smoke({ smokes }: Decision): boolean {
    let answered = false;
    for (const { release, when } of smokes) {
      const failure = this.agents.smoke ? this.agents.smoke(release, when) : null;
      if (failure === undefined) continue;
      this.release(release.version).smoke = { ...release.smoke, [when]: { at: this.now, failure } };
      answered = true;
    }
    return answered;
  }

  /** Each agent works its open jobs; answers whether any ended. */
  workJobs(): boolean {
    let moved = false;
    for (const job of this.jobs) {
      const host = this.hosts.find(({ id }) => id === job.hostId);
      if (job.finishedAt !== null || !host?.alive) continue;
      const answer = job.deadlineAt <= this.now ? { error: OVERDUE } : this.agents.job(job);
      if (answer === null) continue;
      this.report(job, answer);
      moved = true;
    }
    return moved;
  }

  /** An agent's result. One that comes again, or late, finds its job ended. */
  report(job: Job, answer: NonNullable<Answer>): void {
    if (job.finishedAt !== null) return;
    job.state = answer.error ? "failed" : "done";
    job.error = answer.error ?? null;
    const digest = answer.digest ?? DIGEST;
    // Whatever name an agent answers with, no host may come to run it.
    const found = { image: `evil.example/miner@${digest}`, digest };
    job.result = answer.error ? null : found;
    job.finishedAt = this.now;
    const row = [...this.instances, ...this.workers].find(({ id }) => id === job.instanceId);
    if (row && !answer.error) row.reportState = job.kind === "start" ? "ready" : "exited";
  }

  override apply(decision: Decision): void {
    if (!hasChanges(decision)) return;
    for (const [id, { state }] of decision.releases)
      if (state) this.moves.add(`${this.releaseById(id).state} → ${state}`);
    super.apply(decision);
    this.#check();
  }

  // --- what must always hold --------------------------------------------------------------------------------------------

  #check(): void {
    const total = this.releases.reduce((sum, release) => sum + release.weightBp, 0);
    must(total === 0 || total === 10_000, `weights sum to ${total}, neither to nothing nor to all`);
    must(this.releases.filter((release) => isActive(release.state)).length <= 1, "two releases are active");
    const slots = this.instances.filter((i) => i.stoppedAt === null).map((i) => i.slotId);
    must(new Set(slots).size === slots.length, `a slot holds two instances: ${slots}`);
    for (const release of this.releases.filter(({ weightBp }) => weightBp > 0)) {
      const rolls = this.releases.some(
        ({ state, spec }) => spec.strategy.kind === "rolling" && isOnWay(state),
      );
      const { version, state } = release;
      if (!rolls)
        must(this.statesOf(version).includes("serving"), `${version} has traffic, and serves nobody`);
      const mayServe = ["shifting", "settling", "live", ...(rolls ? ["rolling_back"] : [])];
      must(mayServe.includes(state), `${version} is ${state}, and has traffic`);
    }
    this.#checkTable();
    const weights = this.weights();
    const last = this.tables.at(-1);
    if (JSON.stringify(last) !== JSON.stringify(weights)) this.tables.push(weights);
  }

  #checkTable(): void {
    const { salt } = this;
    const facts = this.facts();
    const loaded = { facts, salt, previewKey: "00", mode: { kind: "open" } } as const;
    const table = compileTable(loaded, { version: 1, now: this.now });
    const state = new Map(this.instances.map((instance) => [instance.id, instance.state]));
    for (const { id, instances } of table.releases.filter(({ weightBp }) => weightBp > 0)) {
      const serves = this.instances.some((one) => one.releaseId === id && one.state === "serving");
      const states = instances.map((one) => state.get(one.id));
      // Where nobody serves, one on its way out is better than none.
      if (serves)
        must(
          states.every((one) => one === "serving"),
          `${states} are in a weighted release`,
        );
    }
    for (const { id } of table.releases.flatMap((r) => r.instances))
      must(!UNREACHED.has(state.get(id)), `${id} is in the table, and ${state.get(id)}`);
  }

  // --- looking ----------------------------------------------------------------------------------------------------------

  release(version: string): Mutable<ReleaseFacts> {
    const found = this.releases.find((release) => release.version === version);
    if (!found) throw new Error(`no release ${version}`);
    return found;
  }
  state(version: string): ReleaseState {
    return this.release(version).state;
  }
  instancesOf(version: string): Instance[] {
    const { id } = this.release(version);
    return this.instances.filter((instance) => instance.releaseId === id);
  }
  statesOf(version: string): InstanceState[] {
    return this.instancesOf(version).map((instance) => instance.state);
  }
  /** `v1 worker starting on anna` of each worker that is not stopped. */
  running(): string[] {
    return this.workers
      .filter(({ stoppedAt }) => stoppedAt === null)
      .map(
        (one) => `${this.releaseById(one.releaseId).version} ${one.process} ${one.state} on ${one.hostName}`,
      )
      .sort();
  }
  /** By version label, only those that have any. */
  weights(): Record<string, number> {
    const some = this.releases.filter(({ weightBp }) => weightBp > 0);
    return Object.fromEntries(some.map((release) => [release.version, release.weightBp]));
  }
  jobsOf(kind: Job["kind"], version: string): Job[] {
    const { id } = this.release(version);
    return this.jobs.filter((job) => job.kind === kind && job.releaseId === id);
  }
}

const isOnWay = (state: ReleaseState): boolean => isActive(state) || state === "rolling_back";

const OVERDUE = { code: "deadline", message: "the job was not done before its deadline", logs: [] };
