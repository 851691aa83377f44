/**
 * Hands on what work comes to, every so often and once more at its end: what is done need not wait for what takes long. One round
 * after another, in order; one without news is handed nothing to do.
 */
export async function inRounds<T>(
  everyMs: number,
  hand: (news: readonly T[]) => Promise<void>,
  work: (tell: (one: T) => void) => Promise<unknown>,
): Promise<void> {
  const news: T[] = [];
  let handing = Promise.resolve();
  const flush = () => {
    handing = handing.then(() => (news.length > 0 ? hand(news.splice(0)) : undefined));
    return handing;
  };
  // What fails then fails the last one too.
  const timer = setInterval(() => void flush().catch(() => {}), everyMs);
  try {
    await work((one) => void news.push(one));
  } finally {
    clearInterval(timer);
  }
  await flush();
}
