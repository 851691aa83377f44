/** Names that something holds of until a time; of too many the one noted first goes. */
export class Until {
  readonly #ends = new Map<string, number>();
  readonly #most: number;

  constructor(most: number) {
    this.#most = most;
  }

  /** `end`: epoch ms. */
  note(name: string, end: number): void {
    this.#ends.delete(name);
    this.#ends.set(name, end);
    if (this.#ends.size <= this.#most) return;
    for (const first of this.#ends.keys()) {
      this.#ends.delete(first);
      break;
    }
  }

  holds(name: string, now: number): boolean {
    return (this.#ends.get(name) ?? 0) > now;
  }

  forget(name: string): void {
    this.#ends.delete(name);
  }
}
