import type { Route, RouteInstance } from "../domain/routing/choose.ts";
import type { Env } from "./env.ts";
import { type Tried, triedOf } from "./forward.ts";
import type { Visit } from "./visit.ts";

const LOOK_EVERY_MS = 1_000;
/** The runtime ends what runs behind a request after 30 s; the next request goes on with the watch. */
const MOST_LOOKS = 25;

/** Where tables come from. */
interface TableSource {
  fresh(hostname: string, target: string, now: number): Route | null;
  find(hostname: string, target: string, env: Env, ctx: ExecutionContext): Promise<unknown>;
}

interface Waiter {
  readonly visit: Visit;
  readonly instance: RouteInstance;
  /** Whether it goes elsewhere by this table. */
  readonly mayLeave: (route: Route) => boolean;
  readonly resolve: (tried: Tried) => void;
}

/**
 * Requests without an answer yet, which may be called back: when a table arrives that calls their instance unready, those that
 * can be sent elsewhere are, and do not sit out a frozen app. The table may be brought by any request: a promise settled
 * from another one's context reaches its own, since that still waits for the instance. A timer in each would cost a tenth.
 */
export class Waiting {
  readonly #waiters = new Set<Waiter>();
  /** Epoch ms. Past it a watch counts as lost with the request that kept it. */
  #watchedUntil = 0;

  /** What became of `asked`; or that it was called back, once `mayLeave` has agreed to a table. */
  orRecalled(
    visit: Visit,
    { instance, asked }: { readonly instance: RouteInstance; readonly asked: Promise<Tried> },
    mayLeave: (route: Route) => boolean,
  ): Promise<Tried> {
    return new Promise((resolve, reject) => {
      const waiter: Waiter = { visit, instance, mayLeave, resolve };
      this.#waiters.add(waiter);
      asked.then(
        (tried) => {
          // Nobody reads the answer that came after all.
          if (!this.#waiters.delete(waiter)) tried.response?.body?.cancel().catch(() => {});
          resolve(tried);
        },
        (error: unknown) => {
          this.#waiters.delete(waiter);
          reject(error);
        },
      );
    });
  }

  /** Calls back whom a new table tells that their instance is unready. */
  recall(route: Route): void {
    if (this.#waiters.size === 0) return;
    const unready = new Set<string>();
    for (const { instances } of route.releases)
      for (const { id, ready } of instances) if (!ready) unready.add(id);
    if (unready.size === 0) return;
    for (const waiter of this.#waiters) {
      const { instance, visit, mayLeave, resolve } = waiter;
      if (!unready.has(instance.id) || !mayLeave(route)) continue;
      this.#waiters.delete(waiter);
      resolve(triedOf(instance, { kind: "recalled" }, null, visit.arrivedAt));
    }
  }

  /** Looks for newer tables while requests wait and no others come that would: one watch at a time, behind a request. */
  watch({ arrivedAt, ctx }: Visit, tables: TableSource): void {
    if (this.#watchedUntil > arrivedAt) return;
    this.#watchedUntil = arrivedAt + LOOK_EVERY_MS * MOST_LOOKS;
    ctx.waitUntil(this.#look(tables, ctx));
  }

  async #look(tables: TableSource, ctx: ExecutionContext): Promise<void> {
    for (let looks = 0; looks < MOST_LOOKS; looks += 1) {
      await scheduler.wait(LOOK_EVERY_MS);
      if (this.#waiters.size === 0) break;
      const now = Date.now();
      const stale = new Map<string, Visit>();
      for (const { visit } of this.#waiters) {
        const isLong = now - visit.arrivedAt >= LOOK_EVERY_MS;
        const { hostname, url, route } = visit;
        // One hostname's table calls back the whole environment's.
        if (isLong && tables.fresh(hostname, url.target, now) === null)
          stale.set(route.table.environment, visit);
      }
      const found = ({ hostname, url, env }: Visit) => tables.find(hostname, url.target, env, ctx);
      await Promise.all([...stale.values()].map(found));
    }
    this.#watchedUntil = 0;
  }
}
