import { BoundedMap } from "../bounded-map.ts";
import type { Resolution } from "../store/status.ts";

const OWNED_MS = 30_000;
/** Short: a hostname that was just applied is to be found. */
const UNKNOWN_MS = 5_000;
/** Of each kind, so that a flood of made-up names can't push out the real ones. */
const MAX_ENTRIES = 10_000;
const NOBODYS: Resolution = { owner: null, paths: [] };

/** Which environment owns a hostname, or that none does, for a short while. */
export class HostnameCache {
  readonly #owned = new BoundedMap<string, { resolution: Resolution; until: number }>(MAX_ENTRIES);
  readonly #unknown = new BoundedMap<string, number>(MAX_ENTRIES);
  readonly #below = new BoundedMap<string, { names: readonly string[]; until: number }>(MAX_ENTRIES);

  /** The names below a wildcard that are somebody's own: read once for as long as an owner is remembered. */
  async below(
    wildcard: string,
    now: number,
    read: () => Promise<readonly string[]>,
  ): Promise<readonly string[]> {
    const known = this.#below.get(wildcard);
    if (known && known.until > now) return known.names;
    const names = await read();
    this.#below.set(wildcard, { names, until: now + OWNED_MS });
    return names;
  }

  /** Undefined: not known here. */
  get(hostname: string, now: number): Resolution | undefined {
    const owned = this.#owned.get(hostname);
    if (owned && owned.until > now) return owned.resolution;
    return (this.#unknown.get(hostname) ?? 0) > now ? NOBODYS : undefined;
  }

  set(hostname: string, resolution: Resolution, now: number): void {
    this.#owned.delete(hostname);
    this.#unknown.delete(hostname);
    const { owner, paths } = resolution;
    if (owner === null && paths.length === 0) this.#unknown.set(hostname, now + UNKNOWN_MS);
    else this.#owned.set(hostname, { resolution, until: now + (owner === null ? UNKNOWN_MS : OWNED_MS) });
  }
}
