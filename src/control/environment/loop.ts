import { err, ok, type Result } from "../../domain/result.ts";
import { advance } from "../../domain/rollout/advance.ts";
import { isJudgedNow } from "../../domain/rollout/analysis/judged.ts";
import { type Decision, hasChanges } from "../../domain/rollout/decision.ts";
import { Draft } from "../../domain/rollout/draft.ts";
import type { EnvironmentFacts } from "../../domain/rollout/facts.ts";
import { isRuleOwed } from "../../domain/rollout/host-header.ts";
import { isActive } from "../../domain/rollout/release.ts";
import type { RoutingTable } from "../../domain/routing/table.ts";
import type { ControlEnv } from "../env.ts";
import { logFailure, logInfo, logWarning } from "../log.ts";
import { partOf, readCounts } from "../meter/meter-parts.ts";
import { Traffic } from "../meter/traffic.ts";
import { pokeNotifier } from "../notify/poke.ts";
import { metersOf, objectIn } from "../objects.ts";
import type { Refusal } from "../refusal.ts";
import { type Db, openDb, runBatch, type Statement } from "../store/db.ts";
import { commit } from "../store/decisions.ts";
import { type LoadedEnvironment, type LoadOptions, reading } from "../store/environments.ts";
import { settle } from "../store/outbox.ts";
import { freeRestedSlots } from "../store/slots.ts";
import { hostnamesOfOthers } from "../store/status.ts";
import { recordVerdicts } from "../store/verdicts.ts";
import { armBy, earliest, Turn } from "../turn.ts";
import type { Use } from "../use.ts";
import { Absence, heardAsOf } from "./absence.ts";
import { Asking } from "./asking.ts";
import { endEnvironment } from "./ending.ts";
import { Fence } from "./fence.ts";
import { TICK_MS as JUDGE_TICK_MS, Judge } from "./judge.ts";
import { Load } from "./load.ts";
import { Publisher } from "./publisher.ts";
import { RequestLog } from "./request-log.ts";
import { wakeHosts } from "./wake.ts";

/** The longest time between two ticks while a release is on its way. */
const TICK_MS = 20_000;
/** Armed before each write: if everything after it dies, the alarm finishes the work. */
const SAFETY_MS = 2_000;
/** A tick that fails again and again is tried at least this often. */
const MAX_RETRY_MS = 60_000;
/** What an end waits for (an accessory's host, mostly) is looked at again after this. */
const ENDING_LOOK_MS = 5_000;
/** Each is a trip to D1, of which an invocation may make fifty on the Free plan: the alarm goes on with what is left. */
const PASSES_A_TURN = 25;
const MAX_TURNS = 4;
const MAX_STALE = 5;

/** Where a test may end the process: between any two steps of a write. */
export type FaultPoint = "armed" | "committed" | "published" | "woken";

interface LoopParts {
  readonly state: DurableObjectState;
  /** Asked each time: a test breaks one of its bindings. */
  readonly env: () => ControlEnv;
  readonly clock: () => number;
  readonly fault: (point: FaultPoint) => void | Promise<void>;
  readonly use: Use;
}

/**
 * The turns of one environment, over what D1 says of it: load, decide, write, carry out.
 *
 * Order of each write: arm the alarm → one guarded batch → publish the table → wake the hosts. Dying between any two of
 * these loses nothing: the alarm's tick compares what is owed with what was done, and does the rest.
 */
export class Loop {
  #db: Db;
  readonly judge: Judge;
  readonly publisher: Publisher;
  readonly asking: Asking;
  readonly #load: Load;
  readonly #requestLog: RequestLog;
  readonly #absence: Absence;
  readonly #fence: Fence;
  /** A command never sees half of a tick. */
  readonly turn = new Turn();
  /** When what a tick could not hand over (KV copy, wake-ups) is tried again. */
  #retryAt: number | null = null;
  #failures = 0;
  /** Turns that ended before everything was done, in a row. */
  #turns = 0;
  /** What the last write left, read in the same trip, and how much news was in it. */
  #written: { readonly loaded: LoadedEnvironment; readonly news: number } | undefined;
  /** The newest that was read. Good enough to write findings upon: the guard refuses them where a decision came between. */
  #known: LoadedEnvironment | undefined;
  /** Pokes that came, and those of them that what was acted on last had in it. */
  #news = 0;
  #heeded = 0;
  /** Something was to be placed the last time: hosts are read in the same trip. */
  #places = false;
  /** Wake-ups that were handed over, or not: noted with the next trip. */
  #woken: Statement[] = [];
  readonly #state: DurableObjectState;
  readonly #storage: DurableObjectStorage;
  readonly #env: () => ControlEnv;
  readonly #now: () => number;
  readonly #fault: (point: FaultPoint) => void | Promise<void>;

