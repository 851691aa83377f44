const [S, MIN, H] = [1_000, 60_000, 3_600_000];
/** When a message is tried again after its n-th try, as the Standard Webhooks specification proposes; then it is given up. */
export const RETRIES_MS: readonly number[] = [
  5 * S,
  5 * MIN,
  30 * MIN,
  2 * H,
  5 * H,
  10 * H,
  14 * H,
  20 * H,
  24 * H,
];
/** Targets that were all gone at once don't all come back at once. */
const JITTER = 0.2;
const LONGEST_WISH_MS = 24 * H;
/** So long a message is worth telling, whatever its target asks for: longer than the whole schedule takes. */
const PATIENCE_MS = 96 * H;

/** Whether a message is too old to be sent. `since`: when it was queued. */
export const isStale = (since: number, now: number): boolean => now - since > PATIENCE_MS;

/**
 * When to try again after `attempts` tries; null: no more. `random`: 0 to 1. `retryAfterMs`: what the target asked for, which
 * counts where it is later.
 */
export function retryAt(
  attempts: number,
  at: { readonly now: number; readonly random: number; readonly retryAfterMs: number | null },
): number | null {
  const gap = RETRIES_MS[attempts - 1];
  if (gap === undefined) return null;
  const jittered = gap * (1 + JITTER * at.random);
  return Math.round(at.now + Math.max(jittered, Math.min(at.retryAfterMs ?? 0, LONGEST_WISH_MS)));
}
