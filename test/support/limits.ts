/**
 * Cloudflare's limits that the local runtime does not enforce, with where each was read (November 2026). What wraps a binding for
 * tests (`within-limits.ts`) enforces them.
 */
export const LIMITS = {
  d1: {
    /** Bound parameters of one query. https://developers.cloudflare.com/d1/platform/limits/ */
    parameters: 100,
    /** Queries of one Worker invocation on the Free plan (1,000 on the paid one). Whether a batch counts once or by statement is not said. Same page. */
    queriesOnFree: 50,
    /** Bytes of one statement's text. Same page. */
    statementBytes: 100_000,
  },
  fetch: {
    /**
     * Connections of one invocation that wait for a response's head; the next one queues.
     * https://developers.cloudflare.com/workers/platform/limits/ (simultaneous open connections), changelog of 2026-04-09
     */
    connections: 6,
  },
} as const;
