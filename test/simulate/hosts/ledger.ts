import type { FaultKind } from "../faults.ts";

/** What hosts have done, each of it once at most; and what became of their messages. */
export class Ledger {
  lostMessages = 0;
  doubledMessages = 0;
  readonly #fault: (kind: FaultKind, text: string) => void;
  readonly #started = new Set<string>();
  readonly #wereReady = new Set<string>();
  readonly #commands = new Set<string>();
  readonly #hooks = new Set<string>();
  readonly #running = new Set<string>();

  constructor(fault: (kind: FaultKind, text: string) => void) {
    this.#fault = fault;
  }

  started(instance: string): void {
    if (this.#started.has(instance)) this.#fault("started twice", instance);
    this.#started.add(instance);
  }
  /** Nothing is left of it to run beside another start. */
  removed(instance: string): void {
    this.#started.delete(instance);
  }

  becameReady(instance: string): void {
    this.#wereReady.add(instance);
  }
  wasReady(instance: string): boolean {
    return this.#wereReady.has(instance);
  }

  commandBegins(run: string): void {
    if (this.#commands.has(run)) this.#fault("command twice", run);
    this.#commands.add(run);
  }

  hookBegins(job: string): void {
    if (this.#hooks.has(job)) this.#fault("hook twice", job);
    const [other] = this.#running;
    if (other) this.#fault("two hooks at once", `${job} begins while ${other} runs`);
    this.#hooks.add(job);
    this.#running.add(job);
  }
  hookEnds(job: string): void {
    this.#running.delete(job);
  }
}
