import type { LastRest } from "../../domain/rollout/facts.ts";
import { compileTable, type Routable, sameRouting } from "../../domain/rollout/table/compile-table.ts";
import { lastRest, longestDrain } from "../../domain/rollout/table/rest.ts";
import type { RoutingTable } from "../../domain/routing/table.ts";
import type { ControlEnv } from "../env.ts";
import { logWarning } from "../log.ts";

/** KV key of a hostname's copy, which a cold edge isolate takes when control is gone. */
export const tableKey = (hostname: string): string => `table:${hostname}`;

/** A partial weight is renewed when less than this is left of its lease. */
const RENEW_BEFORE_MS = 40_000;
/** KV takes one write a second of a key: https://developers.cloudflare.com/kv/platform/limits/ */
const COPY_EVERY_MS = 1_000;
const RETRY_MS = 20_000;

interface Parts {
  readonly storage: DurableObjectStorage;
  readonly env: () => Pick<ControlEnv, "TABLES" | "SLOT_ZONE">;
  /** Those of these hostnames that another environment has by now. */
  readonly ofOthers: (hostnames: readonly string[]) => Promise<ReadonlySet<string>>;
  /** Called between a new table and its copies. */
  readonly published: () => void | Promise<void>;
  /** So many copies were written to KV. */
  readonly copied: (copies: number) => void;
}

/** Holds an environment's routing table, for edges to ask for, and keeps its copies in KV. */
export class Publisher {
  readonly #parts: Parts;
  /** When copies were written last, by this object as it is: another one may meet KV's own refusal, and tries again. */
  #writtenAt = Number.NEGATIVE_INFINITY;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  table(): Promise<RoutingTable | undefined> {
    return this.#parts.storage.get<RoutingTable>("table");
  }

  /** The tables at rest that quiet edges may still hold. */
  async lastRest(): Promise<LastRest | null> {
    return (await this.#parts.storage.get<LastRest | null>("lastRest")) ?? null;
  }

  /**
   * Makes the published table what the facts ask for; its version only rises. `copyAt`: KV could not be written, or not yet,
   * which delays nothing, since the copies are the fallback of cold edges: say it again then. Null: it was.
   */
  async publish(environment: Routable, now: number): Promise<{ table: RoutingTable; copyAt: number | null }> {
    const { storage, env, published } = this.#parts;
    const old = await this.table();
    const table = compileTable(environment, { version: (old?.version ?? 0) + 1, now }, env().SLOT_ZONE);
    const renew = old?.partialUntil != null && old.partialUntil - now < RENEW_BEFORE_MS;
    const current = old !== undefined && sameRouting(old, table) && !renew ? old : table;
    if (current !== old) {
      const moment = { now, drainMs: longestDrain(environment.facts) };
      await storage.put({ table: current, lastRest: lastRest(old, table, await this.lastRest(), moment) });
      await published();
    }
    const isCopied = (await storage.get<number>("copied")) === current.version;
    return { table: current, copyAt: isCopied ? null : await this.#copyOnce(current, now) };
  }

  /** The environment is gone: no edge is to find a copy. When to say it again, as above; null: none is there. */
  async withdraw(now: number): Promise<number | null> {
    const table = await this.table();
    if (!table) return null;
    const copyAt = await this.#copyOnce({ ...table, hostnames: [] }, now);
    if (copyAt === null) await this.#parts.storage.delete(["table", "copied", "copies"]);
    return copyAt;
  }

  async #copyOnce(table: RoutingTable, now: number): Promise<number | null> {
    const from = this.#writtenAt + COPY_EVERY_MS;
    if (now >= this.#writtenAt && now < from) return from;
    this.#writtenAt = now;
    return (await this.#copy(table)) ? null : now + RETRY_MS;
  }

  /** Writes the copies, and deletes those of hostnames that lead nowhere any more. */
  async #copy(table: RoutingTable): Promise<boolean> {
    const { storage, env, ofOthers, copied } = this.#parts;
    const before = (await storage.get<string[]>("copies")) ?? [];
    const left = before.filter((hostname) => !table.hostnames.includes(hostname));
    // Whatever dies in between: each name that may have a copy is known.
    await storage.put("copies", [...left, ...table.hostnames]);
    try {
      const text = JSON.stringify(table);
      await Promise.all(table.hostnames.map((hostname) => env().TABLES.put(tableKey(hostname), text)));
      copied(table.hostnames.length);
      // A hostname that moved has its new owner's copy by now, or soon.
      const others = await ofOthers(left);
      const gone = left.filter((hostname) => !others.has(hostname));
      await Promise.all(gone.map((hostname) => env().TABLES.delete(tableKey(hostname))));
      await storage.put("copies", [...table.hostnames]);
      await storage.put("copied", table.version);
      return true;
    } catch (error) {
      logWarning("table.copy_failed", { environment: table.environment, error: String(error) });
      return false;
    }
  }
}
