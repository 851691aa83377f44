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

interface Parts {
  readonly storage: DurableObjectStorage;
  readonly env: () => Pick<ControlEnv, "TABLES" | "SLOT_ZONE">;
  /** Whether another environment has this hostname by now. */
  readonly isOthers: (hostname: string) => Promise<boolean>;
  /** Called between a new table and its copies. */
  readonly published: () => void | Promise<void>;
  /** So many copies were written to KV. */
  readonly copied: (copies: number) => void;
}

/** Holds an environment's routing table, for edges to ask for, and keeps its copies in KV. */
export class Publisher {
  readonly #parts: Parts;

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
   * Makes the published table what the facts ask for; its version only rises. `isCopied` false: KV could not be written,
   * which delays nothing, since the copies are the fallback of cold edges: say it again a little later.
   */
  async publish(environment: Routable, now: number): Promise<{ table: RoutingTable; isCopied: boolean }> {
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
    const isCopied = (await storage.get<number>("copied")) === current.version || (await this.#copy(current));
    return { table: current, isCopied };
  }

  /** The environment is gone: no edge is to find a copy. False: KV could not be written. */
  async withdraw(): Promise<boolean> {
    const table = await this.table();
    if (!table) return true;
    if (!(await this.#copy({ ...table, hostnames: [] }))) return false;
    await this.#parts.storage.delete(["table", "copied", "copies"]);
    return true;
  }

  /** Writes the copies, and deletes those of hostnames that lead nowhere any more. */
  async #copy(table: RoutingTable): Promise<boolean> {
    const { storage, env, isOthers, copied } = this.#parts;
    const before = (await storage.get<string[]>("copies")) ?? [];
    const left = before.filter((hostname) => !table.hostnames.includes(hostname));
    // Whatever dies in between: each name that may have a copy is known.
    await storage.put("copies", [...left, ...table.hostnames]);
    try {
      const text = JSON.stringify(table);
      await Promise.all(table.hostnames.map((hostname) => env().TABLES.put(tableKey(hostname), text)));
      copied(table.hostnames.length);
      // A hostname that moved has its new owner's copy by now, or soon.
      for (const hostname of left)
        if (!(await isOthers(hostname))) await env().TABLES.delete(tableKey(hostname));
      await storage.put("copies", [...table.hostnames]);
      await storage.put("copied", table.version);
      return true;
    } catch (error) {
      logWarning("table.copy_failed", { environment: table.environment, error: String(error) });
      return false;
    }
  }
}