  constructor({ state, env, clock, fault, use }: LoopParts) {
    this.#state = state;
    this.#storage = state.storage;
    this.#env = env;
    this.#now = clock;
    this.#fault = fault;
    this.#db = openDb(env().DB);
    this.judge = new Judge(state.storage, (range) => this.traffic(range));
    const published = () => this.#fault("published");
    this.publisher = new Publisher({
      storage: state.storage,
      env,
      ofOthers: (hostnames) => hostnamesOfOthers(this.#db, hostnames, this.id),
      published,
      copied: (copies) => use.add("tableCopies", copies),
    });
    this.#absence = new Absence(state.storage);
    this.#fence = new Fence(state.storage);
    const background = (work: Promise<void>) => {
      const logged = work.catch((error) => logFailure("ask.failed", error, { environment: this.id }));
      state.waitUntil(logged);
    };
    const asked = { path: env(), now: () => this.#now(), background };
    const write = (change: (draft: Draft) => void) => this.#write(change);
    const again = () => this.turn.take(() => armBy(state.storage, this.#now()));
    this.asking = new Asking({ ...asked, write, again });
    this.#requestLog = new RequestLog({ ...asked, env, write });
    this.#load = new Load({
      ...asked,
      gate: this.asking.gate,
      read: (range) => this.traffic(range),
      count: (batch) =>
        metersOf(env())
          .getByName(partOf(this.id, batch.colo))
          .absorb({ ...batch, environment: this.id }),
    });
  }

  useDatabase(d1: D1Database): void {
    this.#db = openDb(d1);
  }

  get db(): Db {
    return this.#db;
  }

  get id(): string {
    const { name } = this.#state.id;
    if (name === undefined) throw new Error("a coordinator is reached by its environment's id");
    return name;
  }

  /** After this turn's answer, from what this turn has just written. */
  advanceSoon(): void {
    this.#state.waitUntil(this.turn.take(() => this.advanceNow({ goesOn: true })));
  }

  /**
   * Something may be new in D1. Many say so at once, of agents that tell of what a wake-up led to: whoever waited while
   * another turn read it has nothing left to do.
   */
  poke(): Promise<void> {
    const news = ++this.#news;
    return this.turn.take(async () => {
      if (this.#heeded < news) await this.advanceNow();
    });
  }

  /**
   * Ticks until nothing is due. What fails is tried again by the alarm: a caller has its answer already. `goesOn`: from what
   * this turn has just written.
   */
  async advanceNow({ goesOn = false } = {}): Promise<void> {
    if (!goesOn) this.#written = undefined;
    try {
      await armBy(this.#storage, this.#now() + SAFETY_MS);
      for (let pass = 0; pass < PASSES_A_TURN; pass++) {
        const { loaded, news } = await this.#read();
        const wakeAt = await this.#tick(loaded);
        if (wakeAt === "again") continue;
        this.#heeded = news;
        this.#failures = 0;
        this.#turns = 0;
        // News of those who were woken take along that they were; if none come, a tick does.
        const noteAt = this.#woken.length > 0 ? this.#now() + SAFETY_MS : null;
        const next = earliest(noteAt, earliest(wakeAt, this.#retryAt));
        await this.#absence.ticked(this.#now(), next);
        if (next === null) return await this.#storage.deleteAlarm();
        return await this.#storage.setAlarm(next);
      }
      if (++this.#turns < MAX_TURNS) return await this.#storage.setAlarm(this.#now());
      throw new Error(`environment ${this.id} did not come to rest in ${MAX_TURNS * PASSES_A_TURN} passes`);
    } catch (error) {
      logFailure("advance.failed", error, { environment: this.id });
      this.#failures += 1;
      await armBy(this.#storage, this.#now() + Math.min(SAFETY_MS * 2 ** (this.#failures - 1), MAX_RETRY_MS));
    }
  }

  /** What this turn has just written, or what is there now. */
  async #read() {
    const written = this.#written;
    this.#written = undefined;
    const news = this.#news;
    return written ?? { loaded: await this.load(), news };
  }

  /** Publishes what is owed, does what is due once. Answers when to tick next, or `again` if something changed. */
  async #tick(loaded: LoadedEnvironment | undefined): Promise<number | null | "again"> {
    this.#retryAt = null;
    // Held back or shut, the app is left alone.
    this.#load.tend(loaded?.mode.kind === "open" ? loaded.facts : undefined);
    if (!loaded) return this.#farewell();
    const now = this.#now();
    if (await this.#absence.forgive(this.#db, loaded, now)) return "again";
    if (await this.#fence.isAbove(loaded.facts.fence)) return this.#riseAgain(loaded.facts, now);
    await this.publish(loaded);
    const woken = async () => this.#fault("woken");
    const handed = await wakeHosts({ env: this.#env(), owed: loaded.owed, woken });
    this.#woken.push(...settle(this.#db, { ...handed, now }));
    if (handed.late.length > 0) this.#retryAt = earliest(this.#retryAt, now + 10 * SAFETY_MS);
    const waitsUntil = await this.#absence.waitsUntil(this.#db, loaded, now);
    if (waitsUntil !== null) return waitsUntil;
    const analysis = await this.judge.judge(loaded.facts, now, (release, judgements) =>
      recordVerdicts(this.#db, release, judgements),
    );
    const facts = { ...loaded.facts, analysis, lastRest: await this.publisher.lastRest() };
    const decision = advance(facts, now);
    if (hasChanges(decision)) {
      await this.#commit(facts, decision, now);
      return "again";
    }
    if (facts.ending) return earliest(decision.wakeAt, await this.#end(facts, now));
    await this.#tendRules(facts);
    this.asking.probe(facts, decision.probes);
    for (const smoke of decision.smokes) this.asking.smoke(facts, smoke);
    this.#requestLog.tend(facts);
    const busy = loaded.facts.releases.some((release) => isActive(release.state));
    const judging = isJudgedNow(facts);
    return earliest(decision.wakeAt, judging ? now + JUDGE_TICK_MS : busy ? now + TICK_MS : null);
  }

  /** Their tunnels are to be told whose slots these are. Asked for until it is done, as nobody is verified before. */
  async #tendRules({ instances }: EnvironmentFacts): Promise<void> {
    const hosts = new Set(instances.filter(isRuleOwed).map(({ hostId }) => hostId));
    const env = this.#env();
    await Promise.allSettled([...hosts].map((host) => objectIn(env.HOST_LINK, host, env).tend(host)));
  }

  /**
   * Decides about the newest facts and writes it, again from new facts where another writer was first. `from`: what was read
   * already, which is where it begins.
   */
  async decide<T extends { decision: Decision }>(
    make: (facts: EnvironmentFacts, now: number, takenLabels: number) => Result<T, Refusal>,
    { from, ...load }: LoadOptions & { from?: LoadedEnvironment | undefined } = {},
  ): Promise<Result<T, Refusal>> {
    let takenLabels = 0;
    for (let attempt = 0; attempt < MAX_STALE; attempt++) {
      const loaded = attempt === 0 && from ? from : await this.load(load);
      if (!loaded) return err(gone());
      const now = this.#now();
      const made = make(loaded.facts, now, takenLabels);
      if (!made.ok || !hasChanges(made.value.decision)) return made;
      const written = await this.#commit(loaded.facts, made.value.decision, now);
      if (written.ok) return made;
      if (written.error === "requested") break;
      if (written.error === "label_taken") takenLabels += 1;
    }
    return err({
      code: "unavailable",
      detail: "the environment changed under this request five times: try again",
    });
  }

  /** D1 was set back: what it has queued would be refused by agents until a fence above theirs is written. */
  async #riseAgain(facts: EnvironmentFacts, now: number): Promise<"again"> {
    logWarning("fence.set_back", { environment: facts.id, fence: facts.fence });
    await this.#commit(facts, new Draft(facts, now).decision, now);
    return "again";
  }

  async #commit(facts: EnvironmentFacts, decision: Decision, now: number) {
    await armBy(this.#storage, now + SAFETY_MS);
    await this.#fault("armed");
    const fence = await this.#fence.next(facts.fence, decision.raiseFence);
    const isPlacing = decision.newReleases.length > 0 || facts.hosts.length > 0;
    const news = this.#news;
    const { statements, read } = reading(this.#db, this.id, { now, isPlacing });
    const woken = [...this.#woken];
    const written = await commit(this.#db, { facts, decision, fence, now }, [...woken, ...statements]);
    if (written.ok) {
      this.#woken.splice(0, woken.length);
      const loaded = this.#keep(await read(written.value.slice(woken.length)), now);
      this.#written = loaded && { loaded, news };
    }
    if (written.ok) logMoves(facts, decision);
    await this.#fault("committed");
    if (written.ok && decision.events.length > 0) this.#state.waitUntil(pokeNotifier(this.#env()));
    return written;
  }

  async publish(loaded: LoadedEnvironment): Promise<RoutingTable> {
    const now = this.#now();
    const { table, copyAt } = await this.publisher.publish(loaded, now);
    if (copyAt !== null) await this.#retry(copyAt);
    // From here on no copy leads an edge to a slot that is not the environment's any more.
    else if (loaded.restedAt !== null && loaded.restedAt <= now)
      await freeRestedSlots(this.#db, this.id, now);
    return table;
  }

  /** One that is destroyed goes when nothing of it runs any more. */
  async #end(facts: EnvironmentFacts, now: number): Promise<number> {
    const isOver = await endEnvironment({ env: this.#env(), db: this.#db, facts, now });
    return isOver ? now : now + ENDING_LOOK_MS;
  }

  /** The environment was deleted: its copies go, and then its slots. */
  async #farewell(): Promise<null> {
    const now = this.#now();
    const copyAt = await this.publisher.withdraw(now);
    if (copyAt === null) await freeRestedSlots(this.#db, this.id, now);
    else await this.#retry(copyAt);
    return null;
  }

  async #retry(at: number): Promise<void> {
    this.#retryAt = earliest(this.#retryAt, at);
    await armBy(this.#storage, at);
  }

  /** What was found out beside the turn, written within it. */
  #write(change: (draft: Draft) => void): Promise<void> {
    return this.turn.take(async () => {
      await this.decide(
        (facts, now) => {
          const draft = new Draft(facts, now);
          change(draft);
          return ok({ decision: draft.decision });
        },
        { from: this.#known },
      );
      await this.advanceNow({ goesOn: true });
    });
  }

  async load(options?: LoadOptions): Promise<LoadedEnvironment | undefined> {
    const now = this.#now();
    const { statements, read } = reading(this.#db, this.id, { now, isPlacing: this.#places, ...options });
    const woken = [...this.#woken];
    const rows = await runBatch(this.#db, [...woken, ...statements]);
    this.#woken.splice(0, woken.length);
    return this.#keep(await read(rows.slice(woken.length)), now);
  }

  #keep(read: LoadedEnvironment | undefined, now: number): LoadedEnvironment | undefined {
    this.#places = (read?.facts.hosts.length ?? 0) > 0;
    this.#known = read && heardAsOf(read, now);
    return this.#known;
  }

  async traffic(range: Parameters<typeof readCounts>[2]): Promise<Traffic> {
    return new Traffic(await readCounts(metersOf(this.#env()), this.id, range));
  }
}

export const gone = (): Refusal => ({
  code: "not_found",
  detail: "this environment does not exist (any more)",
});

/** What releases went through, for whoever follows one by its id. */
function logMoves({ id: environment }: EnvironmentFacts, { events }: Decision): void {
  for (const { type, releaseId, data } of events) {
    if (type !== "release.state" || releaseId === null) continue;
    logInfo("release.state", { release: releaseId, environment, state: data.state, from: data.from });
  }
}
