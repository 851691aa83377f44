import { WorkerEntrypoint } from "cloudflare:workers";
import type { EdgePortRpc, MeterBatch } from "../../domain/routing/meter.ts";
import type { TableAnswer } from "../../domain/routing/table.ts";
import type { ControlEnv } from "../env.ts";
import { partOf } from "../meter/parts.ts";
import { openDb } from "../store/db.ts";
import { findHostname } from "../store/status.ts";
import { HostnameCache } from "./hostname-cache.ts";

/** One per isolate: all requests share what it learned. */
const known = new HostnameCache();

/** What the edge's service binding reaches: the routing table of a hostname, and the counts on their way back. */
export class EdgePort extends WorkerEntrypoint<ControlEnv> implements EdgePortRpc {
  /** A hostname that no environment owns ends in D1 or the cache: it never creates a coordinator. */
  async table(hostname: string, held: number | null): Promise<TableAnswer> {
    const cached = known.get(hostname, Date.now());
    const environment = cached === undefined ? await this.#lookUp(hostname) : cached;
    if (environment === null) return { kind: "unknown" };
    const answer = await this.#ask(environment, hostname, held);
    if (answer.kind !== "unknown" || cached === undefined) return answer;
    // The hostname left this environment while the cache said otherwise.
    const owner = await this.#lookUp(hostname);
    return owner === null || owner === environment ? answer : this.#ask(owner, hostname, held);
  }

  async meter(batch: MeterBatch): Promise<void> {
    const part = partOf(batch.environment, batch.colo);
    await this.env.METER.getByName(part).absorb(batch);
  }

  async #lookUp(hostname: string): Promise<string | null> {
    const environment = (await findHostname(openDb(this.env.DB), hostname)) ?? null;
    known.set(hostname, environment, Date.now());
    return environment;
  }

  #ask(environment: string, hostname: string, held: number | null): Promise<TableAnswer> {
    return this.env.COORDINATOR.getByName(environment).table(hostname, held);
  }
}
