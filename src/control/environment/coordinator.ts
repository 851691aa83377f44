import { DurableObject } from "cloudflare:workers";
import * as modes from "../../domain/commands/modes.ts";
import * as commands from "../../domain/commands/releases.ts";
import * as rollbacks from "../../domain/commands/rollback.ts";
import * as steer from "../../domain/commands/steer.ts";
import { err, ok, type Result } from "../../domain/result.ts";
import { advance } from "../../domain/rollout/advance.ts";
import { type Decision, hasChanges } from "../../domain/rollout/decision.ts";
import { Draft } from "../../domain/rollout/draft.ts";
import type { EnvironmentFacts, InstanceFacts } from "../../domain/rollout/facts.ts";
import { probed } from "../../domain/rollout/probed.ts";
import { isActive, type ReleaseFacts } from "../../domain/rollout/release.ts";
import { WINDOW_MS } from "../../domain/routing/meter.ts";
import type { RoutingTable, TableAnswer, TrafficMode } from "../../domain/routing/table.ts";
import type { ControlEnv } from "../env.ts";
import { newId } from "../ids.ts";
import { logFailure, logWarning } from "../log.ts";
import { readCounts } from "../meter/parts.ts";
import { Traffic } from "../meter/traffic.ts";
import type { Refusal } from "../refusal.ts";
import { type Db, openDb } from "../store/db.ts";
import { commit } from "../store/decisions.ts";
import { type LoadedEnvironment, loadEnvironment } from "../store/environments.ts";
import { recordVerdicts } from "../store/verdicts.ts";
import type {
  CoordinatorPort,
  CoordinatorView,
  CreateReleaseInput,
  RollbackOutcome,
} from "./coordinator-port.ts";
import { TICK_MS as JUDGE_TICK_MS, Judge } from "./judge.ts";
import { probeInstance } from "./probe.ts";
import { compileTable, sameRouting, tableKey } from "./publisher.ts";
import { runSmoke } from "./smoke.ts";
import { wakeHosts } from "./wake.ts";

/** The longest time between two ticks while a release is on its way. */
const TICK_MS = 20_000;
/** Armed before each write: if everything after it dies, the alarm finishes the work. */
const SAFETY_MS = 2_000;
/** A tick that fails again and again is tried at least this often. */
const MAX_RETRY_MS = 60_000;
const MAX_PASSES = 100;
/** Of what the edge counted, the last hour is shown. */
const SHOWN_MS = 3_600_000;
const MAX_STALE = 5;
/** A partial weight is renewed when less than this is left of its lease. */
const RENEW_BEFORE_MS = 40_000;

/** Where a test may end the process: between any two steps of a write. */
export type FaultPoint = "armed" | "committed" | "published" | "woken";

/**
 * One per environment, named by its id: the only place that applies decisions. It holds the alarm and the
 * published table; D1 holds everything else, and every tick begins by reading it.
 *
 * Order of each write: arm the alarm → one guarded batch → publish the table → wake the hosts. Dying between any two of
 * these loses nothing: the alarm's tick compares what is owed with what was done, and does the rest.
 */
export class Coordinator extends DurableObject<ControlEnv> implements CoordinatorPort {
  #db: Db;
  readonly #judge: Judge;
  #turn: Promise<unknown> = Promise.resolve();
  /** What is being asked beside the turn: instances probed, smoke checks run. */
  readonly #asking = new Set<string>();
  /** When what a tick could not hand over (KV copy, wake-ups) is tried again. */
  #retryAt: number | null = null;
  #failures = 0;
  /** Own properties are out of reach of RPC. Tests set these. */
  clock: () => number = Date.now;
  fault: (point: FaultPoint) => void | Promise<void> = () => {};
  useDatabase = (d1: D1Database): void => {
    this.#db = openDb(d1);
  };

  constructor(state: DurableObjectState, env: ControlEnv) {
    super(state, env);
    this.#db = openDb(env.DB);
    this.#judge = new Judge(state.storage, (range) => this.#traffic(range));
  }

