/** One thing at a time, in the order they were asked for: what a Durable Object's own gate doesn't promise across `await`s. */
export class Turn {
  #last: Promise<unknown> = Promise.resolve();

  /** Whoever asked for it gets its error; the next one begins all the same. */
  take<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#last.then(work);
    this.#last = done.catch(() => {});
    return done;
  }
}

/** Has the alarm ring at this time, or where it is set already if that is earlier. */
export async function armBy(storage: DurableObjectStorage, time: number): Promise<void> {
  const armed = await storage.getAlarm();
  if (armed === null || armed > time) await storage.setAlarm(time);
}

/** Of two times, either of which may be never. */
export const earliest = (a: number | null, b: number | null): number | null =>
  a === null || b === null ? (a ?? b) : Math.min(a, b);
