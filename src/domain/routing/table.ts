/**
 * The routing table: the only thing the edge reads, and all it needs to carry an environment's traffic on its own.
 * Control compiles and publishes it, the edge chooses by it; both sides share this file and nothing else.
 * `version` only rises: whoever holds a newer table never goes back to an older one.
 */
export const TABLE_SCHEMA = 1;
/** Weights are basis points: 10,000 is all traffic. */
export const FULL_WEIGHT = 10_000;
/**
 * While something moves, a published change is in force in every edge isolate this long after; at rest, in each that has
 * traffic: what a drain waits before it stops anything.
 */
export const STALENESS_BOUND_MS = 3_000;
/** How long a table serves without control's word while something moves. Tables of an older control mean it, too. */
export const MOVING_STALE_MS = 2_000;

/** What a visitor is known by, and what they keep to. `to` absent: the release. */
export type Affinity =
  | { readonly kind: "cookie"; readonly to?: "instance" }
  | { readonly kind: "header"; readonly name: string; readonly to?: "instance" }
  | { readonly kind: "ip"; readonly to?: "instance" }
  | { readonly kind: "none" };

export interface TableInstance {
  readonly id: string;
  /** Scheme, host and port only, e.g. `https://sl-k3x9.example.com`: no path, no trailing slash. */
  readonly origin: string;
  readonly ready: boolean;
}

export interface TableRelease {
  readonly id: string;
  /** Human label, e.g. `v42`. */
  readonly version: string;
  /** Share of eligible visitors in basis points. 0: reachable by preview only. */
  readonly weightBp: number;
  readonly instances: readonly TableInstance[];
  /** What its own pages may call it by in `X-Deployment-Id` or `?dpl=`: those requests are its own while it is there. */
  readonly deployments?: readonly string[];
}

/** Who is eligible for releases other than stable. All given conditions must hold; the weights split those who match. */
export interface MatchRule {
  readonly header?: { readonly name: string; readonly value: string };
  readonly cookie?: { readonly name: string; readonly value: string };
  /** ISO 3166-1 alpha-2, upper case. */
  readonly countries?: readonly string[];
  readonly pathPrefix?: string;
}

/** `paused` holds new requests until `until` (epoch ms, at most 30 s away), then 503; `maintenance` answers 503 at once. */
export type TrafficMode =
  | { readonly kind: "open" }
  | { readonly kind: "paused"; readonly until: number }
  | { readonly kind: "maintenance"; readonly retryAfterS: number; readonly message: string | null };

/**
 * When answers carry `X-Sluice-Release`, `X-Request-Id` and `Server-Timing`. `rollout`: while traffic is split, and when a request
 * asks for them or is a preview; at rest an answer goes out as it came, which is cheaper.
 */
export type Marks = "rollout" | "always" | "never";

/**
 * What is asked of another instance when one failed it. `gateway`: what got no answer, or a gateway's error (502 to 504, 52x).
 * `errors`: besides, while traffic is split, a GET or HEAD that a release other than stable answers with any 5xx is asked of stable.
 */
export type Rescue = "off" | "gateway" | "errors";

/** Built assets that pages of other releases may still ask for. */
export interface SkewRule {
  /** Patterns of paths that are assets beside those that look like it. */
  readonly also: readonly string[];
  /** Releases that visitors had pages of and that are there, the newest first. */
  readonly from: readonly string[];
}

export interface RoutingTable {
  readonly schema: typeof TABLE_SCHEMA;
  /** Environment id. */
  readonly environment: string;
  readonly app: string;
  readonly environmentName: string;
  readonly version: number;
  /** Epoch ms. */
  readonly publishedAt: number;
  /** Sites: names in lower case, no port, no trailing dot, perhaps with the beginning of a path. */
  readonly hostnames: readonly string[];
  /** The app doesn't see the path of the hostname that it is reached by; `X-Forwarded-Prefix` says it. */
  readonly stripPrefix?: true;
  /** What the app gets as its own name in `Host`. Absent, as `appPort`, in tables from before it got one. */
  readonly publicHost?: string;
  /** The port the app listens on inside its container, which it may take for its public one. */
  readonly appPort?: number;
  /** The rollout's id: changes with each rollout, so that the unlucky first 1 % differ each time. */
  readonly salt: string;
  readonly affinity: Affinity;
  /**
   * Newest first, stable last. Weights sum to 10,000, or are all 0 before the first release is live.
   * Buckets are dealt in this order from 0 up, so raising a release's weight never moves a visitor of it elsewhere.
   */
  readonly releases: readonly TableRelease[];
  /** Where rescue, expired partial weights and the ineligible go. Null before the first release is live. */
  readonly stable: string | null;
  /** The release at 0 % that traffic would go back to, warm and able to carry it: asked where nobody with weight answers. Absent: nobody. */
  readonly heir?: string;
  /** Dead-man rule, epoch ms: past it, every release but stable counts as weight 0. Null when nothing is partial. */
  readonly partialUntil: number | null;
  readonly match: readonly MatchRule[] | null;
  /** For so long after control's last word no request waits for a newer one. Absent: MOVING_STALE_MS. */
  readonly staleMs?: number;
  /** A release is being judged: counts come each second, not every ten. Absent, from an older control: it is. */
  readonly judged?: boolean;
  /** What is live is taken back where it fails: an edge that sees many errors sends its counts at once. Absent: nobody waits for them. */
  readonly watched?: true;
  /** A sampled share of GET/HEAD copied to `release`, answers dropped; with `compare`, compared with stable's before. */
  readonly mirror: { readonly release: string; readonly shareBp: number; readonly compare?: "json" } | null;
  readonly mode: TrafficMode;
  /** HMAC-SHA-256 key (hex) that preview tokens are signed with. */
  readonly previewKey: string;
  /** Suffixes a tunnel origin's host must end with (`.example.com`); others are refused. Empty: local origins, any host. */
  readonly originSuffixes: readonly string[];
  readonly timeouts: {
    /** Until the origin's response head. 100,000 or more leaves it to Cloudflare's own limit (524). */
    readonly responseMs: number;
  };
  /** Absent in tables from before there was a choice: `gateway`. */
  readonly rescue?: Rescue;
  /** A GET that waits far longer than usual is asked of another instance, too. */
  readonly hedge?: true;
  /** WebSockets and event streams of an instance that leaves are ended one by one over so long. Absent: they are left to it. */
  readonly sockets?: { readonly drainMs: number };
  /** Absent: what a release has not is missing. */
  readonly assets?: SkewRule;
  /** When answers carry marks. Absent in tables from before there was a choice of three: `showRelease` says it then. */
  readonly marks?: Marks;
  readonly showRelease: boolean;
}

/** What control's `EdgePort` entrypoint answers for a hostname. */
export type TableAnswer =
  | {
      readonly kind: "table";
      readonly table: RoutingTable;
      /** Of a wildcard's table: names below it that are somebody's own, wildcards among them. */
      readonly except?: readonly string[];
      /** Sites with a path below this very hostname (`shop.example.com/api`), which have tables of their own. */
      readonly paths?: readonly string[];
    }
  | { readonly kind: "unchanged"; readonly version: number }
  | { readonly kind: "unknown"; readonly paths?: readonly string[] };

/**
 * Whether `next` may replace `held`. Within an environment the version decides and never falls; a hostname that moved
 * to another environment brings that one's versions, so then the later publication wins.
 */
export function supersedes(next: RoutingTable, held: RoutingTable): boolean {
  if (next.environment === held.environment) return next.version >= held.version;
  return next.publishedAt > held.publishedAt;
}
