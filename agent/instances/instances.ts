import type { InstanceSpec } from "../../src/protocol/agent/instance.ts";
import type { InstanceRecord } from "../journal.ts";
import type { Outcome } from "../outcome.ts";
import type { Found } from "../runtime/runtime.ts";
import { Instance, type InstanceDeps } from "./instance.ts";
import { type RemakeDeps, remake } from "./remake.ts";

const DAY_MS = 86_400_000;

export type InstancesDeps = Omit<InstanceDeps, "remake" | "onStarted"> & RemakeDeps;

/** The instances this agent answers for: those it started, and those it finds when it starts. */
export class Instances {
  readonly #deps: InstanceDeps;
  readonly #watched = new Map<string, Instance>();
  readonly #starts = new Map<string, { abort: AbortController; over: Promise<unknown> }>();

  #areKnown = false;
  readonly #onWatch = new Set<(spec: InstanceSpec) => void>();

  constructor(deps: InstancesDeps) {
    this.#deps = {
      ...deps,
      remake: (spec, signal) => remake(spec, deps, signal),
      onStarted: (spec) => this.#tell(spec),
    };
  }

  /** Whether what runs here has been looked at: until then only the journal's word is known. */
  get areKnown(): boolean {
    return this.#areKnown;
  }

  get(instance: string): Instance | undefined {
    return this.#watched.get(instance);
  }

  /** Writes the instance into the journal before anything of it exists. */
  async begin(spec: InstanceSpec): Promise<void> {
    const { journal, clock } = this.#deps;
    const known = journal.state.instances[spec.instance];
    if (known && !known.stopping) return;
    await journal.update(({ instances }) => {
      instances[spec.instance] = {
        spec: { ...spec, env: {} },
        startedAt: clock.now(),
        state: "starting",
        exits: [],
        stopping: false,
      };
    });
  }

  /** Holds a start where {@link cancelStart} finds it. */
  async starting<T>(instance: string, start: (cancelled: AbortSignal) => Promise<T>): Promise<T> {
    // One after the other: a second would clear away what the first is waiting for.
    for (let other = this.#starts.get(instance); other; other = this.#starts.get(instance)) await other.over;
    const abort = new AbortController();
    const over = start(abort.signal).finally(() => this.#starts.delete(instance));
    // Its failure is told to whoever asked for the start.
    this.#starts.set(instance, { abort, over: over.catch(() => {}) });
    return over;
  }

  /** Ends a start that is under way, and waits until it has cleared its instance away. */
  async cancelStart(instance: string): Promise<void> {
    const start = this.#starts.get(instance);
    start?.abort.abort();
    await start?.over;
  }

  /** Whether anything is still meant to become of it. A start that nobody took up again for a day is over. */
  isKnown(instance: string): boolean {
    const { journal, clock } = this.#deps;
    const record = journal.state.instances[instance];
    if (!record) return false;
    const isUnderWay = this.#starts.has(instance) || clock.now() - record.startedAt < DAY_MS;
    return isUnderWay || record.readyAfterMs !== undefined;
  }

  watch(spec: InstanceSpec): Instance {
    const known = this.#watched.get(spec.instance);
    if (known) return known;
    const watched = new Instance(spec, this.#deps);
    this.#watched.set(spec.instance, watched);
    this.#tell(spec);
    return watched;
  }

  #tell(spec: InstanceSpec): void {
    for (const listener of this.#onWatch) listener(spec);
  }

  /** Calls back with each instance that runs from now on, and with each that is started anew. Answers how to end that. */
  onWatch(listener: (spec: InstanceSpec) => void): () => void {
    this.#onWatch.add(listener);
    return () => void this.#onWatch.delete(listener);
  }

  /** Ends the watch before a stop, so that the stop isn't taken for a crash. */
  async release(instance: string): Promise<void> {
    await this.#deps.journal.update(({ instances }) => {
      const record = instances[instance];
      if (record) record.stopping = true;
    });
    await this.unwatch(instance);
  }

  async unwatch(instance: string): Promise<void> {
    const watched = this.#watched.get(instance);
    this.#watched.delete(instance);
    await watched?.release();
  }

  /** Forgets an instance that no longer exists. */
  async forget(instance: string): Promise<void> {
    this.#deps.reports.forget(instance);
    await this.#deps.journal.update(({ instances }) => {
      delete instances[instance];
    });
  }

  /** Lets go of all without touching any: the agent stops. */
  async releaseAll(): Promise<void> {
    await Promise.all([...this.#watched.values()].map((watched) => watched.release()));
  }

  /**
   * Takes up again what an earlier agent left running. Nothing is stopped or restarted for it; an instance that ended
   * meanwhile (a host that was rebooted) is treated as one that ends now.
   */
  async adopt(): Promise<Outcome<void>> {
    const listed = await this.#deps.runtime.list();
    if (!listed.ok) return listed;
    for (const found of listed.value) await this.#adoptOne(found);
    this.#missing(new Set(listed.value.map(({ instance }) => instance)));
    this.#areKnown = true;
    return { ok: true, value: undefined };
  }

  async #adoptOne(found: Found): Promise<void> {
    const { journal, log } = this.#deps;
    if (this.#watched.has(found.instance)) return;
    // Made by an agent that died before it began: there is nothing to watch, and nobody to start it for.
    if (found.unstarted && !journal.state.instances[found.instance]) return;
    const record = journal.state.instances[found.instance] ?? (await this.#adoptUnknown(found));
    if (!record || record.stopping) return;
    const instance = this.watch(record.spec);
    const { release } = record.spec;
    const facts = { release, instance: found.instance, state: record.state, runtimeId: found.runtimeId };
    log.info(found.running ? "instance adopted" : "instance found ended", facts);
    // Never ready so far: the start job that is handed out again will ask how it went.
    if (record.readyAfterMs === undefined) void instance.bringUp(record.startedAt);
    else {
      const { startedAt, running } = found;
      instance.keep({ healthy: record.state === "ready", startedAt, running });
    }
  }

  /** Our labels, but not our journal: it may be carrying traffic, so it is watched and reported, never stopped. */
  async #adoptUnknown(found: Found): Promise<InstanceRecord | undefined> {
    const { journal, reports, log } = this.#deps;
    const { spec } = found;
    log.warn("found an instance the journal doesn't know", {
      instance: found.instance,
      watched: spec !== undefined,
    });
    if (!spec) return undefined;
    const record: InstanceRecord = {
      spec,
      startedAt: found.startedAt,
      runtimeId: found.runtimeId,
      readyAfterMs: 0,
      state: "unready",
      exits: [],
      stopping: false,
    };
    await journal.update(({ instances }) => {
      instances[found.instance] = record;
    });
    await reports.push(found.instance, "unready", "found on the host, unknown to the agent's journal");
    return record;
  }

  /** In the journal, but gone from the runtime: made again, as one that is removed now. */
  #missing(found: ReadonlySet<string>): void {
    for (const [instance, record] of Object.entries(this.#deps.journal.state.instances)) {
      const isMissing = !found.has(instance) && !this.#watched.has(instance) && !record.stopping;
      // Not even created when the agent died: the start job that is handed out again begins anew.
      if (!isMissing || record.readyAfterMs === undefined) continue;
      this.watch(record.spec).keep({ healthy: false, startedAt: record.startedAt, running: false });
    }
  }
}
