import { BoundedMap } from "../bounded-map.ts";

const OWNED_MS = 30_000;
/** Short: a hostname that was just applied is to be found. */
const UNKNOWN_MS = 5_000;
/** Of each kind, so that a flood of made-up names can't push out the real ones. */
const MAX_ENTRIES = 10_000;

/** Which environment owns a hostname, or that none does, for a short while. */
export class HostnameCache {
  readonly #owned = new BoundedMap<string, { environment: string; until: number }>(MAX_ENTRIES);
  readonly #unknown = new BoundedMap<string, number>(MAX_ENTRIES);

  /** The environment's id; null: nobody owns it; undefined: not known here. */
  get(hostname: string, now: number): string | null | undefined {
    const owned = this.#owned.get(hostname);
    if (owned && owned.until > now) return owned.environment;
    return (this.#unknown.get(hostname) ?? 0) > now ? null : undefined;
  }

  set(hostname: string, environment: string | null, now: number): void {
    this.#owned.delete(hostname);
    this.#unknown.delete(hostname);
    if (environment === null) this.#unknown.set(hostname, now + UNKNOWN_MS);
    else this.#owned.set(hostname, { environment, until: now + OWNED_MS });
  }
}
