/** What a wait that ran out gives instead of a value. */
export const TIMED_OUT: unique symbol = Symbol("timed out");
export type TimedOut = typeof TIMED_OUT;

/**
 * Waits for a promise of this very request, at most `ms`. The work behind it is not stopped: it ends with the request's
 * context. A timer per request is dear, but one shared between requests would settle promises across their contexts,
 * which workerd answers by cancelling requests as hung.
 */
export function within<T>(promise: Promise<T>, ms: number): Promise<T | TimedOut> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => resolve(TIMED_OUT), ms);
    promise.then(
      (value) => {
        clearTimeout(timer);
        resolve(value);
      },
      (error: unknown) => {
        clearTimeout(timer);
        reject(error);
      },
    );
  });
}
