/**
 * The audit log as a chain: each link's hash is made from the link before it, so that nothing of it can be taken out, changed
 * or put elsewhere without every later hash being another one. SHA-256 over canonical JSON (keys sorted, no white space;
 * RFC 8785). How it is hashed is protocol/audit-hash.ts's.
 */

/** An event with all that is in its row. Times are epoch ms. */
export interface ChainedEvent {
  readonly id: number;
  readonly at: number;
  readonly type: string;
  readonly actor: string;
  readonly app: string | null;
  readonly environment: string | null;
  readonly environmentId: string | null;
  readonly releaseId: string | null;
  readonly message: string;
  readonly data: Readonly<Record<string, unknown>>;
}

/** What stays of an event when its row is pruned. `leaf` is the event's own hash, `hash` that of the chain up to it. */
export interface Link {
  readonly id: number;
  readonly at: number;
  readonly environmentId: string | null;
  readonly leaf: string;
  readonly hash: string;
}

/** A link and its event; one of the two may be gone. */
export interface Entry {
  readonly id: number;
  readonly link: Link | null;
  readonly event: ChainedEvent | null;
}

/** Where a chain ends. */
export interface Head {
  readonly id: number;
  readonly hash: string;
}

export const GENESIS: Head = { id: 0, hash: "" };

export function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value) ?? "null";
  const entries = Object.entries(value).filter(([, one]) => one !== undefined);
  const sorted = entries.toSorted(([a], [b]) => (a < b ? -1 : 1));
  return `{${sorted.map(([key, one]) => `${JSON.stringify(key)}:${canonical(one)}`).join(",")}}`;
}
