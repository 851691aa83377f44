interface Entry {
  readonly at: number;
  readonly order: number;
  readonly run: () => void | Promise<void>;
}

/** Virtual time: what is due is run in the order of its time, and time passes in between at once. */
export class Clock {
  /** Epoch ms. */
  now: number;
  ran = 0;
  #order = 0;
  /** A binary heap, the earliest on top. */
  readonly #heap: Entry[] = [];

  constructor(now: number) {
    this.now = now;
  }

  at(time: number, run: Entry["run"]): void {
    this.#push({ at: Math.max(time, this.now), order: this.#order++, run });
  }

  after(ms: number, run: Entry["run"]): void {
    this.at(this.now + ms, run);
  }

  async until(time: number): Promise<void> {
    for (let top = this.#heap[0]; top !== undefined && top.at <= time; top = this.#heap[0]) {
      this.#pop();
      this.now = top.at;
      this.ran += 1;
      const running = top.run();
      if (running !== undefined) await running;
    }
    this.now = Math.max(this.now, time);
  }

  #push(entry: Entry): void {
    const heap = this.#heap;
    let at = heap.length;
    heap.push(entry);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = heap[parent];
      if (above === undefined || isBefore(above, entry)) break;
      heap[at] = above;
      at = parent;
    }
    heap[at] = entry;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let at = 0;
    while (true) {
      const left = heap[2 * at + 1];
      if (left === undefined) break;
      const right = heap[2 * at + 2];
      const isRight = right !== undefined && isBefore(right, left);
      const child = isRight ? right : left;
      if (isBefore(last, child)) break;
      heap[at] = child;
      at = 2 * at + (isRight ? 2 : 1);
    }
    heap[at] = last;
  }
}

const isBefore = (a: Entry, b: Entry): boolean => a.at < b.at || (a.at === b.at && a.order < b.order);
