import type { Check } from "../../src/protocol/agent/check.ts";
import type { InstanceSpec } from "../../src/protocol/agent/instance.ts";
import { backOff, type Clock } from "../clock.ts";
import type { Journal } from "../journal.ts";
import type { Log } from "../log.ts";
import type { Outcome } from "../outcome.ts";
import { describeExit, type Exit, type Runtime, type Started } from "../runtime/runtime.ts";
import { awaitReady } from "./await-ready.ts";
import { look, wordsOf } from "./check.ts";
import { type CheckResult, Hysteresis } from "./http-check.ts";
import type { Reports } from "./reports.ts";

const RESTART_BACK_OFF = { first: 1_000, max: 60_000 };
/** An instance that ran this long starts its back-off anew. */
const STABLE_AFTER_MS = 60_000;

/** How often an engine that is away is tried again. */
const AWAY_MS = 1_000;

export interface InstanceDeps {
  runtime: Runtime;
  journal: Journal;
  reports: Reports;
  clock: Clock;
  log: Log;
  /** Makes what was removed from outside again. */
  remake(spec: InstanceSpec, signal: AbortSignal): Promise<Outcome<Started>>;
  /** It was started anew: what reads its log is to go on. */
  onStarted(spec: InstanceSpec): void;
}

interface Keeping {
  healthy: boolean;
  /** Epoch ms. */
  startedAt: number;
  running: boolean;
}

/** Why serving ended. */
type End = { kind: "exited"; exit: Exit } | { kind: "lifeless"; cause: string } | { kind: "released" };

/** What became of a restart. `away`: the engine does not answer, so nothing is known. */
type Restarted = "ready" | "failed" | "away";

/**
 * The agent's eye on one instance: waits until it is ready, then checks it for as long as it lives, and restarts it (with
 * back-off, and telling control) when it exits or no longer answers. Only an instance that was ready once is restarted:
 * one that never was is the start job's to report.
 */
export class Instance {
  readonly spec: InstanceSpec;
  readonly #deps: InstanceDeps;
  readonly #over = new AbortController();
  #up: Promise<Outcome<{ readyAfterMs: number }>> | undefined;
  #kept: Promise<void> | undefined;
  /** The last end counts as an exit. */
  #isCounted = false;
  /** What the last startup check said, for whoever gives up waiting. */
  progress = "";

  constructor(spec: InstanceSpec, deps: InstanceDeps) {
    this.spec = spec;
    this.#deps = deps;
  }

  /** Waits for the first "ready" and keeps the instance from then on. Asked twice, it is one wait. */
  bringUp(startedAt: number): Promise<Outcome<{ readyAfterMs: number }>> {
    this.#up ??= this.#awaitFirstReady(startedAt);
    return this.#up;
  }

