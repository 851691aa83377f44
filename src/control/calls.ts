import { logWarning } from "./log.ts";

/** What an eviction may forget, and one row written for so many. */
const STORE_EVERY = 500;
const DAY_MS = 86_400_000;

interface Kept {
  /** UTC days since 1970. */
  readonly day: number;
  readonly calls: number;
}

/** How often an object was called since the UTC day began, for the day's allowance. */
export class Calls {
  readonly #storage: DurableObjectStorage;
  #fresh = 0;

  constructor(storage: DurableObjectStorage) {
    this.#storage = storage;
  }

  /** One more, at `now` (epoch ms). Nobody waits for it to be stored. */
  note(now: number): void {
    this.#fresh += 1;
    if (this.#fresh < STORE_EVERY) return;
    this.#store(now).catch((error) => logWarning("calls.unstored", { error: String(error) }));
  }

  async today(now: number): Promise<number> {
    return (await this.#kept(now)).calls + this.#fresh;
  }

  async #store(now: number): Promise<void> {
    const fresh = this.#fresh;
    this.#fresh = 0;
    const { day, calls } = await this.#kept(now);
    await this.#storage.put<Kept>("calls", { day, calls: calls + fresh }, { allowUnconfirmed: true });
  }

  async #kept(now: number): Promise<Kept> {
    const day = Math.floor(now / DAY_MS);
    const kept = await this.#storage.get<Kept>("calls");
    return kept?.day === day ? kept : { day, calls: 0 };
  }
}
