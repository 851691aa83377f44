/** Second attempts are paid from a budget, so that a dying backend is not hammered with twice its traffic. */
export interface RetryBudget {
  readonly credits: number;
  /** Epoch ms of the last refill. */
  readonly at: number;
}

const CREDIT_PER_REQUEST = 0.2;
/** A floor for quiet services, whose few requests would earn nothing. */
const CREDITS_PER_SECOND = 10;
const MOST_CREDITS = 100;

export const fullBudget = (now: number): RetryBudget => ({ credits: MOST_CREDITS, at: now });

/** Pays for one retry after `requests` more requests have earned their share; null when the budget is spent. */
export function spend(budget: RetryBudget, requests: number, now: number): RetryBudget | null {
  const seconds = Math.max(0, now - budget.at) / 1_000;
  const earned = requests * CREDIT_PER_REQUEST + seconds * CREDITS_PER_SECOND;
  const credits = Math.min(MOST_CREDITS, budget.credits + earned);
  return credits >= 1 ? { credits: credits - 1, at: now } : null;
}
