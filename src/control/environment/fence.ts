/**
 * The highest fence that was ever used here. Agents refuse work under a lower one than they have seen, and D1 may be set back
 * to an earlier hour (Time Travel): the object remembers, as it does for the table's version, and begins above it.
 */
export class Fence {
  readonly #storage: DurableObjectStorage;

  constructor(storage: DurableObjectStorage) {
    this.#storage = storage;
  }

  /** Under which fence a decision is written. `inD1`: the environment's own; `rises`: a new release begins. */
  async next(inD1: number, rises: boolean): Promise<number> {
    const highest = (await this.#storage.get<number>("fence")) ?? 0;
    const wasSetBack = inD1 < highest;
    const fence = Math.max(inD1, highest) + (rises || wasSetBack ? 1 : 0);
    if (fence > highest) await this.#storage.put("fence", fence);
    return fence;
  }

  /** Whether D1 was set back: its queued work would be refused until something is written. */
  async isAbove(inD1: number): Promise<boolean> {
    return inD1 < ((await this.#storage.get<number>("fence")) ?? 0);
  }
}
