/** Copies of tables outside the isolate: the colo's cache, shared by its isolates for a second, and KV. */
import { wildcardsOver } from "../../domain/routing/hostname.ts";
import { nameOf } from "../../domain/routing/site.ts";
import type { RoutingTable } from "../../domain/routing/table.ts";
import { TIMED_OUT, within } from "../deadline.ts";
import type { Env } from "../env.ts";
import { logError } from "../log.ts";

/** A cache of its own: in the default one a table, with its preview key, could be fetched by URL. */
const CACHE_NAME = "sluice-tables";
const CACHE_DEADLINE_MS = 250;
const KV_DEADLINE_MS = 1_000;

/** What reading a copy gives when nobody can tell whether there is one. */
export const UNREADABLE: unique symbol = Symbol("unreadable");

export interface ColoCopy {
  /** Unparsed: whoever reads it checks it. */
  readonly table: unknown;
  /** As in control's answer. */
  readonly except?: readonly string[] | undefined;
  readonly paths?: readonly string[] | undefined;
  /** Epoch ms at which control vouched for it. */
  readonly at: number;
}

/** The colo's copy, if control vouched for it after `since`. A cache that fails is a cache without a copy. */
export async function readColoCache(hostname: string, since: number): Promise<ColoCopy | null> {
  try {
    const copy = await within(matchCopy(hostname), CACHE_DEADLINE_MS);
    return copy !== TIMED_OUT && copy !== null && copy.at > since ? copy : null;
  } catch {
    // No Cache API here (workers.dev, bare workerd) or it is in trouble: control is asked instead.
    return null;
  }
}

export async function writeColoCache(
  hostname: string,
  { table, except, paths }: Omit<ColoCopy, "at"> & { readonly table: RoutingTable },
  at: number,
): Promise<void> {
  try {
    const cache = await caches.open(CACHE_NAME);
    const body = JSON.stringify({ table, except, paths, at } satisfies ColoCopy);
    await cache.put(cacheKey(hostname), new Response(body, { headers: { "Cache-Control": "max-age=1" } }));
  } catch {
    // As above: without the copy, other isolates ask control themselves.
  }
}

/** Wildcards whose copies are looked for. Names with more labels have waited long enough. */
const MOST_COPIES = 3;

/** A copy in KV, unparsed, and whether it is the name's own or a wildcard's; UNREADABLE: KV did not answer. */
export interface KvCopy {
  readonly table: unknown;
  readonly isOwn: boolean;
}

/** The copy of a name, else of the longest wildcard over it that has one; null: there is none. */
export async function readKv(env: Env, hostname: string): Promise<KvCopy | null> {
  const over = nameOf(hostname) === hostname ? wildcardsOver(hostname) : [];
  for (const name of [hostname, ...over.slice(0, MOST_COPIES)]) {
    const table = await readOne(env, name);
    if (table !== null) return { table, isOwn: name === hostname };
  }
  return null;
}

async function readOne(env: Env, name: string): Promise<unknown> {
  try {
    const value = await within(env.TABLES.get(`table:${name}`, "json"), KV_DEADLINE_MS);
    return value === TIMED_OUT ? UNREADABLE : value;
  } catch (error) {
    logError("table.copy_unreadable", error, { hostname: name });
    return UNREADABLE;
  }
}

/** The paths of a name that have copies of their own; null: nobody can tell. */
export async function readKvPaths(env: Env, hostname: string): Promise<string[] | null> {
  try {
    const listed = await within(env.TABLES.list({ prefix: `table:${hostname}/` }), KV_DEADLINE_MS);
    return listed === TIMED_OUT ? null : listed.keys.map(({ name }) => name.slice("table:".length));
  } catch (error) {
    logError("table.paths_unreadable", error, { hostname });
    return null;
  }
}

async function matchCopy(hostname: string): Promise<ColoCopy | null> {
  const cache = await caches.open(CACHE_NAME);
  const found = await cache.match(cacheKey(hostname));
  if (found === undefined) return null;
  const copy: unknown = await found.json();
  if (typeof copy !== "object" || copy === null || !("at" in copy) || !("table" in copy)) return null;
  const except = "except" in copy ? namesIn(copy.except) : undefined;
  const paths = "paths" in copy ? namesIn(copy.paths) : undefined;
  return typeof copy.at === "number" ? { table: copy.table, except, paths, at: copy.at } : null;
}

const namesIn = (value: unknown): string[] | undefined =>
  Array.isArray(value) ? value.map(String) : undefined;

const cacheKey = (hostname: string): string => `https://${hostname}/sluice-table`;
