import type { RegistryLogin } from "../../src/protocol/agent/image.ts";
import type { JobResult } from "../../src/protocol/agent/job-results.ts";
import type { Clock } from "../clock.ts";
import { diskFull } from "../host/disk.ts";
import type { Journal, RunRecord } from "../journal.ts";
import type { Log } from "../log.ts";
import { failed, type Outcome, words } from "../outcome.ts";
import { redactOutcome } from "../redaction/redact-outcome.ts";
import { scopeOf } from "../redaction/scope.ts";
import type { Secrets } from "../redaction/secrets.ts";
import { type Exit, type RunSpec, type Runtime, runTitle } from "../runtime/runtime.ts";
import { endOf, hungOf } from "./hook-outcome.ts";

const LOOK_MS = 1_000;
const HUNG_GRACE_MS = 10_000;
/** A hook that hangs is ended a little before control counts its job as failed, so that control still hears why. */
const HEARD_WITHIN_MS = 15_000;
/** Ends that are remembered. Each costs the journal about half a kilobyte. */
const KEPT_RUNS = 200;
/** What a person's command printed can be read for so long after its end. */
const KEPT_MS = 120_000;
/** Lines of a hook that are kept once control has all of them. */
const KEPT_LINES = 5;

export interface HookDeps {
  runtime: Runtime;
  journal: Journal;
  clock: Clock;
  log: Log;
  secrets: Secrets;
}

/** A hook on its way. `undefined`: the agent ends before it does. */
export interface HookRun {
  outcome: Promise<Outcome<JobResult> | undefined>;
  /** Told the hook's last line, or what is being done for it. */
  listeners: Set<(message: string) => void>;
}

/**
 * Runs hooks, each once and never again: it is in the journal, on disk, before it begins. What an earlier agent began is
 * followed to its end, told from what the runtime kept of it, or, where nothing was kept, reported as interrupted.
 */
export class Hooks {
  readonly #deps: HookDeps;
  readonly #running = new Map<string, HookRun>();
  readonly #over = new AbortController();

  constructor(deps: HookDeps) {
    this.#deps = deps;
  }

  /** Begins a hook, or joins it where it is. `deadlineAt`: epoch ms by this host's clock. */
  begin(spec: RunSpec, deadlineAt: number, login?: RegistryLogin): HookRun {
    return this.#joinOrBegin(spec.run, (hook) => this.#outcome(spec, { deadlineAt, login }, hook));
  }

  /** Takes up what an earlier agent left: a hook that hangs must end even if nobody asks for it again. */
  resume(): void {
    const { journal } = this.#deps;
    const awaited = new Set(Object.values(journal.state.finished).map(({ run }) => run));
    for (const [run, record] of Object.entries(journal.state.runs)) {
      if (!record.outcome) this.#takeUp(run, record);
      else if (!record.removed && !awaited.has(run)) void this.release(run, { acknowledged: false });
    }
  }

