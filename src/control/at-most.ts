/** What a Worker's invocation has on the way at once; more would wait in the runtime, with their timeouts running. */
export const AT_ONCE = 6;

/** Does each item's work, so many at a time; answers in the items' order. Each begins when its turn comes, and not before. */
export async function atMost<T, R>(
  most: number,
  items: readonly T[],
  work: (item: T) => Promise<R>,
): Promise<R[]> {
  const results = new Array<R>(items.length);
  const waiting = items.entries();
  const worker = async () => {
    for (const [index, item] of waiting) results[index] = await work(item);
  };
  await Promise.all(Array.from({ length: Math.min(most, items.length) }, worker));
  return results;
}
