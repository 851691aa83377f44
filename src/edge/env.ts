import type { EdgePortRpc } from "../domain/routing/meter.ts";

/** What `[env.edge]` of wrangler.toml binds. */
export interface Env {
  /** Control's `EdgePort`. */
  readonly CONTROL: EdgePortRpc;
  /** Copies of published tables, for isolates that start while control is gone. */
  readonly TABLES: KVNamespace;
  /**
   * Local stack only: the way into each slot of this machine, by its origin. `fetch` alone would send the origin's address as
   * `Host`; behind tunnels cloudflared sends the public one instead.
   */
  readonly [slot: `http://${string}`]: Fetcher | undefined;
  /** Kept copies of built assets that all colos share; without it each colo's cache has its own. */
  readonly ASSETS?: R2Bucket;
  readonly ANALYTICS?: AnalyticsEngineDataset;
  /** Cloudflare Access service token that opens the tunnel hostnames, when they are behind Access. */
  readonly ACCESS_CLIENT_ID?: string;
  readonly ACCESS_CLIENT_SECRET?: string;
  /** Zone of the slots' hostnames; unset: hosts are reached by plain URLs, and nothing is shielded. */
  readonly SLOT_ZONE?: string;
  /** From it the proofs are made by which the edge passes the shield from another zone. Control has the same. */
  readonly SHIELD_KEY?: string;
}
