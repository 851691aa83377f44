import type { AuditorPort } from "./audit/auditor-port.ts";
import type { CoordinatorPort } from "./environment/coordinator-port.ts";
import type { HostLinkPort } from "./hosts/link-port.ts";
import type { MeterPart } from "./meter/meter-parts.ts";
import type { NotifierPort } from "./notify/notifier-port.ts";
import type { LogRelayPort } from "./streams/log-order.ts";

/** A namespace by what its objects do for others, so that nobody who asks one of them imports how it is done. */
type Namespace<Port> = DurableObjectNamespace<Port & Rpc.DurableObjectBranded>;

/** Cloudflare's rate limiter: counts by key, for all isolates of one of its locations. */
export interface RateLimiter {
  limit(of: { readonly key: string }): Promise<{ readonly success: boolean }>;
}

/** Control's bindings, as wrangler.toml declares them. */
export interface ControlEnv {
  readonly DB: D1Database;
  readonly TABLES: KVNamespace;
  readonly COORDINATOR: Namespace<CoordinatorPort>;
  readonly METER: Namespace<MeterPart>;
  readonly HOST_LINK: Namespace<HostLinkPort>;
  readonly LOG_RELAY: Namespace<LogRelayPort>;
  readonly NOTIFIER: Namespace<NotifierPort>;
  readonly AUDITOR: Namespace<AuditorPort>;
  /** Requests of addresses that no known token stands behind, and of known tokens. Absent: control counts by itself only. */
  readonly STRANGERS?: RateLimiter;
  readonly CALLERS?: RateLimiter;
  /** Images that were shipped without a registry. Absent: control keeps none. */
  readonly IMAGES?: R2Bucket;
  /** SHA-256 (hex) of the first admin token: how the first person gets in. A Worker secret. */
  readonly ADMIN_TOKEN_SHA256?: string;
  /**
   * Key of the app secrets and registry passwords in D1: `<key id>:<32 bytes, base64>`. After a rotation the one before is
   * kept as `SECRETS_KEY_BEFORE` until all was sealed anew. Worker secrets.
   */
  readonly SECRETS_KEY?: string;
  readonly SECRETS_KEY_BEFORE?: string;
  /** With these control makes tunnels, DNS records and routes. Without: hosts are reached by plain URLs. */
  readonly CLOUDFLARE_API_TOKEN?: string;
  readonly CLOUDFLARE_ACCOUNT_ID?: string;
  /** Where control answers, as setup wrote it: a name that no app may ever have. */
  readonly CONTROL_HOSTNAME?: string;
  /** Zone of the slots' hostnames, by name and id. */
  readonly SLOT_ZONE?: string;
  readonly SLOT_ZONE_ID?: string;
  /** Name of the edge's Worker: where routes lead. */
  readonly EDGE_WORKER?: string;
  /** Another address of Cloudflare's API, for tests. */
  readonly CLOUDFLARE_API_URL?: string;
  /** From it each slot's proof is made by which the edge passes the shield from another zone. A Worker secret of both Workers. */
  readonly SHIELD_KEY?: string;
  /** Access service token, when slots are behind Access: control asks instances the way the edge does. */
  readonly ACCESS_CLIENT_ID?: string;
  readonly ACCESS_CLIENT_SECRET?: string;
  /** Local stack only: the way into each slot of this machine, by its origin, as the edge has it. */
  readonly [slot: `http://${string}`]: Fetcher | undefined;
  /** Local stack only, `allowed`: messages may go to this machine, also by http. */
  readonly NOTIFY_LOOPBACK?: string;
  /** Another DNS-over-HTTPS resolver, for tests. */
  readonly NOTIFY_RESOLVER?: string;
  /** Where D1 and all objects are to be: a name of `REGIONS`. Unset: an object is made near its first caller. */
  readonly REGION?: string;
  /** Another address of Slack's API, for tests. */
  readonly SLACK_API_URL?: string;
  /** Shown by /health. */
  readonly VERSION?: string;
}
