/** What the API token must be allowed, as Cloudflare's dashboard names it, and how reading shows that it may at least read. */

interface Need {
  readonly scope: "Account" | "Zone";
  readonly what: string;
  readonly level: "Read" | "Edit";
  readonly why: string;
  /** Of the dashboard's link that fills in the form; absent where Cloudflare has none. */
  readonly key?: string;
}

export const NEEDS = {
  workers: {
    scope: "Account",
    what: "Workers Scripts",
    level: "Edit",
    why: "deploys control and the edge",
    key: "workers_scripts",
  },
  d1: { scope: "Account", what: "D1", level: "Edit", why: "holds Sluice's state", key: "d1" },
  kv: {
    scope: "Account",
    what: "Workers KV Storage",
    level: "Edit",
    why: "keeps the routing tables for edges that start while control is away",
    key: "workers_kv_storage",
  },
  tunnels: {
    scope: "Account",
    what: "Cloudflare Tunnel",
    level: "Edit",
    why: "gives each host its tunnel",
    key: "argotunnel",
  },
  r2: {
    scope: "Account",
    what: "Workers R2 Storage",
    level: "Edit",
    why: "keeps images for hosts, without a registry (--images)",
    key: "workers_r2",
  },
  zones: { scope: "Zone", what: "Zone", level: "Read", why: "finds the zone and its account", key: "zone" },
  dns: { scope: "Zone", what: "DNS", level: "Edit", why: "names the hosts' slots and your apps", key: "dns" },
  routes: {
    scope: "Zone",
    what: "Workers Routes",
    level: "Edit",
    why: "leads your apps' hostnames through the edge",
    key: "workers_routes",
  },
  accessApps: {
    scope: "Account",
    what: "Access: Apps and Policies",
    level: "Edit",
    why: "puts Access before the hosts' slots (--access)",
    key: "access",
  },
  accessTokens: {
    scope: "Account",
    what: "Access: Service Tokens",
    level: "Edit",
    why: "lets the edge through Access (--access)",
  },
} as const satisfies Record<string, Need>;
export type NeedKey = keyof typeof NEEDS;

const SETUP: readonly NeedKey[] = ["workers", "d1", "kv", "tunnels", "zones", "dns", "routes"];
const CONTROL: readonly NeedKey[] = ["tunnels", "zones", "dns", "routes"];
const ACCESS: readonly NeedKey[] = ["accessApps", "accessTokens"];

/** Who uses the token: setup itself, or control, which is given it for tunnels, records and routes alone. */
export const needsOf = (user: "setup" | "control", { access, images }: Extras): NeedKey[] => [
  ...(user === "setup" ? SETUP : CONTROL),
  ...(access ? ACCESS : []),
  ...(images && user === "setup" ? (["r2"] as const) : []),
];

/** What not every installation has. */
export interface Extras {
  readonly access: boolean;
  readonly images: boolean;
}

export const permissionName = (key: NeedKey): string => {
  const { scope, what, level } = NEEDS[key];
  return `${scope} › ${what} › ${level}`;
};

/** One line for each, with what it is for. */
export function permissionLines(keys: readonly NeedKey[]): string[] {
  const width = Math.max(...keys.map((key) => permissionName(key).length));
  return keys.map((key) => `${permissionName(key).padEnd(width)}  ${NEEDS[key].why}`);
}

/**
 * Opens the dashboard's form with the permissions filled in. The person still chooses the account and the zone there.
 * https://developers.cloudflare.com/fundamentals/api/how-to/account-owned-token-template/
 */
export function tokenLink(keys: readonly NeedKey[], name: string): string {
  const groups = keys.flatMap((key) => {
    const need: Need = NEEDS[key];
    return need.key === undefined ? [] : [{ key: need.key, type: need.level.toLowerCase() }];
  });
  const query = new URLSearchParams({
    permissionGroupKeys: JSON.stringify(groups),
    accountId: "*",
    zoneId: "all",
    name,
  });
  return `https://dash.cloudflare.com/profile/api-tokens?${query}`;
}

/** The permissions that the link can't fill in. */
export const byHand = (keys: readonly NeedKey[]): NeedKey[] =>
  keys.filter((key) => (NEEDS[key] as Need).key === undefined);
