/** What a Worker's invocation has on the way at once; more would wait in the runtime, with their timeouts running. */
export const AT_ONCE = 6;

/** Does each item's work, so many at a time; answers in the items' order. Each begins when its turn comes, and not before. */
export async function atMost<T, R>(
  most: number,
  items: readonly T[],
  work: (item: T) => Promise<R>,
): Promise<R[]> {
  const results = new Array<R>(items.length);
  const waiting = items.entries();
  const worker = async () => {
    for (const [index, item] of waiting) results[index] = await work(item);
  };
  await Promise.all(Array.from({ length: Math.min(most, items.length) }, worker));
  return results;
}

/** Lets so many at once through, whoever they work for; the others wait their turn, and who is `first` before all others. */
export class Gate {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  constructor(most = AT_ONCE) {
    this.#free = most;
  }

  async through<T>(work: () => Promise<T>, { first = false } = {}): Promise<T> {
    if (this.#free > 0) this.#free -= 1;
    else
      await new Promise<void>((resolve) => {
        if (first) this.#waiting.unshift(resolve);
        else this.#waiting.push(resolve);
      });
    try {
      return await work();
    } finally {
      // Whoever waits takes over the place.
      const next = this.#waiting.shift();
      if (next) next();
      else this.#free += 1;
    }
  }
}
