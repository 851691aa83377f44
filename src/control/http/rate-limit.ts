import type { MiddlewareHandler } from "hono";
import { BoundedMap } from "../bounded-map.ts";
import { sha256 } from "../ids.ts";
import type { AppEnv } from "./context.ts";
import { ProblemError } from "./problems.ts";

/** Buckets an isolate remembers; the one not used for longest goes first. */
const MAX_BUCKETS = 10_000;
const WINDOW_MS = 60_000;

interface Bucket {
  tokens: number;
  filledAt: number;
}

/**
 * A token bucket per caller, in this isolate only: it keeps one runaway script from starving the rest, and is no defence
 * against a flood from everywhere. A token that was never accepted shares one bucket with all others of its address,
 * so that made-up tokens buy nothing.
 */
class RateLimit {
  readonly #buckets = new BoundedMap<string, Bucket>(MAX_BUCKETS);
  readonly #perMinute: number;

  constructor(perMinute: number) {
    this.#perMinute = perMinute;
  }

  knows(caller: string): boolean {
    return this.#buckets.has(caller);
  }

  /** Takes one request from the caller's bucket. `resetS`: seconds until at least one more is there. */
  take(caller: string, now: number): { allowed: boolean; remaining: number; resetS: number } {
    const bucket = this.#buckets.get(caller) ?? { tokens: this.#perMinute, filledAt: now };
    const refill = (Math.max(0, now - bucket.filledAt) * this.#perMinute) / WINDOW_MS;
    const tokens = Math.min(this.#perMinute, bucket.tokens + refill);
    const allowed = tokens >= 1;
    this.#buckets.set(caller, { tokens: allowed ? tokens - 1 : tokens, filledAt: now });
    const missing = Math.max(0, 1 - (tokens - 1));
    return {
      allowed,
      remaining: Math.max(0, Math.floor(tokens - 1)),
      resetS: Math.ceil((missing * WINDOW_MS) / this.#perMinute / 1000),
    };
  }

  /** Takes a request back: it turned out not to be one of those that the bucket is for. */
  giveBack(caller: string): void {
    const bucket = this.#buckets.get(caller);
    if (bucket) bucket.tokens = Math.min(this.#perMinute, bucket.tokens + 1);
  }
}

/** Limits each caller to `perMinute` requests and says how many are left (draft-ietf-httpapi-ratelimit-headers-11). */
export function rateLimit(perMinute: number): MiddlewareHandler<AppEnv> {
  const limit = new RateLimit(perMinute);
  return async (c, next) => {
    const token = await sha256(c.req.header("authorization") ?? "");
    const address = `ip:${c.req.header("cf-connecting-ip") ?? "local"}`;
    const isKnown = limit.knows(token);
    const { allowed, remaining, resetS } = limit.take(isKnown ? token : address, c.var.now());
    const headers = {
      "ratelimit-policy": `"default";q=${perMinute};w=${WINDOW_MS / 1000}`,
      ratelimit: `"default";r=${remaining};t=${resetS}`,
    };
    if (!allowed) {
      const detail = `more than ${perMinute} requests in a minute: wait ${resetS} s`;
      throw new ProblemError({ code: "rate_limited", detail, retryAfterS: resetS, headers });
    }
    await next();
    // An upgraded socket's answer can't be changed.
    if (c.res.status === 101) return;
    for (const [name, value] of Object.entries(headers)) c.res.headers.set(name, value);
    if (isKnown || c.res.status === 401 || c.res.status === 403) return;
    // A thousand agents behind one address that come back at once are no strangers.
    limit.giveBack(address);
    if (c.req.header("authorization") !== undefined) limit.take(token, c.var.now());
  };
}
