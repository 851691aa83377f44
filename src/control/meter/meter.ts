import { DurableObject } from "cloudflare:workers";
import type { Traffic } from "../../domain/canary/forecast.ts";
import { type Price, priceOf } from "../../domain/rollout/analysis/price.ts";
import type { MeterBatch } from "../../domain/routing/meter.ts";
import type { EnvironmentSpec } from "../../domain/spec.ts";
import type { ControlEnv } from "../env.ts";
import { logFailure } from "../log.ts";
import { objectIn } from "../objects.ts";
import { openDb } from "../store/db.ts";
import { addUsed } from "../store/figures/days-of-use.ts";
import { Use } from "../use.ts";
import type { Counted } from "./counted.ts";
import { Counts, type StoredTotals } from "./counts.ts";
import type { MeterPart } from "./meter-parts.ts";
import type { RecentCounts } from "./recent.ts";

/** Batches of judged releases that come within this time are stored together: a row for all, not one for each. */
const GATHER_MS = 100;
/** All that come within this time have the judge look once. */
const URGENT_EVERY_MS = 1_000;

/**
 * Counts what a part of the edge's data centres saw of one environment. Apart from the coordinator, so that no routing
 * table, no release and no rollback ever waits behind counts.
 */
export class Meter extends DurableObject<ControlEnv> implements MeterPart {
  readonly #counts: Counts;
  readonly #use: Use;
  #storing: Promise<void> | undefined;
  #toldAt = 0;
  /** Own properties are out of reach of RPC. Tests set these. */
  clock: () => number = Date.now;
  gatherMs = GATHER_MS;

  constructor(state: DurableObjectState, env: ControlEnv) {
    super(state, env);
    this.#use = new Use({ tell: (used, now) => addUsed(openDb(this.env.DB), used, now) });
    this.#counts = new Counts(state.storage.sql, (kind, count) => this.#use.add(kind, count));
  }

  async absorb(batch: MeterBatch): Promise<void> {
    this.#use.call(this.clock());
    const waits = this.#counts.absorb(batch, this.clock());
    if (batch.urgent) this.#hurry(batch.environment);
    if (!waits) return;
    this.#storing ??= this.#store();
    await this.#storing;
  }

  /** Told or not, whoever judges looks again by its own alarm. */
  #hurry(environment: string): void {
    const now = this.clock();
    if (now - this.#toldAt < URGENT_EVERY_MS) return;
    this.#toldAt = now;
    const told = objectIn(this.env.COORDINATOR, environment, this.env).judgeNow();
    this.ctx.waitUntil(told.catch((error: unknown) => logFailure("meter.urgent", error, { environment })));
  }

  async #store(): Promise<void> {
    await scheduler.wait(this.gatherMs);
    this.#storing = undefined;
    this.#counts.store(this.clock());
  }

  async totals(now: number): Promise<StoredTotals> {
    this.#use.call(now);
    return this.#counts.totals(now);
  }

  /** Here, for it takes some milliseconds of computing, and a Worker on the Free plan has ten. */
  async price(spec: EnvironmentSpec, traffic: Traffic, from: number): Promise<Price> {
    return priceOf(spec, traffic, from);
  }

  async recent(now: number): Promise<RecentCounts[]> {
    this.#use.call(now);
    return this.#counts.recent(now);
  }

  async read(from: number, to: number, releases?: readonly string[]): Promise<Counted[]> {
    this.#use.call(this.clock());
    return this.#counts.read(from, to, releases);
  }
}
