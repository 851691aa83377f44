import type { MiddlewareHandler } from "hono";
import { BoundedMap } from "../bounded-map.ts";
import type { ControlEnv, RateLimiter } from "../env.ts";
import { sha256 } from "../ids.ts";
import { logFailure } from "../log.ts";
import type { AppContext, AppEnv } from "./context.ts";
import { networkOf } from "./network.ts";
import { ProblemError } from "./problems.ts";
import { credentialOf } from "./session.ts";

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

/** Refused requests that an address may have in a minute before control looks at no unknown token of its any more. */
const STRANGERS_PER_MINUTE = 60;

/**
 * Addresses from which tokens came that control does not know. Counted here and, where Cloudflare's rate limiter is bound,
 * for all isolates of its location; whoever is over is turned away before D1 is asked.
 */
export class Strangers {
  readonly #seen = new RateLimit(STRANGERS_PER_MINUTE);
  /** Until when; epoch ms. */
  readonly #turnedAway = new BoundedMap<string, number>(MAX_BUCKETS);

  /** Seconds for which an address is turned away; 0: it is not. */
  waitS(address: string, now: number): number {
    return Math.max(0, Math.ceil(((this.#turnedAway.get(address) ?? 0) - now) / 1000));
  }

  /** One more request that nobody stood behind. */
  async note(env: ControlEnv, address: string, now: number): Promise<void> {
    const { remaining } = this.#seen.take(address, now);
    const isOver = remaining === 0 || !(await isWithin(env.STRANGERS, address));
    if (isOver) this.#turnedAway.set(address, now + WINDOW_MS);
  }
}

/** Whether Cloudflare's rate limiter lets one more of a key through. One that is not bound, or fails, stops nobody. */
async function isWithin(limiter: RateLimiter | undefined, key: string): Promise<boolean> {
  try {
    return limiter === undefined || (await limiter.limit({ key })).success;
  } catch (error) {
    logFailure("rate_limit.unavailable", error);
    return true;
  }
}

/** Limits each caller to `perMinute` requests and says how many are left (draft-ietf-httpapi-ratelimit-headers-11). */
export function rateLimit(perMinute: number, strangers: Strangers): MiddlewareHandler<AppEnv> {
  const limit = new RateLimit(perMinute);
  return async (c, next) => {
    const now = c.var.now();
    const credential = credentialOf(c);
    const token = await sha256(credential ?? "");
    const address = `ip:${networkOf(c.req.header("cf-connecting-ip") ?? "local")}`;
    const isKnown = limit.knows(token);
    const caller = isKnown ? token : address;
    const taken = limit.take(caller, now);
    const headers = headersOf(perMinute, taken);
    const awayS = isKnown ? 0 : strangers.waitS(address, now);
    if (awayS > 0) throw tooMany(`no token from here was good for a while: wait ${awayS} s`, awayS, headers);
    if (!taken.allowed || (isKnown && !(await isWithin(c.env.CALLERS, token)))) {
      const detail = `more than ${perMinute} requests in a minute: wait ${taken.resetS} s`;
      throw tooMany(detail, taken.resetS, headers);
    }
    await next();
    // An upgraded socket's answer can't be changed.
    if (c.res.status === 101) return;
    for (const [name, value] of Object.entries(headers)) c.res.headers.set(name, value);
    if (isKnown) return;
    if (isRefused(c)) return strangers.note(c.env, address, now);
    // A thousand agents behind one address that come back at once are no strangers.
    limit.giveBack(address);
    if (credential !== undefined) limit.take(token, now);
  };
}

/** Nobody stands behind the request: not where a good token's reach was too short. */
const isRefused = (c: AppContext): boolean =>
  c.res.status === 401 || (c.res.status === 403 && c.get("principal") === undefined);

const headersOf = (perMinute: number, { remaining, resetS }: { remaining: number; resetS: number }) => ({
  "ratelimit-policy": `"default";q=${perMinute};w=${WINDOW_MS / 1000}`,
  ratelimit: `"default";r=${remaining};t=${resetS}`,
});

const tooMany = (detail: string, retryAfterS: number, headers: Readonly<Record<string, string>>) =>
  new ProblemError({ code: "rate_limited", detail, retryAfterS: Math.max(1, retryAfterS), headers });
