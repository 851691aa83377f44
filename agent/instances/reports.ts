import { z } from "zod";
import { EXITS_KEPT, type HealthReport } from "../../src/protocol/agent/health.ts";
import type { InstanceReport } from "../../src/protocol/agent/poll.ts";
import { type Clock, outagePause } from "../clock.ts";
import type { Control } from "../control/control.ts";
import type { Journal } from "../journal.ts";
import type { Log } from "../log.ts";
import { scopeOf } from "../redaction/scope.ts";
import type { Secrets } from "../redaction/secrets.ts";
import { Signal } from "../signal.ts";

/** The protocol's limits for one message. */
const BATCH = 100;
const CAUSE_CHARS = 500;

export interface ReportsOptions {
  /** Of this agent process: it numbers its reports from 1. */
  boot: string;
  journal: Journal;
  control: Control;
  clock: Clock;
  log: Log;
  secrets: Secrets;
}

/**
 * Health transitions on their way to control, at least once, the newest of each instance: what was true before it is of no
 * use to anybody. They are not kept over a restart: the next process's first poll tells how all of them stand.
 */
export class Reports {
  readonly #options: ReportsOptions;
  readonly #added: Signal;
  readonly #unsent = new Map<string, HealthReport>();
  /** Number of the last report of each instance. */
  readonly #seqs = new Map<string, number>();
  readonly #last = new Map<string, string>();
  #seq = 0;

  constructor(options: ReportsOptions) {
    this.#options = options;
    this.#added = new Signal(options.clock);
  }

  /** Number of the last report. */
  get seq(): number {
    return this.#seq;
  }

  /** How each instance stands that this agent answers for, as a poll says it. */
  get instances(): InstanceReport[] {
    return Object.entries(this.#options.journal.state.instances)
      .filter(([, { stopping }]) => !stopping)
      .map(([instance, { state, cause, exits }]) => {
        const seq = this.#seqs.get(instance) ?? 0;
        return { instance, state, seq, exits, ...(cause !== undefined && { cause }) };
      });
  }

  /** Records an instance's new state and queues the news. Durable when the promise resolves. */
  async push(instance: string, state: HealthReport["state"], said?: string): Promise<void> {
    const { journal, clock, log, secrets } = this.#options;
    const record = journal.state.instances[instance];
    if (!record) return;
    const cause = said && secrets.hide(scopeOf(record.spec), said);
    if (record.stopping || this.#isOldNews(instance, state, cause)) return;
    log[state === "ready" || state === "starting" ? "info" : "warn"](`instance ${state}`, {
      instance,
      release: record.spec.release,
      app: record.spec.app,
      version: record.spec.version,
      cause,
    });
    const seq = ++this.#seq;
    const text = cause?.slice(0, CAUSE_CHARS);
    this.#seqs.set(instance, seq);
    this.#unsent.set(instance, {
      instance,
      seq,
      state,
      at: clock.now(),
      exits: record.exits,
      ...(text && { cause: text }),
    });
    await journal.update(() => {
      record.state = state;
      record.cause = text;
    });
    this.#added.raise();
  }

  /** Counts an end that nobody asked for: told with the next report. */
  ended(instance: string): void {
    const { journal, clock } = this.#options;
    const record = journal.state.instances[instance];
    if (record) record.exits = [...record.exits, clock.now()].slice(-EXITS_KEPT);
  }

  /** Takes the last of them back: it was not its own doing. */
  notEnded(instance: string): void {
    const record = this.#options.journal.state.instances[instance];
    if (record) record.exits = record.exits.slice(0, -1);
  }

  /** There is no such instance any more. */
  forget(instance: string): void {
    for (const kept of [this.#unsent, this.#seqs, this.#last]) kept.delete(instance);
  }

  /** An instance that can't be restarted fails each minute in the same words: told once. */
  #isOldNews(instance: string, state: HealthReport["state"], cause: string | undefined): boolean {
    const news = `${state} ${cause ?? ""}`;
    if (this.#last.get(instance) === news) return true;
    this.#last.set(instance, news);
    return false;
  }

  /** Sends until the signal aborts. Returns only then. */
  async deliver(signal: AbortSignal): Promise<void> {
    const { boot, control, clock, log } = this.#options;
    let attempt = 0;
    while (!signal.aborted) {
      const batch = [...this.#unsent.values()].slice(0, BATCH);
      if (batch.length === 0) {
        await this.#added.wait(signal);
        continue;
      }
      const sent = { boot, clock: clock.now(), reports: batch };
      const answer = await control("/agent/v1/health", sent, z.unknown());
      if (signal.aborted) return;
      if (answer.ok || (answer.kind === "refused" && answer.status !== 401)) {
        // Refused for good: sending the same again would only block what comes after.
        if (!answer.ok) log.error("control refused health reports", { detail: answer.detail });
        this.#settle(batch);
        attempt = 0;
        continue;
      }
      await clock.sleep(outagePause(attempt++), signal);
    }
  }

  /** What turned again while it was on its way is still to be told. */
  #settle(batch: readonly HealthReport[]): void {
    for (const { instance, seq } of batch)
      if (this.#unsent.get(instance)?.seq === seq) this.#unsent.delete(instance);
  }
}
