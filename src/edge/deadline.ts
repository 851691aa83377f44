/** What a wait that ran out gives instead of a value. */
export const TIMED_OUT: unique symbol = Symbol("timed out");

/** Waits for a promise, at most `ms`. The work behind it is not stopped: it ends with the request's context. */
export async function within<T>(promise: Promise<T>, ms: number): Promise<T | typeof TIMED_OUT> {
  let timer: number | null = null;
  const timeout = new Promise<typeof TIMED_OUT>((resolve) => {
    timer = setTimeout(() => resolve(TIMED_OUT), ms);
  });
  try {
    return await Promise.race([promise, timeout]);
  } finally {
    clearTimeout(timer);
  }
}
