import { createHash } from "node:crypto";
import type { DatabaseSync } from "node:sqlite";
import type { Permission } from "./api.ts";

/** Everything the stand-in knows. Tests read it, and may put in what was there before anyone asked. */

export interface Zone {
  readonly id: string;
  readonly name: string;
  /** 200 on a new Free zone. */
  readonly maxRecords: number;
  readonly maxRoutes: number;
  readonly status: "active" | "pending";
  /** The account it belongs to. */
  readonly account: Account;
  readonly security: { readonly botFightMode: boolean; readonly level: string };
}

export interface Account {
  readonly id: string;
  readonly name: string;
}

export interface DnsRecord {
  id: string;
  zone: string;
  type: string;
  name: string;
  content: string;
  proxied: boolean;
  ttl: number;
  comment: string | null;
}

export interface Tunnel {
  readonly id: string;
  name: string;
  readonly configSrc: "local" | "cloudflare";
  secret: string;
  deletedAt: string | null;
  connections: number;
  config: { version: number; config: unknown };
}

export interface WorkerRoute {
  readonly id: string;
  readonly zone: string;
  pattern: string;
  script: string | null;
}

export interface ServiceToken {
  readonly id: string;
  readonly name: string;
  readonly clientId: string;
  readonly secret: string;
}

export interface AccessPolicy {
  readonly id: string;
  readonly name: string;
  readonly decision: string;
  readonly include: unknown;
}

export interface AccessApp {
  readonly id: string;
  readonly name: string;
  readonly domains: readonly string[];
  readonly policies: readonly unknown[];
}

/** As `wrangler deploy` uploads it; a secret is a binding that no answer shows. */
export interface Binding {
  readonly type: string;
  readonly name: string;
  readonly [field: string]: unknown;
}

export interface Worker {
  readonly name: string;
  readonly tag: string;
  tags: string[];
  bindings: Binding[];
  modules: Readonly<Record<string, string>>;
  mainModule: string;
  compatibilityDate: string;
  migrationTag: string | null;
  /** Durable Object classes. */
  classes: string[];
  /** Uploaded versions, the newest last. */
  versions: string[];
  crons: string[];
  workersDev: boolean;
}

export interface WorkerDomain {
  readonly id: string;
  readonly hostname: string;
  readonly zone: Zone;
  service: string;
  /** The DNS record that came with it. */
  readonly record: string;
}

export interface D1Database {
  readonly uuid: string;
  readonly name: string;
  /** `WEUR`. */
  readonly region: string;
  readonly sqlite: DatabaseSync;
}

export interface KvNamespace {
  readonly id: string;
  readonly title: string;
  /** Absent: none. */
  readonly keys?: readonly string[];
}

/** What no documentation says: tests have the stand-in answer either way. */
export interface Unknowns {
  /** Of a tunnel that was never configured. */
  configuration: "404" | "empty";
  /** Whether a catch-all rule may leave its hostname out. */
  bareCatchAll: boolean;
  /** Whether a route may be made before its DNS record. */
  routeFirst: boolean;
  /** How routes made by the API fail past Free's requests; null: answers don't say. */
  failOpen: boolean | null;
  /** Whether the account has a Zero Trust organisation, and whether service tokens can be made without one. */
  zeroTrust: boolean;
  tokensWithout: boolean;
  /** Control's CPU, p99, µs; null: the token may not read it. */
  cpuP99: number | null;
}

export interface World {
  /** Whether a new database has all migrations applied: for tests that set up again and again, about something else. */
  isMigrated: boolean;
  readonly unknowns: Unknowns;
  readonly account: Account;
  /** Others that the tokens may see. */
  readonly otherAccounts: Account[];
  /** Permissions by token. */
  readonly tokens: Map<string, Permission[]>;
  readonly zones: Zone[];
  /** The account's workers.dev subdomain; null until somebody makes one. */
  subdomain: string | null;
  readonly records: DnsRecord[];
  readonly tunnels: Tunnel[];
  readonly routes: WorkerRoute[];
  /** Names of the account's Workers. */
  readonly scripts: Set<string>;
  /** Those of them that were uploaded here, by name. */
  readonly workers: Map<string, Worker>;
  readonly domains: WorkerDomain[];
  readonly databases: D1Database[];
  readonly namespaces: KvNamespace[];
  /** R2's, each with where it was asked to be. */
  readonly buckets: { readonly name: string; readonly locationHint?: string | undefined }[];
  readonly serviceTokens: ServiceToken[];
  readonly accessPolicies: AccessPolicy[];
  readonly accessApps: AccessApp[];
  /** 32 hexadecimal digits, each time others. */
  hexId(): string;
  uuid(): string;
}

export const ACCOUNT = "0a".repeat(16);

/** Ids come from a counter, so that two runs of a test log the same. */
export function createWorld(): World {
  let made = 0;
  const hexId = () => createHash("md5").update(`id ${++made}`).digest("hex");
  return {
    isMigrated: false,
    unknowns: {
      configuration: "404",
      bareCatchAll: true,
      routeFirst: true,
      failOpen: false,
      zeroTrust: true,
      tokensWithout: true,
      cpuP99: 4_200,
    },
    account: { id: ACCOUNT, name: "Acme" },
    otherAccounts: [],
    tokens: new Map(),
    zones: [],
    subdomain: null,
    records: [],
    tunnels: [],
    routes: [],
    scripts: new Set(),
    workers: new Map(),
    domains: [],
    databases: [],
    namespaces: [],
    buckets: [],
    serviceTokens: [],
    accessPolicies: [],
    accessApps: [],
    hexId,
    uuid: () => hexId().replace(/^(.{8})(.{4}).(.{3}).(.{3})(.{12})$/, "$1-$2-4$3-8$4-$5"),
  };
}

/** Takes the item away, and says whether it was there. */
export function drop<T>(items: T[], item: T | undefined): item is T {
  const at = item === undefined ? -1 : items.indexOf(item);
  if (at >= 0) items.splice(at, 1);
  return at >= 0;
}
