/** Something the shop needs does not answer. Visitors are asked to come back instead of being told of a bug. */
export class UnavailableError extends Error {
  override readonly name = "UnavailableError";
}

/** The promise's value, or an error that names what took longer than `ms`. */
export async function within<T>(ms: number, what: string, promise: Promise<T>): Promise<T> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new UnavailableError(`${what} gave no answer within ${ms} ms`)), ms);
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
