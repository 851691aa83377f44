import type { Clock } from "./clock.ts";

/** The longest a Node timer can be set: 24 days. */
const FOR_EVER_MS = 2 ** 31 - 1;

/** "Something happened since you last looked": raised any number of times, waited for by one loop. */
export class Signal {
  readonly #clock: Clock;
  #raised = false;
  #nap: AbortController | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  raise(): void {
    this.#raised = true;
    this.#nap?.abort();
  }

  /** Resolves when raised (at once if it was since the last wait), when `ms` have passed, or when aborted. */
  async wait(abort: AbortSignal, ms = FOR_EVER_MS): Promise<void> {
    if (!this.#raised && !abort.aborted) {
      const nap = new AbortController();
      const end = () => nap.abort();
      this.#nap = nap;
      abort.addEventListener("abort", end, { once: true });
      await this.#clock.sleep(ms, nap.signal);
      abort.removeEventListener("abort", end);
      this.#nap = undefined;
    }
    this.#raised = false;
  }
}