  async createRelease(
    input: CreateReleaseInput,
  ): Promise<Result<{ release: string; created: boolean }, Refusal>> {
    return this.#inTurn(async () => {
      const known = await this.#byRequestKey(input.requestKey);
      if (known) return ok({ release: known, created: false });
      const id = newId("rel", this.clock());
      const made = await this.#decide((facts, now, takenLabels) => {
        if (takenLabels > 0 && input.version !== null) return err(labelTaken());
        // A label out of view (of a release that failed long ago) is passed over.
        const nextVersion = facts.nextVersion + takenLabels;
        return commands.createRelease({ ...facts, nextVersion }, { ...input, id }, now);
      });
      if (!made.ok) return made;
      this.#advanceSoon();
      return ok({ release: id, created: true });
    });
  }

  abort(input: { release: string; actor: string; reason: string | null }): Promise<Result<null, Refusal>> {
    return this.#command((facts, now) => commands.abort(facts, input, now));
  }

  async rollback(input: { to: string | null; actor: string }): Promise<Result<RollbackOutcome, Refusal>> {
    return this.#inTurn(async () => {
      const loaded = await this.#load();
      if (!loaded) return err(gone());
      const plan = rollbacks.planRollback(loaded.facts, input.to);
      if (!plan.ok) return plan;
      const { from, to, prove } = plan.value;
      const silent = (await Promise.all(prove.map((instance) => probeInstance(instance, to, this.env)))).find(
        ({ cause }) => cause,
      );
      const instant = plan.value.how === "instant" && !silent;
      const id = newId("rel", this.clock());
      const reason = `asked by ${input.actor}`;
      const done = await this.#decide((facts, now) =>
        instant
          ? rollbacks.rollbackInstantly(facts, plan.value, { actor: input.actor, reason }, now)
          : rollbacks.rollbackByRelease(facts, plan.value, { id, actor: input.actor }, now),
      );
      if (!done.ok) return done;
      await this.#advanceNow();
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

  async poke(): Promise<void> {
    await this.#inTurn(() => this.#advanceNow());
  }

  async table(hostname: string, known: number | null): Promise<TableAnswer> {
    let table = await this.#published();
    if (!table?.hostnames.includes(hostname)) {
      table = await this.#inTurn(async () => {
        const loaded = await this.#load();
        return loaded && this.#publish(loaded);
      });
    }
    if (!table?.hostnames.includes(hostname)) return { kind: "unknown" };
    return table.version === known ? { kind: "unchanged", version: table.version } : { kind: "table", table };
  }

  async inspect(): Promise<CoordinatorView> {
    const table = await this.#published();
    const verdict = await this.#judge.last();
    const now = this.clock();
    const traffic = await this.#traffic({ from: now - SHOWN_MS, to: now + WINDOW_MS });
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

  async #traffic(range: Parameters<typeof readCounts>[2]): Promise<Traffic> {
    return new Traffic(await readCounts(this.env.METER, this.#id(), range));
  }

  override async alarm(): Promise<void> {
    await this.#inTurn(() => this.#advanceNow());
  }

  /** Decides, writes and carries it out before it answers. */
  #command(
    make: (facts: EnvironmentFacts, now: number) => Result<{ decision: Decision }, Refusal>,
  ): Promise<Result<null, Refusal>> {
    return this.#inTurn(async () => {
      const done = await this.#decide(make);
      if (!done.ok) return done;
      await this.#advanceNow();
      return ok(null);
    });
  }

  // --- the loop -----------------------------------------------------------------------------------------------------

  /** One thing at a time: a command never sees half of a tick. */
  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#turn.then(work);
    this.#turn = turn.catch(() => {});
    return turn;
  }

  #advanceSoon(): void {
    this.ctx.waitUntil(this.#inTurn(() => this.#advanceNow()));
  }

  /** Ticks until nothing is due. What fails is tried again by the alarm: a caller has its answer already. */
  async #advanceNow(): Promise<void> {
    try {
      await this.#armBy(this.clock() + SAFETY_MS);
      for (let pass = 0; pass < MAX_PASSES; pass++) {
        const wakeAt = await this.#tick();
        if (wakeAt === "again") continue;
        this.#failures = 0;
        return await this.#arm(earliest(wakeAt, this.#retryAt));
      }
      throw new Error(`environment ${this.#id()} did not come to rest in ${MAX_PASSES} passes`);
    } catch (error) {
      logFailure("advance.failed", error, { environment: this.#id() });
      this.#failures += 1;
      await this.#armBy(this.clock() + Math.min(SAFETY_MS * 2 ** (this.#failures - 1), MAX_RETRY_MS));
    }
  }

  /** Loads, publishes what is owed, does what is due once. Answers when to tick next, or `again` if something changed. */
  async #tick(): Promise<number | null | "again"> {
    this.#retryAt = null;
    const loaded = await this.#load();
    if (!loaded) return null;
    await this.#publish(loaded);
    const now = this.clock();
    const woken = async () => this.fault("woken");
    const environmentId = this.#id();
    const all = await wakeHosts({ env: this.env, db: this.#db, environmentId, now, woken });
    if (!all) this.#retryAt = earliest(this.#retryAt, now + 10 * SAFETY_MS);
    const analysis = await this.#judge.judge(loaded.facts, now, (release, judgements) =>
      recordVerdicts(this.#db, release, judgements),
    );
    const facts = { ...loaded.facts, analysis };
    const decision = advance(facts, now);
    if (hasChanges(decision)) {
      await this.#commit(facts, decision, now);
      return "again";
    }
    for (const instance of decision.probes) this.#probe(facts, instance);
    for (const smoke of decision.smokes) this.#smoke(facts, smoke);
    const busy = loaded.facts.releases.some((release) => isActive(release.state));
    const judging = facts.releases.some(isJudged);
    return earliest(decision.wakeAt, judging ? now + JUDGE_TICK_MS : busy ? now + TICK_MS : null);
  }

  /** Decides about the newest facts and writes it, again from new facts where another writer was first. */
  async #decide<T extends { decision: Decision }>(
    make: (facts: EnvironmentFacts, now: number, takenLabels: number) => Result<T, Refusal>,
  ): Promise<Result<T, Refusal>> {
    let takenLabels = 0;
    for (let attempt = 0; attempt < MAX_STALE; attempt++) {
      const loaded = await this.#load();
      if (!loaded) return err(gone());
      const now = this.clock();
      const made = make(loaded.facts, now, takenLabels);
      if (!made.ok) return made;
      const written = await this.#commit(loaded.facts, made.value.decision, now);
      if (written.ok) return made;
      if (written.error === "label_taken") takenLabels += 1;
    }
    if (takenLabels > 0) return err(labelTaken());
    return err({
      code: "unavailable",
      detail: "the environment changed under this request five times: try again",
    });
  }

  async #commit(facts: EnvironmentFacts, decision: Decision, now: number) {
    await this.#armBy(now + SAFETY_MS);
    await this.fault("armed");
    const fence = facts.fence + (decision.raiseFence ? 1 : 0);
    const written = await commit(this.#db, { facts, decision, fence, now });
    await this.fault("committed");
    return written;
  }

  #load(): Promise<LoadedEnvironment | undefined> {
    return loadEnvironment(this.#db, this.#id());
  }

  #id(): string {
    const name = this.ctx.id.name;
    if (name === undefined) throw new Error("a coordinator is reached by its environment's id");
    return name;
  }

  async #byRequestKey(key: string | null): Promise<string | undefined> {
    if (key === null) return undefined;
    const row = await this.env.DB.prepare(
      "SELECT id FROM releases WHERE environment_id = ? AND request_key = ?",
    )
      .bind(this.#id(), key)
      .first<{ id: string }>();
    return row?.id;
  }

  // --- alarm --------------------------------------------------------------------------------------------------------

  async #arm(at: number | null): Promise<void> {
    if (at === null) await this.ctx.storage.deleteAlarm();
    else await this.ctx.storage.setAlarm(at);
  }

  async #armBy(at: number): Promise<void> {
    const armed = await this.ctx.storage.getAlarm();
    if (armed === null || armed > at) await this.ctx.storage.setAlarm(at);
  }

  // --- effects ------------------------------------------------------------------------------------------------------

  #published(): Promise<RoutingTable | undefined> {
    return this.ctx.storage.get<RoutingTable>("table");
  }

  /** Makes the published table what the facts ask for. The version only rises. */
  async #publish(loaded: LoadedEnvironment): Promise<RoutingTable> {
    const now = this.clock();
    const old = await this.#published();
    const table = compileTable(loaded, { version: (old?.version ?? 0) + 1, now }, this.env.SLOT_ZONE);
    const renew = old?.partialUntil != null && old.partialUntil - now < RENEW_BEFORE_MS;
    const current = old !== undefined && sameRouting(old, table) && !renew ? old : table;
    if (current !== old) {
      await this.ctx.storage.put("table", current);
      await this.fault("published");
    }
    if ((await this.ctx.storage.get<number>("copied")) !== current.version) await this.#copy(current);
    return current;
  }

  /** KV holds the fallback of cold edges. Missing it delays nothing; the next tick tries again. */
  async #copy(table: RoutingTable): Promise<void> {
    try {
      const text = JSON.stringify(table);
      await Promise.all(table.hostnames.map((hostname) => this.env.TABLES.put(tableKey(hostname), text)));
      await this.ctx.storage.put("copied", table.version);
    } catch (error) {
      logWarning("table.copy_failed", { environment: this.#id(), error: String(error) });
      const retryAt = this.clock() + 10 * SAFETY_MS;
      this.#retryAt = earliest(this.#retryAt, retryAt);
      await this.#armBy(retryAt);
    }
  }

  /** Asks an instance beside the turn, so that a rollback never waits behind an answer that does not come. */
  #probe(facts: EnvironmentFacts, instance: InstanceFacts): void {
    const release = facts.releases.find(({ id }) => id === instance.releaseId);
    if (!release) return;
    this.#beside(instance.id, async () => {
      const { cause } = await probeInstance(instance, release, this.env);
      const change = probed(instance, cause, this.clock());
      return change && ((draft) => draft.changeInstance(instance, change));
    });
  }

  #smoke(facts: EnvironmentFacts, { release, when }: Decision["smokes"][number]): void {
    this.#beside(`${release.id}/${when}`, async () => {
      const instances = facts.instances.filter(
        ({ releaseId, state, verifiedAt }) =>
          releaseId === release.id && state !== "stopping" && verifiedAt !== null,
      );
      const outcome = { at: this.clock(), failure: await runSmoke(release, instances, this.env) };
      return (draft) => draft.changeRelease(release.id, { smoke: { ...release.smoke, [when]: outcome } });
    });
  }

  /** Runs one thing at a time per key outside the turn, writes what it found inside it, and goes on from there. */
  #beside(key: string, work: () => Promise<((draft: Draft) => void) | undefined>): void {
    if (this.#asking.has(key)) return;
    this.#asking.add(key);
    const run = async () => {
      const write = await work().finally(() => this.#asking.delete(key));
      if (!write) return;
      await this.#inTurn(async () => {
        await this.#decide((facts, now) => {
          const draft = new Draft(facts, now);
          write(draft);
          return ok({ decision: draft.decision });
        });
        await this.#advanceNow();
      });
    };
    this.ctx.waitUntil(
      run().catch((error) => logFailure("ask.failed", error, { environment: this.#id(), key })),
    );
  }
}

const isJudged = (release: ReleaseFacts): boolean =>
  release.state === "shifting" && release.weightBp > 0 && release.spec.strategy.kind === "canary";

const gone = (): Refusal => ({ code: "not_found", detail: "this environment does not exist (any more)" });

const labelTaken = (): Refusal => ({
  code: "conflict",
  detail: "a release with this version label exists already: pick another --version",
});

/** Of two times, either of which may be never. */
const earliest = (a: number | null, b: number | null): number | null =>
  a === null || b === null ? (a ?? b) : Math.min(a, b);
