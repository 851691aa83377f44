/**
 * Cloudflare's limits that the local runtime does not enforce, with where each was read (November 2026). Control's tests run
 * within them: `within-limits.ts` wraps each of control's classes, the requests that tests send, and `fetch`.
 *
 * What workerd enforces itself is not here: D1's and SQLite's own syntax and types, one alarm an object, `getAlarm()` being null in an
 * alarm, six retries of it, an RPC's 32 MiB, tags and auto-responses of hibernating sockets, the rate limiters' counts,
 * KV's expiries and metadata. What no test meets is not enforced either: 10 GB a database and an object, CPU time, 15 minutes of an alarm.
 */
export const LIMITS = {
  /** https://developers.cloudflare.com/d1/platform/limits/ */
  d1: {
    /** Bound parameters of one query. */
    parameters: 100,
    /** Queries of one Worker invocation on the Free plan (1,000 on the paid one). Whether a batch counts once or by statement is not said. */
    queriesOnFree: 50,
    /** Bytes of one statement's text. */
    statementBytes: 100_000,
    /** Bytes of a string, a BLOB or a row. */
    valueBytes: 2_000_000,
  },
  /** https://developers.cloudflare.com/durable-objects/platform/limits/, …/durable-objects/api/sqlite-storage-api/ */
  storage: {
    /** Bytes of a key and its value together. */
    entryBytes: 2_097_152,
    /** Keys of one `get`, `put` or `delete`. */
    keys: 128,
    /** Bound parameters and bytes of one SQL statement. */
    parameters: 100,
    statementBytes: 100_000,
  },
  /** https://developers.cloudflare.com/kv/platform/limits/ */
  kv: {
    keyBytes: 512,
    valueBytes: 26_214_400,
    /** Keys of one `get`: https://developers.cloudflare.com/kv/api/read-key-value-pairs/ */
    keys: 100,
    /** Between two writes of one key; a deletion is one. */
    writeEveryMs: 1_000,
  },
  /** https://developers.cloudflare.com/r2/platform/limits/ */
  r2: {
    keyBytes: 1_024,
    metadataBytes: 8_192,
    /** Keys of one `delete`: https://developers.cloudflare.com/r2/api/workers/workers-api-reference/ */
    keys: 1_000,
  },
  /** https://developers.cloudflare.com/workers/platform/limits/ */
  fetch: {
    /**
     * Connections of one invocation that wait for a response's head, KV's and R2's too; the next one queues.
     * (Simultaneous open connections; changelog of 2026-04-09.)
     */
    connections: 6,
    /** Subrequests of one invocation on the Free plan (10,000 on the paid one), each redirect that is followed too. */
    subrequestsOnFree: 50,
    /** Calls of Cloudflare's own services by one invocation on the Free plan: D1, KV, R2, objects. */
    servicesOnFree: 1_000,
    /** Characters of a URL. */
    urlChars: 16_384,
    /** Bytes of all headers together. */
    headerBytes: 131_072,
    /** Bytes of a request's body, on zones of the Free and Pro plans. */
    bodyBytes: 104_857_600,
  },
} as const;
