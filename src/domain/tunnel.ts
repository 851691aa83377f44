import { err, ok, type Result } from "./result.ts";
import { nameOf } from "./routing/site.ts";

/** A host's tunnel: what is wanted at Cloudflare against what was found there. */

export interface WantedSlot {
  readonly n: number;
  readonly hostPort: number;
  readonly hostname: string;
  /** What its app gets as `Host`; absent or null: nobody has had it yet, and it is the hostname. */
  readonly publicHost?: string | null;
}

/** As the API has it. The last one has no hostname: it catches all. */
export interface IngressRule {
  readonly hostname?: string;
  readonly service: string;
  readonly originRequest?: { readonly connectTimeout: number; readonly httpHostHeader?: string };
}

/** Seconds. A container that doesn't take the connection by then is not there: the edge sends the visitor elsewhere. */
const CONNECT_TIMEOUT_S = 3;

/** One name for one host, for ever: a host that comes back under its old name is another one. */
export const tunnelName = (host: { id: string; name: string }): string =>
  `sluice-${host.name}-${host.id.slice(-8)}`;

export const ingressOf = (slots: readonly WantedSlot[]): IngressRule[] => [
  ...slots.map(({ hostname, hostPort, publicHost }) => ({
    hostname,
    service: `http://127.0.0.1:${hostPort}`,
    originRequest: {
      connectTimeout: CONNECT_TIMEOUT_S,
      ...(publicHost ? { httpHostHeader: publicHost } : {}),
    },
  })),
  { service: "http_status:404" },
];

/** Whether the rules that are there do what the wanted ones do. A PUT that changes nothing would still raise the version. */
export function sameIngress(found: readonly IngressRule[] | null, wanted: readonly IngressRule[]): boolean {
  const essence = (rules: readonly IngressRule[]) =>
    JSON.stringify(
      rules.map(({ hostname, service, originRequest }) => [
        hostname || null,
        service,
        originRequest?.connectTimeout ?? null,
        originRequest?.httpHostHeader || null,
      ]),
    );
  return found !== null && essence(found) === essence(wanted);
}

export const tunnelTarget = (tunnelId: string): string => `${tunnelId}.cfargotunnel.com`;

export interface FoundRecord {
  readonly id: string;
  readonly name: string;
  readonly type: string;
  readonly content: string;
  readonly proxied: boolean;
}

export interface RecordPlan {
  readonly make: readonly string[];
  readonly mend: readonly { readonly id: string; readonly name: string }[];
  readonly right: readonly FoundRecord[];
}

/** Which of the slots' records are missing, and which lead elsewhere: to the host's tunnel from before it was made again. */
export function planRecords(
  found: readonly FoundRecord[],
  hostnames: readonly string[],
  target: string,
): RecordPlan {
  const plan = {
    make: [] as string[],
    mend: [] as { id: string; name: string }[],
    right: [] as FoundRecord[],
  };
  for (const name of hostnames) {
    const record = found.find((candidate) => candidate.name === name);
    if (!record) plan.make.push(name);
    else if (record.type === "CNAME" && record.content === target && record.proxied) plan.right.push(record);
    else plan.mend.push({ id: record.id, name });
  }
  return plan;
}

export interface FoundRoute {
  readonly id: string;
  readonly pattern: string;
  readonly script: string | null;
}

/** A route's host may hold a wildcard at its very start only, so each hostname needs one of its own. */
export const routePattern = (hostname: string): string => `${hostname}/*`;

/** The name in lower case: of a path, case is a part. */
function asCompared(pattern: string): string {
  const name = nameOf(pattern);
  return name.toLowerCase() + pattern.slice(name.length);
}

export type RouteState =
  | { readonly kind: "absent" }
  | { readonly kind: "right"; readonly id: string }
  /** It runs another Worker, or none. */
  | { readonly kind: "other"; readonly id: string; readonly script: string | null };

export function routeOf(found: readonly FoundRoute[], hostname: string, worker: string): RouteState {
  const route = found.find(({ pattern }) => asCompared(pattern) === routePattern(hostname));
  if (!route) return { kind: "absent" };
  const { id, script } = route;
  return script === worker ? { kind: "right", id } : { kind: "other", id, script };
}

/** Routes that run something on a hostname or a path of it. */
export const routesOver = (found: readonly FoundRoute[], hostname: string): FoundRoute[] =>
  found.filter(({ pattern }) => {
    const host = pattern.toLowerCase().split("/")[0] ?? "";
    // `*example.com` is also the name itself, `*.example.com` only what is below it.
    return host === hostname || (host.startsWith("*") && hostname.endsWith(host.slice(1)));
  });

/** The names that could be a hostname's zone, longest first: of `a.b.example.com` itself and all above it. */
export function zoneCandidates(hostname: string): string[] {
  const labels = hostname.replace(/^\*\./, "").split(".");
  return labels.slice(0, -1).map((_, index) => labels.slice(index).join("."));
}

/**
 * Sites that a wildcard's route would take over: proxied names below it without a route of their own. `own` are records that
 * control made, slots among them.
 */
export function sitesBelow(
  wildcard: string,
  at: {
    found: readonly FoundRecord[];
    routes: readonly FoundRoute[];
    isOwn: (record: FoundRecord) => boolean;
  },
): FoundRecord[] {
  const hasRoute = (name: string) =>
    at.routes.some(({ pattern }) => (pattern.toLowerCase().split("/")[0] ?? "") === name);
  return at.found.filter(
    (record) =>
      record.proxied &&
      ADDRESS_TYPES.includes(record.type) &&
      record.name.endsWith(wildcard.slice(1)) &&
      record.name !== wildcard &&
      !hasRoute(record.name) &&
      !at.isOwn(record),
  );
}

export const ADDRESS_TYPES: readonly string[] = ["A", "AAAA", "CNAME"];

/** What stands in DNS for a public hostname. `unproxied` visitors never meet a Worker. */
export function judgeRecords(found: readonly FoundRecord[]): Result<"absent" | "proxied", FoundRecord> {
  const addresses = found.filter(({ type }) => ADDRESS_TYPES.includes(type));
  const bare = addresses.find(({ proxied }) => !proxied);
  if (bare) return err(bare);
  return ok(addresses.length > 0 ? "proxied" : "absent");
}

/** Access takes so many hostnames for one application. */
const DOMAINS_PER_APP = 5;

/** The slots' hostnames as Access applications, always cut alike. */
export function accessApps(host: { id: string; name: string }, hostnames: readonly string[]) {
  const count = Math.ceil(hostnames.length / DOMAINS_PER_APP);
  return Array.from({ length: count }, (_, index) => ({
    name: `${tunnelName(host)}-${index + 1}`,
    domains: hostnames.slice(index * DOMAINS_PER_APP, (index + 1) * DOMAINS_PER_APP),
  }));
}

const FIRST_RETRY_MS = 2_000;
const LAST_RETRY_MS = 300_000;

/** How long until the next try after so many that failed: longer each time, five minutes at most. */
export const retryAfter = (attempts: number): number =>
  Math.min(FIRST_RETRY_MS * 2 ** Math.min(attempts, 20), LAST_RETRY_MS);
