import { setImmediate } from "node:timers/promises";
import type { Clock } from "../../agent/clock.ts";

interface Nap {
  readonly ms: number;
  readonly until: number;
  readonly wake: () => void;
}

/** Time that passes only when a test says so. What waits for real things (processes, HTTP) goes on meanwhile. */
export class ManualClock implements Clock {
  #now = Date.now();
  #stepped = 0;
  #naps = new Set<Nap>();
  /** How long each nap was that was slept to its end since this was last emptied. */
  readonly slept: number[] = [];

  now(): number {
    return this.#now + this.#stepped;
  }

  monotonic(): number {
    return this.#now;
  }

  /** Sets the wall clock forward or back, as a virtual machine that is resumed or a first answer of NTP does. */
  step(ms: number): void {
    this.#stepped += ms;
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      if (signal?.aborted) return resolve();
      const wake = () => {
        this.#naps.delete(nap);
        signal?.removeEventListener("abort", wake);
        resolve();
      };
      const nap = { ms, until: this.#now + Math.ceil(ms), wake };
      this.#naps.add(nap);
      signal?.addEventListener("abort", wake, { once: true });
    });
  }

  /** Lets time pass, waking each sleeper at its time. */
  async advance(ms: number): Promise<void> {
    const end = this.#now + ms;
    for (;;) {
      const [next] = [...this.#naps].sort((a, b) => a.until - b.until);
      if (!next || next.until > end) break;
      this.#now = Math.max(this.#now, next.until);
      this.slept.push(next.ms);
      next.wake();
      // What it does next, a refused connection among it, takes a few turns.
      for (let turn = 0; turn < 5; turn++) await setImmediate();
    }
    this.#now = end;
  }
}
