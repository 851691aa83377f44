/** What a wait that ran out gives instead of a value. */
export const TIMED_OUT: unique symbol = Symbol("timed out");
export type TimedOut = typeof TIMED_OUT;

/** Waits for a promise, at most `ms`. The work behind it is not stopped: it ends with the request's context. */
export function within<T>(promise: Promise<T>, ms: number): Promise<T | TimedOut> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => resolve(TIMED_OUT), ms);
    promise.then(
      (value) => {
        clearTimeout(timer);
        resolve(value);
      },
      (error: unknown) => {
        clearTimeout(timer);
        reject(error);
      },
    );
  });
}

/**
 * `within` for the hot path: a timer per request costs more than choosing and counting together, and nearly every
 * answer is there before one could matter. So a patrol behind one request tells the others, when they have waited for a
 * while, to set a timer of their own; most are gone by then. It keeps no finished request alive beyond its shift.
 */
export class Patrol {
  /** Waits without a timer; calling one sets it. */
  readonly #waiting = new Set<() => void>();
  /** Epoch ms; past it the patrol is over, or lost with its request. */
  #until = 0;

  within<T>(ctx: ExecutionContext, promise: Promise<T>, ms: number): Promise<T | TimedOut> {
    if (ms < SHIFT_MS * 2) return within(promise, ms);
    const now = Date.now();
    if (now > this.#until) {
      this.#until = now + SHIFT_MS * 2;
      ctx.waitUntil(this.#walk());
    }
    return new Promise((resolve, reject) => {
      let timer: number | null = null;
      let armLate = () => {};
      // The patrol calls from another request's context, in which a timer would be that request's: a promise brings
      // the call home.
      void new Promise<void>((call) => {
        armLate = call;
      }).then(() => {
        timer = setTimeout(() => resolve(TIMED_OUT), Math.max(0, now + ms - Date.now()));
      });
      this.#waiting.add(armLate);
      const settled = () => {
        this.#waiting.delete(armLate);
        if (timer !== null) clearTimeout(timer);
      };
      promise.then(
        (value) => {
          settled();
          resolve(value);
        },
        (error: unknown) => {
          settled();
          reject(error);
        },
      );
    });
  }

  async #walk(): Promise<void> {
    await scheduler.wait(SHIFT_MS);
    this.#until = 0;
    const late = [...this.#waiting];
    this.#waiting.clear();
    for (const arm of late) arm();
  }
}

const SHIFT_MS = 250;
