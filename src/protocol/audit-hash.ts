import {
  type ChainedEvent,
  canonical,
  type Entry,
  GENESIS,
  type Head,
  type Link,
} from "../domain/audit-chain.ts";

/** SHA-256 of a text's UTF-8, hex. */
export type Digest = (text: string) => Promise<string>;

export async function linkOf(event: ChainedEvent, before: string, digest: Digest): Promise<Link> {
  const leaf = await leafOf(event, digest);
  const { id, at, environmentId } = event;
  return { id, at, environmentId, leaf, hash: await hashOf({ id, at, environmentId, leaf }, before, digest) };
}

function leafOf(event: ChainedEvent, digest: Digest): Promise<string> {
  const { id, at, type, actor, app, environment, environmentId, releaseId, message, data } = event;
  return digest(
    canonical({ id, at, type, actor, app, environment, environmentId, releaseId, message, data }),
  );
}

const hashOf = ({ id, at, environmentId, leaf }: Omit<Link, "hash">, before: string, digest: Digest) =>
  digest(canonical([before, id, at, environmentId, leaf]));

export interface Problem {
  readonly id: number;
  readonly what: "changed" | "removed" | "inserted" | "broken" | "cut";
  /** One sentence. */
  readonly says: string;
}

/** No environment keeps its events for less (the manifest's `retention.events`): a younger one that is gone was taken out. */
const KEPT_AT_LEAST_MS = 30 * 86_400_000;

/** Follows a chain, entry by entry in the order of ids. */
export class Verification {
  readonly problems: Problem[] = [];
  checked = 0;
  /** Events that are gone with reason: their links are there. */
  pruned = 0;
  head: Head;
  readonly #digest: Digest;
  readonly #now: number;

  constructor(digest: Digest, now: number, from: Head = GENESIS) {
    this.#digest = digest;
    this.#now = now;
    this.head = from;
  }

  async add({ id, link, event }: Entry): Promise<void> {
    if (!link) {
      const says = `#${id} is no link of the chain: it was put in, or its link was taken out`;
      return void this.problems.push({ id, what: "inserted", says });
    }
    if ((await hashOf(link, this.head.hash, this.#digest)) !== link.hash) {
      const says = `#${id} doesn't follow #${this.head.id}: what stood between them was removed, or they were changed or put elsewhere`;
      this.problems.push({ id, what: "broken", says });
    }
    this.head = { id, hash: link.hash };
    this.checked += 1;
    if (event) await this.#look(link, event);
    else this.#miss(link);
  }

  /** `known`: where the chain ended by another word than the log's own. It has to be in it. */
  end(known: Head | null, isIn: boolean): void {
    if (!known || isIn) return;
    const says = `the log ends at #${this.head.id}, and the chain once ended at #${known.id} with ${known.hash.slice(0, 12)}…: its end was cut off, or written anew`;
    this.problems.push({ id: known.id, what: "cut", says });
  }

  async #look(link: Link, event: ChainedEvent): Promise<void> {
    if ((await leafOf(event, this.#digest)) !== link.leaf) {
      const says = `#${event.id} was changed: it is not what was written`;
      this.problems.push({ id: event.id, what: "changed", says });
    }
    if (event.type !== "audit.broken") return;
    this.problems.push({ id: event.id, what: "cut", says: `#${event.id}: ${event.message}` });
  }

  #miss({ id, at, environmentId }: Link): void {
    if (environmentId !== null && at <= this.#now - KEPT_AT_LEAST_MS) {
      this.pruned += 1;
      return;
    }
    this.problems.push({ id, what: "removed", says: `#${id} was removed: no retention lets it go` });
  }
}
