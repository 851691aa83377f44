import type { InstanceSpec, Probe } from "../../src/protocol/agent.ts";
import { backOff, type Clock } from "../clock.ts";
import type { Journal } from "../journal.ts";
import type { Outcome } from "../outcome.ts";
import { describeExit, type Exit, type Runtime } from "../runtime/runtime.ts";
import { Hysteresis, type ProbeResult, probe } from "./health.ts";
import type { Reports } from "./reports.ts";
import { awaitReady, probeUrl } from "./startup.ts";

const RESTART_BACK_OFF = { first: 1_000, max: 60_000 };
/** An instance that ran this long starts its back-off anew. */
const STABLE_AFTER_MS = 60_000;

export interface InstanceDeps {
  runtime: Runtime;
  journal: Journal;
  reports: Reports;
  clock: Clock;
}

/** Why serving ended. */
type End = { kind: "exited"; exit: Exit } | { kind: "lifeless"; cause: string } | { kind: "released" };

/**
 * The agent's eye on one instance: waits until it is ready, then probes it for as long as it lives, and restarts it (with
 * back-off, and telling control) when it exits or no longer answers. Only an instance that was ready once is restarted:
 * one that never was is the start job's to report.
 */
export class Instance {
  readonly spec: InstanceSpec;
  readonly #deps: InstanceDeps;
  readonly #over = new AbortController();
  #up: Promise<Outcome<{ readyAfterMs: number }>> | undefined;
  #kept: Promise<void> | undefined;
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
    this.keep({ healthy: true, startedAt });
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

  /** Goes on probing an instance that runs already, without touching it. */
  keep(from: { healthy: boolean; startedAt: number }): void {
    this.#kept ??= this.#keep(from);
  }

  /** Lets go: no more probes and restarts. The instance itself is left as it is. */
  async release(): Promise<void> {
    this.#over.abort();
    await Promise.all([this.#up, this.#kept]);
  }

  async #keep({ healthy, startedAt }: { healthy: boolean; startedAt: number }): Promise<void> {
    const { clock } = this.#deps;
    const { signal } = this.#over;
    let restarts = 0;
    let up = clock.monotonic() - ageOf(startedAt, clock, STABLE_AFTER_MS);
    let serving = true;
    let wasHealthy = healthy;
    while (!signal.aborted) {
      if (serving) {
        const end = await this.#serve(wasHealthy);
        if (end.kind === "released") return;
        if (clock.monotonic() - up > STABLE_AFTER_MS) restarts = 0;
        await this.#reportEnd(end, backOff(restarts, RESTART_BACK_OFF), restarts + 1);
      }
      await clock.sleep(backOff(restarts, RESTART_BACK_OFF), signal);
      if (signal.aborted) return;
      restarts += 1;
      up = clock.monotonic();
      serving = await this.#restart(restarts);
      wasHealthy = true;
    }
  }

  #reportEnd(end: Exclude<End, { kind: "released" }>, waitMs: number, restart: number): Promise<void> {
    const next = `restart ${restart} in ${waitMs / 1000} s`;
    // One that was removed from outside did not end by itself.
    if (end.kind === "lifeless" || !end.exit.gone) this.#deps.reports.ended(this.spec.instance);
    if (end.kind === "lifeless") return this.#report("unready", `${end.cause}; ${next}`);
    return this.#report("exited", `${this.spec.app} ${this.spec.version} ${describeExit(end.exit)}; ${next}`);
  }

  /** Answers whether the instance is ready again. */
  async #restart(attempt: number): Promise<boolean> {
    const { runtime } = this.#deps;
    const started = await runtime.restart(this.spec.instance, this.spec.stopGraceMs);
    if (this.#over.signal.aborted) return false;
    if (!started.ok) {
      // The engine is away: whether the instance runs, nobody knows, so nothing is claimed.
      if (started.error.code === "runtime_unavailable") return false;
      await this.#report("exited", `restart failed: ${started.error.message}`);
      return false;
    }
    await this.#report("starting", `restart ${attempt}`);
    const up = await this.#awaitReady(0);
    if (this.#over.signal.aborted) return false;
    await this.#report(
      up.ok ? "ready" : "exited",
      up.ok ? undefined : `restart ${attempt}: ${up.error.message}`,
    );
    return up.ok;
  }

  #report(...[state, cause]: [Parameters<Reports["push"]>[1], string?]): Promise<void> {
    return this.#deps.reports.push(this.spec.instance, state, cause);
  }

  /** Probes until the instance exits, no longer lives, or is released. Reports when readiness turns. */
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

  async #observe(check: Probe, signal: AbortSignal, seen: (result: ProbeResult) => Promise<void>) {
    const { clock } = this.#deps;
    const url = probeUrl(this.spec, check.path);
    while (!signal.aborted) {
      await clock.sleep(check.intervalMs, signal);
      if (signal.aborted) return;
      const result = await probe(url, check.timeoutMs);
      if (!signal.aborted) await seen(result);
    }
  }

  #cause(check: Probe, result: ProbeResult): string | undefined {
    if (result.ok) return undefined;
    return `GET ${probeUrl(this.spec, check.path)} ${result.problem}, ${check.failures} times in a row`;
  }
}

/**
 * How long something has been up that may be older than this process. Only the wall clock knows, and it may have been set
 * meanwhile: it is believed within bounds.
 */
const ageOf = (startedAt: number, clock: Clock, mostMs: number): number =>
  Math.min(mostMs, Math.max(0, clock.now() - startedAt));
