import { nameOf } from "../../domain/routing/site.ts";
import { Until } from "./until.ts";

/** Listing keys is what KV allows least of: 1,000 times a day on the Free plan. */
const SAME_NAME_MS = 600_000;
const MADE_UP_EVERY_MS = 60_000;
const MOST = 1_000;

/**
 * Whose paths may be listed in KV now, while control is away: of a name that has a copy, once in ten minutes. A name without
 * one is anybody's to make up, and it may have nothing but paths: one of all of those a minute.
 */
export class Listing {
  readonly #listed = new Until(MOST);
  #madeUpAt = Number.NEGATIVE_INFINITY;

  /** True: it is listed now, and counts as that. */
  takes(hostname: string, hasCopy: boolean, now: number): boolean {
    // A path has none below it that are looked for.
    if (nameOf(hostname) !== hostname || this.#listed.holds(hostname, now)) return false;
    if (!hasCopy && now - this.#madeUpAt < MADE_UP_EVERY_MS) return false;
    if (!hasCopy) this.#madeUpAt = now;
    this.#listed.note(hostname, now + SAME_NAME_MS);
    return true;
  }
}
