import { fullBudget, type RetryBudget, spend } from "../../domain/routing/retry-budget.ts";
import type { Visit } from "../visit.ts";

/** Of one environment in this isolate. Requests since the last spending earn their share when it is next asked. */
interface Held {
  budget: RetryBudget;
  requests: number;
}

/** What may be sent besides the visitors' own requests, by environment. */
export class Budgets {
  readonly #held = new Map<string, Held>();

  /** One more request has come. */
  earn(visit: Visit): void {
    this.#of(visit).requests += 1;
  }

  /** False: the budget is spent. */
  pay(visit: Visit): boolean {
    const held = this.#of(visit);
    const rest = spend(held.budget, held.requests, Date.now());
    if (rest === null) return false;
    held.budget = rest;
    held.requests = 0;
    return true;
  }

  #of({ route, arrivedAt }: Visit): Held {
    const { environment } = route.table;
    let held = this.#held.get(environment);
    if (held === undefined) {
      held = { budget: fullBudget(arrivedAt), requests: 0 };
      this.#held.set(environment, held);
    }
    return held;
  }
}
