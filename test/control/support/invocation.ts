import { AsyncLocalStorage } from "node:async_hooks";
import { LIMITS } from "../../support/runtime-limits.ts";

/** The most connections that any invocation wanted at once, those in the queue too. Tests set it back. */
export const peak = { connections: 0 };

/** What one request, RPC call, alarm or schedule of control's may do: counted from its begin to its end, whatever it awaits. */
export class Invocation {
  queries = 0;
  subrequests = 0;
  services = 0;
  #open = 0;
  readonly #queue: (() => void)[] = [];

  /** Work of this invocation. */
  run<T>(work: () => T): T {
    return current.run(this, work);
  }

  /** A call of one of Cloudflare's own services: D1, KV, R2, an object. Throws past Free's. */
  serve(): void {
    this.services += 1;
    if (this.services > LIMITS.fetch.servicesOnFree)
      throw new Error(
        `Too many API requests by single worker invocation: over ${LIMITS.fetch.servicesOnFree}`,
      );
  }

  /** Of D1, so far. Throws past Free's. */
  query(): void {
    this.serve();
    this.queries += 1;
    if (this.queries > LIMITS.d1.queriesOnFree)
      throw new Error(`D1_ERROR: too many queries by one invocation: over ${LIMITS.d1.queriesOnFree}`);
  }

  /** A fetch, `times` counting the redirects that it followed. Throws past Free's. */
  subrequest(times = 1): void {
    this.subrequests += times;
    if (this.subrequests > LIMITS.fetch.subrequestsOnFree) throw new Error("Too many subrequests.");
  }

  /** The seventh queues until the head of another's response is there. */
  async connect<T>(work: () => Promise<T>): Promise<T> {
    peak.connections = Math.max(peak.connections, this.#open + this.#queue.length + 1);
    if (this.#open >= LIMITS.fetch.connections)
      await new Promise<void>((resolve) => this.#queue.push(resolve));
    this.#open += 1;
    try {
      return await work();
    } finally {
      this.#open -= 1;
      this.#queue.shift()?.();
    }
  }
}

const current = new AsyncLocalStorage<Invocation>();

/** The one that the caller is part of; undefined: a test's own work. */
export const invocation = (): Invocation | undefined => current.getStore();

/** Runs work as an invocation, unless it is part of one. */
export const asInvocation = <T>(work: () => T): T =>
  current.getStore() ? work() : current.run(new Invocation(), work);