  #takeUp(run: string, record: RunRecord): void {
    const { log } = this.#deps;
    log.info(`${runTitle(record)} is followed on`, { run, app: record.app, version: record.version });
    const { outcome } = this.#joinOrBegin(run, (hook) => this.#follow(run, record, hook));
    // Nobody may ever ask for it: a bug here must not end the agent.
    outcome.catch((thrown) => log.error("following a hook broke", { run, error: words(thrown) }));
  }

  /** Ends one that was begun here before its time is over. False: there is none, or it has ended. */
  async stop(run: string, graceMs: number): Promise<boolean> {
    const { runtime, journal, clock } = this.#deps;
    const record = journal.state.runs[run];
    if (!record || record.outcome) return false;
    await journal.update(() => {
      record.stopAskedAt = clock.now();
    });
    // Whoever follows it hears of its end, and tells it.
    return (await runtime.runs.stop(run, graceMs)).ok;
  }

  /** Lets go of all: the commands go on, and the next agent follows them. */
  async releaseAll(): Promise<void> {
    this.#over.abort();
    await Promise.all([...this.#running.values()].map(({ outcome }) => outcome));
  }

  /** Clears a hook that is over away from the host. How it ended stays known. */
  async release(run: string, { acknowledged }: { acknowledged: boolean }): Promise<void> {
    const { runtime, journal, clock, log } = this.#deps;
    const record = journal.state.runs[run];
    if (!record?.outcome) return;
    const isKept = await journal.persist(() => {
      if (acknowledged) shorten(record);
    });
    // What the runtime has of it would be the only thing left to tell its end by.
    if (!isKept) return;
    if (!record.hook && !record.process) await clock.sleep(KEPT_MS, this.#over.signal);
    const removed = await runtime.runs.remove(run);
    if (!removed.ok)
      return log.warn("a hook's remains can't be removed", { run, detail: removed.error.message });
    await journal.update(() => {
      record.removed = true;
    });
  }

  #joinOrBegin(run: string, start: (hook: HookRun) => HookRun["outcome"]): HookRun {
    const others = this.#running.get(run);
    if (others) return others;
    const hook: HookRun = { outcome: Promise.resolve(undefined), listeners: new Set() };
    this.#running.set(run, hook);
    hook.outcome = start(hook).finally(() => this.#running.delete(run));
    return hook;
  }

  async #outcome(
    spec: RunSpec,
    { deadlineAt, login }: { deadlineAt: number; login: RegistryLogin | undefined },
    hook: HookRun,
  ): Promise<Outcome<JobResult> | undefined> {
    const { runtime, journal, clock, log } = this.#deps;
    const known = journal.state.runs[spec.run];
    if (known) return known.outcome ?? this.#follow(spec.run, known, hook);
    const found = await runtime.runs.find(spec.run);
    if (!found.ok) return found;
    if (found.value !== "none") log.warn("found a hook the journal doesn't know", { run: spec.run });
    else {
      // Here already, as a rule; a contract hook runs days after its release, and images are pruned.
      const inTime = AbortSignal.timeout(Math.max(0, deadlineAt - clock.now()));
      const signal = AbortSignal.any([this.#over.signal, inTime]);
      const pulled = await runtime.pull(
        { image: spec.image, login },
        (message) => say(hook, message),
        signal,
      );
      if (!pulled.ok) return pulled;
    }
    if (this.#over.signal.aborted) return undefined;
    const record = await this.#write(spec, deadlineAt);
    if (!record) {
      const message = `${runTitle(spec)} of ${spec.app} ${spec.version} was not begun: the agent can't write its journal, and would not know after a crash that it had`;
      return journal.isDiskFull ? diskFull(message, journal.directory) : failed("internal", message);
    }
    if (found.value !== "none") return this.#follow(spec.run, record, hook);
    return this.#begin(spec, record, hook);
  }

  /** The record, once it is on disk. */
  async #write(spec: RunSpec, deadlineAt: number): Promise<RunRecord | undefined> {
    const { journal, clock } = this.#deps;
    const { hook, process, app, environment, version, command, image, container } = spec;
    const begunAt = clock.now();
    const record: RunRecord = {
      hook,
      ...(process && { process }),
      app,
      environment,
      version,
      command,
      housing: { image, container },
      begunAt,
      deadlineAt,
      removed: false,
    };
    const isWritten = await journal.persist(({ runs }) => {
      prune(runs);
      runs[spec.run] = record;
    });
    if (isWritten) return record;
    await journal.update(({ runs }) => void delete runs[spec.run]);
    return undefined;
  }

  async #begin(spec: RunSpec, record: RunRecord, hook: HookRun): Promise<Outcome<JobResult> | undefined> {
    const { runtime, log } = this.#deps;
    log.info(`${runTitle(spec)} begins`, { run: spec.run, app: spec.app, version: spec.version });
    say(hook, `${runTitle(spec).replace(/^the /, "")} runs`);
    const started = await runtime.runs.start(spec);
    // Not to be had for an answer, the runtime may have begun it all the same: only looking tells.
    if (started.ok || started.error.code === "runtime_unavailable")
      return this.#follow(spec.run, record, hook);
    const { code, message } = started.error;
    if (code !== "start_failed") return this.#keep(record, started);
    return this.#keep(
      record,
      failed(
        spec.hook ? "hook_failed" : "command_failed",
        `${runTitle(spec)} could not be started: ${message}`,
      ),
    );
  }

  /** Waits for its end, and ends it when its time is over. */
  async #follow(run: string, record: RunRecord, hook: HookRun): Promise<Outcome<JobResult> | undefined> {
    const { runtime, clock } = this.#deps;
    const ended = new AbortController();
    const late = new AbortController();
    const time = record.deadlineAt - record.begunAt;
    const endAt = record.deadlineAt - Math.min(HEARD_WITHIN_MS, time / 10);
    void clock.sleep(Math.min(time, Math.max(0, endAt - clock.now())), ended.signal).then(() => late.abort());
    void this.#sayLines(run, hook, ended.signal);
    const exit = await runtime.runs.waitExit(run, AbortSignal.any([this.#over.signal, late.signal]));
    try {
      if (exit) return await this.#keep(record, await this.#endOf(run, record, exit));
      if (this.#over.signal.aborted) return undefined;
      say(hook, `${runTitle(record).replace(/^the /, "")} hangs and is being ended`);
      const stopped = await runtime.runs.stop(run, HUNG_GRACE_MS);
      const afterMs = clock.now() - record.begunAt;
      return await this.#keep(
        record,
        hungOf(record, { stopped, afterMs, logs: await runtime.runs.logs(run, 50) }),
      );
    } finally {
      ended.abort();
    }
  }

  async #endOf(run: string, record: RunRecord, exit: Exit): Promise<Outcome<JobResult>> {
    const { runtime } = this.#deps;
    const logs = await runtime.runs.logs(run, 50);
    const why =
      exit.exitCode === 0 || !record.housing ? undefined : await runtime.explain(record.housing, logs);
    return endOf(record, exit, { logs, why });
  }

  async #sayLines(run: string, hook: HookRun, ended: AbortSignal): Promise<void> {
    const { runtime, clock } = this.#deps;
    const signal = AbortSignal.any([ended, this.#over.signal]);
    while (!signal.aborted) {
      await clock.sleep(LOOK_MS, signal);
      if (signal.aborted) return;
      const [line] = await runtime.runs.logs(run, 1);
      if (line && !signal.aborted) say(hook, line);
    }
  }

  async #keep(record: RunRecord, outcome: Outcome<JobResult>): Promise<Outcome<JobResult>> {
    const { journal, secrets } = this.#deps;
    const kept = redactOutcome(secrets, scopeOf(record), outcome);
    await journal.update(() => {
      record.outcome = kept;
    });
    return kept;
  }
}

function say({ listeners }: HookRun, message: string): void {
  for (const listener of listeners) listener(message);
}

function shorten({ outcome }: RunRecord): void {
  const told = outcome?.ok ? outcome.value : outcome?.error;
  if (told?.logs) told.logs = told.logs.slice(-KEPT_LINES);
}

/** Forgets the oldest of those that are over and cleared away. */
function prune(runs: Record<string, RunRecord>): void {
  const over = Object.entries(runs).filter(([, { removed }]) => removed);
  over.sort(([, a], [, b]) => a.begunAt - b.begunAt);
  for (const [run] of over.slice(0, Math.max(0, over.length - KEPT_RUNS + 1))) delete runs[run];
}
