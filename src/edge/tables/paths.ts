import { sitesOver } from "../../domain/routing/site.ts";

/** Names whose paths are kept in mind: those that have some are few, and made-up ones have none. */
const MOST = 1_000;

interface Known {
  readonly sites: readonly string[];
  /** Epoch ms at which control said so last. */
  readonly at: number;
}

/** Which paths of a hostname are sites of their own. Hostnames without any take no room, and cost a look at `size`. */
export class Paths {
  readonly #known = new Map<string, Known>();

  get size(): number {
    return this.#known.size;
  }

  has(hostname: string): boolean {
    return this.#known.has(hostname);
  }

  of(hostname: string): readonly string[] | undefined {
    return this.#known.get(hostname)?.sites;
  }

  /** Sites with a path that a request lies in, the longest first. */
  over(hostname: string, target: string): readonly string[] {
    return sitesOver(this.of(hostname) ?? [], target);
  }

  isOlder(hostname: string, than: number): boolean {
    return (this.#known.get(hostname)?.at ?? than) < than;
  }

  learn(hostname: string, sites: readonly string[] | undefined, at: number): void {
    this.#known.delete(hostname);
    if (sites === undefined || sites.length === 0) return;
    this.#known.set(hostname, { sites, at });
    if (this.#known.size <= MOST) return;
    for (const oldest of this.#known.keys()) {
      this.#known.delete(oldest);
      break;
    }
  }

  forget(hostname: string, site: string): void {
    const known = this.#known.get(hostname);
    if (known)
      this.learn(
        hostname,
        known.sites.filter((other) => other !== site),
        known.at,
      );
  }
}
