import { WorkerEntrypoint } from "cloudflare:workers";
import type { EdgePortRpc, MeterBatch } from "../../domain/routing/meter.ts";
import type { TableAnswer } from "../../domain/routing/table.ts";
import type { ControlEnv } from "../env.ts";
import { partOf } from "../meter/parts.ts";
import { objectIn } from "../objects.ts";
import { openDb } from "../store/db.ts";
import { hostnamesBelow, resolveHostname } from "../store/status.ts";
import { HostnameCache, type Owner } from "./hostname-cache.ts";

/** One per isolate: all requests share what it learned. */
const known = new HostnameCache();

/** What the edge's service binding reaches: the routing table of a hostname, and the counts on their way back. */
export class EdgePort extends WorkerEntrypoint<ControlEnv> implements EdgePortRpc {
  /** A hostname that no environment owns ends in D1 or the cache: it never creates a coordinator. */
  async table(hostname: string, held: number | null): Promise<TableAnswer> {
    const cached = known.get(hostname, Date.now());
    const first = cached === undefined ? await this.#lookUp(hostname) : cached;
    if (first === null) return { kind: "unknown" };
    const answer = await this.#ask(first, held);
    if (answer.kind !== "unknown" || cached === undefined) return answer;
    // The hostname left this environment while the cache said otherwise.
    const owner = await this.#lookUp(hostname);
    return owner === null || owner.environment === first.environment ? answer : this.#ask(owner, held);
  }

  async meter(batch: MeterBatch): Promise<void> {
    const part = partOf(batch.environment, batch.colo);
    await objectIn(this.env.METER, part, this.env).absorb(batch);
  }

  async #lookUp(hostname: string): Promise<Owner | null> {
    const owner = (await resolveHostname(openDb(this.env.DB), hostname)) ?? null;
    known.set(hostname, owner, Date.now());
    return owner;
  }

  /** A wildcard's table goes with the names below it that aren't its own. */
  async #ask({ environment, name }: Owner, held: number | null): Promise<TableAnswer> {
    const answer = await objectIn(this.env.COORDINATOR, environment, this.env).table(name, held);
    if (answer.kind !== "table" || !name.startsWith("*.")) return answer;
    const read = () => hostnamesBelow(openDb(this.env.DB), name);
    return { ...answer, except: await known.below(name, Date.now(), read) };
  }
}
