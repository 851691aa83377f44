import { WorkerEntrypoint } from "cloudflare:workers";
import type { EdgePortRpc, MeterBatch } from "../../domain/routing/meter.ts";
import type { TableAnswer } from "../../domain/routing/table.ts";
import type { ControlEnv } from "../env.ts";
import { partOf } from "../meter/meter-parts.ts";
import { objectIn } from "../objects.ts";
import { openDb } from "../store/db.ts";
import { hostnamesBelow, type Resolution, resolveHostname } from "../store/status.ts";
import { HostnameCache } from "./hostname-cache.ts";

/** One per isolate: all requests share what it learned. */
const known = new HostnameCache();

/** What the edge's service binding reaches: the routing table of a hostname, and the counts on their way back. */
export class EdgePort extends WorkerEntrypoint<ControlEnv> implements EdgePortRpc {
  /** A hostname that no environment owns ends in D1 or the cache: it never creates a coordinator. */
  async table(hostname: string, held: number | null): Promise<TableAnswer> {
    const cached = known.get(hostname, Date.now());
    const first = cached ?? (await this.#lookUp(hostname));
    const answer = await this.#ask(first, held);
    if (answer.kind !== "unknown" || first.owner === null || cached === undefined) return answer;
    // The hostname left this environment while the cache said otherwise.
    const now = await this.#lookUp(hostname);
    return now.owner?.environment === first.owner.environment ? answer : this.#ask(now, held);
  }

  async meter(batch: MeterBatch): Promise<void> {
    const part = partOf(batch.environment, batch.colo);
    await objectIn(this.env.METER, part, this.env).absorb(batch);
  }

  async #lookUp(hostname: string): Promise<Resolution> {
    const resolution = await resolveHostname(openDb(this.env.DB), hostname);
    known.set(hostname, resolution, Date.now());
    return resolution;
  }

  /**
   * A hostname's table goes with the paths of it that have their own, a wildcard's with the names below it that aren't its
   * own. One that has paths is held by its own name, whoever has the rest.
   */
  async #ask({ owner, paths }: Resolution, held: number | null): Promise<TableAnswer> {
    if (owner === null) return paths.length > 0 ? { kind: "unknown", paths } : { kind: "unknown" };
    const { environment, name } = owner;
    const answer = await objectIn(this.env.COORDINATOR, environment, this.env).table(name, held);
    if (paths.length > 0 && answer.kind !== "unchanged") return { ...answer, paths };
    if (answer.kind !== "table" || !name.startsWith("*.")) return answer;
    const read = () => hostnamesBelow(openDb(this.env.DB), name);
    return { ...answer, except: await known.below(name, Date.now(), read) };
  }
}
