import { z } from "zod";
import { EXITS_KEPT, type HealthReport } from "../../src/protocol/agent.ts";
import { backOff, type Clock, jittered } from "../clock.ts";
import type { Control } from "../control/control.ts";
import type { Journal } from "../journal.ts";
import type { Log } from "../log.ts";
import { Signal } from "../signal.ts";

/** The protocol's limit for one message. */
const BATCH = 100;

export interface ReportsOptions {
  journal: Journal;
  control: Control;
  clock: Clock;
  log: Log;
}

/** Health transitions on their way to control: in order, at least once, kept over a restart of the agent. */
export class Reports {
  readonly #options: ReportsOptions;
  readonly #added: Signal;
  readonly #last = new Map<string, string>();

  constructor(options: ReportsOptions) {
    this.#options = options;
    this.#added = new Signal(options.clock);
  }

  /** Records an instance's new state and queues the news. Durable when the promise resolves. */
  async push(instance: string, state: HealthReport["state"], cause?: string): Promise<void> {
    const { journal, clock, log } = this.#options;
    const record = journal.state.instances[instance];
    if (!record || record.stopping || this.#isOldNews(instance, state, cause)) return;
    log[state === "ready" || state === "starting" ? "info" : "warn"](`instance ${state}`, {
      instance,
      release: record.spec.release,
      app: record.spec.app,
      version: record.spec.version,
      cause,
    });
    const at = clock.now();
    await journal.update(({ reports }) => {
      record.state = state;
      record.seq += 1;
      const text = cause?.slice(0, 2_000);
      const { seq, exits } = record;
      reports.push({ instance, seq, state, at, exits: [...exits], ...(text && { cause: text }) });
    });
    this.#added.raise();
  }

  /** Counts an end that nobody asked for: told with the next report. */
  ended(instance: string): void {
    const { journal, clock } = this.#options;
    const record = journal.state.instances[instance];
    if (record) record.exits = [...record.exits, clock.now()].slice(-EXITS_KEPT);
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
    const { journal, control, clock, log } = this.#options;
    let attempt = 0;
    while (!signal.aborted) {
      const batch = journal.state.reports.slice(0, BATCH);
      if (batch.length === 0) {
        await this.#added.wait(signal);
        continue;
      }
      const answer = await control("/agent/v1/health", { clock: clock.now(), reports: batch }, z.unknown());
      if (signal.aborted) return;
      if (answer.ok || (answer.kind === "refused" && answer.status !== 401)) {
        // Refused for good: sending the same again would only block what comes after.
        if (!answer.ok) log.error("control refused health reports", { detail: answer.detail });
        await journal.update(({ reports }) => void reports.splice(0, batch.length));
        attempt = 0;
        continue;
      }
      await clock.sleep(jittered(backOff(attempt++, { first: 500, max: 30_000 })), signal);
    }
  }
}