  async #awaitFirstReady(startedAt: number) {
    const { deadlineMs } = this.spec.health.startup;
    const up = await this.#awaitReady(ageOf(startedAt, this.#deps.clock, deadlineMs / 2));
    if (!up.ok || this.#over.signal.aborted) return up;
    await this.#deps.journal.update(({ instances }) => {
      const record = instances[this.spec.instance];
      if (record) record.readyAfterMs = up.value.readyAfterMs;
    });
    await this.#report("ready");
    this.keep({ healthy: true, startedAt, running: true });
    return up;
  }

  #awaitReady(ageMs: number) {
    const { runtime, clock } = this.#deps;
    return awaitReady({
      spec: this.spec,
      runtime,
      clock,
      ageMs,
      signal: this.#over.signal,
      onProgress: (message) => {
        this.progress = message;
      },
    });
  }

  /** Goes on probing an instance that runs already, without touching it. `running`: false, it ended while nobody watched. */
  keep(from: Keeping): void {
    this.#kept ??= this.#keep(from);
  }

  /** Lets go: no more checks and restarts. The instance itself is left as it is. */
  async release(): Promise<void> {
    this.#over.abort();
    await Promise.all([this.#up, this.#kept]);
  }

  async #keep({ healthy, startedAt, running }: Keeping): Promise<void> {
    const { clock, reports } = this.#deps;
    const { signal } = this.#over;
    let restarts = 0;
    let up = clock.monotonic() - ageOf(startedAt, clock, STABLE_AFTER_MS);
    let last: Restarted = "ready";
    let wasHealthy = healthy;
    // How it ended nobody saw, as a rule with its host.
    let isSeen = running;
    while (!signal.aborted) {
      let waitMs = last === "away" ? AWAY_MS : backOff(restarts, RESTART_BACK_OFF);
      if (last === "ready") {
        const end = await this.#serve(wasHealthy);
        if (end.kind === "released") return;
        if (clock.monotonic() - up > STABLE_AFTER_MS) restarts = 0;
        this.#isCounted = isSeen && isOwnDoing(end);
        isSeen = true;
        waitMs = this.#isCounted || restarts > 0 ? backOff(restarts, RESTART_BACK_OFF) : 0;
        if (this.#isCounted) reports.ended(this.spec.instance);
        await this.#reportEnd(end, waitMs, restarts + 1);
      }
      await clock.sleep(waitMs, signal);
      if (signal.aborted) return;
      up = clock.monotonic();
      last = await this.#restart(restarts + 1);
      if (last !== "away") restarts += 1;
      wasHealthy = true;
    }
  }

  #reportEnd(end: Exclude<End, { kind: "released" }>, waitMs: number, restart: number): Promise<void> {
    const next = waitMs > 0 ? `restart ${restart} in ${waitMs / 1000} s` : "it is started again now";
    if (end.kind === "lifeless") return this.#report("unready", `${end.cause}; ${next}`);
    return this.#report("exited", `${this.spec.app} ${this.spec.version} ${describeExit(end.exit)}; ${next}`);
  }

  async #restart(attempt: number): Promise<Restarted> {
    const started = await this.#startAgain();
    if (this.#over.signal.aborted) return "failed";
    if (!started.ok) {
      const { code, message } = started.error;
      if (code === "runtime_unavailable") {
        // The engine went, and took it along: no crash of its own.
        this.#notCounted();
        return "away";
      }
      if (code === "instance_gone") await this.#report("gone", message);
      else await this.#report("exited", `restart failed: ${message}`);
      return "failed";
    }
    await this.#deps.journal.update(({ instances }) => {
      const record = instances[this.spec.instance];
      if (record) Object.assign(record, started.value);
    });
    this.#deps.onStarted(this.spec);
    await this.#report("starting", `restart ${attempt}`);
    const up = await this.#awaitReady(0);
    if (this.#over.signal.aborted) return "failed";
    if (!up.ok) this.#deps.reports.ended(this.spec.instance);
    await this.#report(
      up.ok ? "ready" : "exited",
      up.ok ? undefined : `restart ${attempt}: ${up.error.message}`,
    );
    return up.ok ? "ready" : "failed";
  }

  async #startAgain(): Promise<Outcome<Started>> {
    const { runtime, remake } = this.#deps;
    const { instance, stopGraceMs } = this.spec;
    const restarted = await runtime.restart(instance, stopGraceMs);
    if (restarted.ok || restarted.error.code !== "instance_gone") return restarted;
    // To remove it by force, somebody ended it first.
    this.#notCounted();
    return remake(this.spec, this.#over.signal);
  }

  #notCounted(): void {
    if (this.#isCounted) this.#deps.reports.notEnded(this.spec.instance);
    this.#isCounted = false;
  }

  #report(...[state, cause]: [Parameters<Reports["push"]>[1], string?]): Promise<void> {
    return this.#deps.reports.push(this.spec.instance, state, cause);
  }

  /** Checks until the instance exits, no longer lives, or is released. Reports when readiness turns. */
  async #serve(healthy: boolean): Promise<End> {
    const over = new AbortController();
    const signal = AbortSignal.any([this.#over.signal, over.signal]);
    try {
      const exit = this.#deps.runtime.waitExit(this.spec.instance, signal);
      return await Promise.race([
        exit.then((ended): End => (ended ? { kind: "exited", exit: ended } : { kind: "released" })),
        this.#watchReadiness(healthy, signal),
        this.#watchLiveness(signal),
      ]);
    } finally {
      over.abort();
    }
  }

  async #watchReadiness(healthy: boolean, signal: AbortSignal): Promise<End> {
    const { readiness } = this.spec.health;
    // A worker without a check is ready for as long as it runs.
    if (this.spec.worker?.steadyMs !== undefined) return this.#keepRunning(readiness.intervalMs, signal);
    const verdict = new Hysteresis(readiness, healthy);
    await this.#observe(readiness, signal, async (result) => {
      if (!verdict.observe(result.ok)) return;
      await this.#report(result.ok ? "ready" : "unready", this.#cause(readiness, result));
    });
    return { kind: "released" };
  }

  async #watchLiveness(signal: AbortSignal): Promise<End> {
    const { liveness } = this.spec.health;
    // Nothing to watch: this one never ends the race.
    if (!liveness) return new Promise(() => {});
    const verdict = new Hysteresis(liveness, true);
    let cause = "";
    const lives = new AbortController();
    await this.#observe(liveness, AbortSignal.any([signal, lives.signal]), async (result) => {
      if (!verdict.observe(result.ok)) return;
      cause = this.#cause(liveness, result) ?? "";
      lives.abort();
    });
    return signal.aborted ? { kind: "released" } : { kind: "lifeless", cause };
  }

  async #observe(check: Check, signal: AbortSignal, seen: (result: CheckResult) => Promise<void>) {
    const { clock } = this.#deps;
    const one = { spec: this.spec, check, runtime: this.#deps.runtime };
    while (!signal.aborted) {
      await clock.sleep(check.intervalMs, signal);
      if (signal.aborted) return;
      const result = await look(one, signal);
      if (!result.ok && !signal.aborted) await this.#mend();
      if (!signal.aborted) await seen(result);
    }
  }

  /** Nothing is asked of it, so nothing would tell that somebody paused it. */
  async #keepRunning(lookMs: number, signal: AbortSignal): Promise<End> {
    while (!signal.aborted) {
      await this.#deps.clock.sleep(lookMs, signal);
      if (!signal.aborted) await this.#mend();
    }
    return { kind: "released" };
  }

  /** It may not answer for what somebody did to its container. */
  async #mend(): Promise<void> {
    const { runtime, log } = this.#deps;
    const { instance, release } = this.spec;
    const mended = await runtime.mend?.(instance);
    if (mended) log.warn(`instance ${mended}`, { instance, release });
  }

  #cause(check: Check, result: CheckResult): string | undefined {
    if (result.ok) return undefined;
    const what = wordsOf({ spec: this.spec, check, runtime: this.#deps.runtime });
    return `${what} ${result.problem}, ${check.failures} times in a row`;
  }
}

/** An app ends by itself, or is ended for not answering. One that was removed, or fell with its engine, did not. */
const isOwnDoing = (end: End): boolean =>
  end.kind === "lifeless" || (end.kind === "exited" && !end.exit.gone && !end.exit.withEngine);

/**
 * How long something has been up that may be older than this process. Only the wall clock knows, and it may have been set
 * meanwhile: it is believed within bounds.
 */
const ageOf = (startedAt: number, clock: Clock, mostMs: number): number =>
  Math.min(mostMs, Math.max(0, clock.now() - startedAt));
